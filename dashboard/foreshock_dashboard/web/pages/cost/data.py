"""The payload of the Cost page: unused GPUs, the total, and who holds which GPU time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Required

from typing_extensions import TypedDict

from foreshock_dashboard.model.cost.ledger import Holding
from foreshock_dashboard.model.incident import Quality
from foreshock_dashboard.render.words.cost import COST_TEXTS
from foreshock_dashboard.web.pages.cost.cost_json import Cost, CostRowJson, UnusedJson
from foreshock_dashboard.web.state.incident_json import ClauseJson
from foreshock_dashboard.web.state.numbers import Row, number

MAX_ROWS = 100
"""Rows of the table of GPU time; /api/cost has all."""
MAX_UNUSED = 10
"""Rows of the table of idle GPUs that are unused."""
MAX_IDLE = 3
"""Rows of it that are idle between kernels."""
MIN_IDLE_RATIO = 0.25
"""Share of the GPU time of such a row."""


class IdleRow(Row):
    """A service whose GPUs are idle between kernels: their mean number at a time, and the share of its GPU time.

    gpu_hours, cost: idle in the time range. priced_ratio: the part of its GPU time with a price; cost is of that part.
    """

    service: str
    pool: str
    gpus: float | None
    idle_ratio: float
    gpu_hours: float
    cost: float | None
    priced_ratio: float | None
    quality: Quality
    action: str


class CostPage(TypedDict, total=False):
    """The payload of the page; without GPU time, `ready`, `state` and `reason` alone.

    idle_rows: the services with the most GPU time idle between kernels, by service only. state: of the headline.
    covered: how much of the range has data. hidden, hidden_unused: rows that do not fit.
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
    idle_rows: list[IdleRow]
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
        "idle_rows": idle_rows(found["rows"]) if found["by"] == "service" else [],
        "rows": found["rows"][:MAX_ROWS],
        "hidden": max(0, len(found["rows"]) - MAX_ROWS),
    }


def idle_rows(rows: Sequence[CostRowJson]) -> list[IdleRow]:
    """The services with the most GPU time idle between kernels, from `MIN_IDLE_RATIO`."""
    found = []
    for row in rows:
        held, idle = row.gpu_hours or 0.0, (row.idle_gpu_hours or 0.0) - (row.unused_gpu_hours or 0.0)
        if row.holding == Holding.SERVICE and held and idle >= MIN_IDLE_RATIO * held:
            cost = number(row.idle_cost * idle / row.idle_gpu_hours) if row.idle_cost and row.idle_gpu_hours else None
            ratio, reduce = idle / held, COST_TEXTS["reduce"]
            gpus = None if row.gpus is None else number(row.gpus * ratio)
            found.append(IdleRow(row.name, row.pool, gpus, ratio, idle, cost, row.priced_ratio, row.quality, reduce))
    return sorted(found, key=lambda row: (-row.gpu_hours, row.service, row.pool))[:MAX_IDLE]
