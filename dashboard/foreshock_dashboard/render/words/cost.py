"""Words of the Cost page: holdings, qualities of savings, and groupings."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock_dashboard.model.cost.ledger import Holding

HOLDINGS: Mapping[Holding, str] = {
    Holding.SERVICE: "service",
    Holding.UNALLOCATED: "unallocated",
    Holding.UNKNOWN: "unknown use",
}
GROUPINGS: Mapping[str, str] = {
    "service": "service and pool",
    "namespace": "namespace",
    "owner": "owner",
    "pool": "pool",
}
"""How rows of the table can be grouped."""
COST_TEXTS: Mapping[str, str] = {
    "no_owner": "no owner",
    "no_namespace": "no namespace",
    "no_pool": "no pool",
    "no_savings": "No savings found in this time range.",
    "no_price": "no price",
    "unknown_use": "unknown",
    "measured": "from allocations and counters",
    "sampled": "upper bound from samples",
    "inferred": "no data on allocations, or an estimate",
}
"""Texts of the Cost page."""
