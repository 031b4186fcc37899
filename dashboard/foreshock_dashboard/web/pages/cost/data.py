"""The payload of the Cost page: what can be saved, the total, and who holds which GPU time. Pure."""

from __future__ import annotations

from typing import Required

from typing_extensions import TypedDict

from foreshock_dashboard.web.pages.cost.cost_json import Cost, CostRowJson, SavingJson
from foreshock_dashboard.web.state.incident_json import ClauseJson

MAX_ROWS = 100
"""Rows of the table; /api/cost has all."""


class CostPage(TypedDict, total=False):
    """The payload of the page; without accounts, `ready`, `state` and `reason` alone.

    state: of the headline. split: the total in words. hidden: rows that do not fit. range_hours: those with data.
    """

    ready: Required[bool]
    state: str
    reason: str
    clauses: list[ClauseJson]
    split: str
    notes: list[str]
    currency: str
    by: str
    range_hours: float
    total: CostRowJson | None
    unallocated: CostRowJson | None
    savings: list[SavingJson]
    rows: list[CostRowJson]
    hidden: int


def cost_page(found: Cost) -> CostPage:
    """The payload of the page."""
    if found["reason"]:
        return {"ready": True, "state": "unknown", "reason": found["reason"]}
    return {
        "ready": True,
        "state": "warning" if any(item.gpu_hours_per_day for item in found["savings"]) else "healthy",
        "reason": "",
        "clauses": found["clauses"],
        "split": found["split"],
        "notes": found["notes"],
        "currency": found["currency"],
        "by": found["by"],
        "range_hours": found["hours"],
        "total": found["total"],
        "unallocated": found["unallocated"],
        "savings": found["savings"],
        "rows": found["rows"][:MAX_ROWS],
        "hidden": max(0, len(found["rows"]) - MAX_ROWS),
    }
