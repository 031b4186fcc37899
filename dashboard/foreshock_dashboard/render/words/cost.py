"""Words of the Cost page: holdings, qualities, and groupings."""

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
UNUSED_TEXT = "unused for 30 min or longer"
"""Of GPUs without a kernel for the least time that counts."""
COST_TEXTS: Mapping[str, str] = {
    "unknown_service": "unknown service",
    "no_unused": f"No service holds a GPU that is {UNUSED_TEXT}.",
    "so_far": "so far",
    "in_range": "in",
    "reduce": "Check whether it needs all its GPUs.",
    "per_day": "per day",
    "measured": "from allocations and counters",
    "sampled": "from samples",
    "inferred": "an estimate without allocation data",
}
"""Texts of the Cost page."""
SPLIT_NAMES: Mapping[str, str] = {
    "busy": "Busy",
    "waiting": "Lost to neighbors",
    "idle": "Allocated, idle",
    "unallocated": "Unallocated",
    "unknown": "Unknown use",
}
"""Parts of GPU time, which sum to it."""
