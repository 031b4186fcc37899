"""The payload of the Cost page: unused GPUs, the total, and who holds which GPU time. Pure."""

from __future__ import annotations

from typing import Required

from typing_extensions import TypedDict

from foreshock_dashboard.web.pages.cost.cost_json import Cost, CostRowJson, UnusedJson
from foreshock_dashboard.web.state.incident_json import ClauseJson

MAX_ROWS = 100
"""Rows of the table of GPU time; /api/cost has all."""
MAX_UNUSED = 10
"""Rows of the table of unused GPUs."""


class CostPage(TypedDict, total=False):
    """The payload of the page; without GPU time, `ready`, `state` and `reason` alone.

    state: of the headline. covered: how much of the range has data. hidden, hidden_unused: rows that do not fit.
    """

    ready: Required[bool]
    state: str
    reason: str
    clauses: list[ClauseJson]
    idle: str
    notes: list[str]
    currency: str
    by: str
    covered: str
    total: CostRowJson | None
    unused: list[UnusedJson]
    hidden_unused: int
    rows: list[CostRowJson]
    hidden: int


def cost_page(found: Cost) -> CostPage:
    """The payload of the page."""
    if found["reason"]:
        return {"ready": True, "state": "unknown", "reason": found["reason"]}
    return {
        "ready": True,
        "state": found["state"],
        "reason": "",
        "clauses": found["clauses"],
        "idle": found["idle"],
        "notes": found["notes"],
        "currency": found["currency"],
        "by": found["by"],
        "covered": found["covered"],
        "total": found["total"],
        "unused": found["unused"][:MAX_UNUSED],
        "hidden_unused": max(0, len(found["unused"]) - MAX_UNUSED),
        "rows": found["rows"][:MAX_ROWS],
        "hidden": max(0, len(found["rows"]) - MAX_ROWS),
    }
