"""The cost of GPU time as JSON, for the API and the Cost page."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from typing import Annotated, Literal, NamedTuple

from pydantic import Field
from typing_extensions import TypedDict

from foreshock_dashboard.analysis.cost.report import cost_report
from foreshock_dashboard.model.cost.ledger import CostLedger, Holding
from foreshock_dashboard.model.cost.prices import Prices
from foreshock_dashboard.model.cost.report import CostReport, CostRow, IdleHolding
from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.incident import Quality
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.clause import joined_text
from foreshock_dashboard.render.cost_text import (
    headline,
    no_cost,
    quality_notes,
    saving_action,
    saving_command,
    saving_text,
    split_text,
)
from foreshock_dashboard.web.state.incident_json import ClauseJson, clauses
from foreshock_dashboard.web.state.numbers import Row, number, number_of_time

Grouping = Literal["service", "namespace", "owner", "pool"]
GROUPINGS: tuple[Grouping, ...] = ("service", "namespace", "owner", "pool")
JOULES_PER_KWH = 3.6e6
MAX_SAVINGS = 10
MAX_REPORTS = 8
"""Reports that are kept for the next poll."""

Hours = Annotated[float | None, Field(description="GPU-hours; null: unknown")]
Money = Annotated[float | None, Field(description="in `currency`; null: unknown, or without a price")]


class CostRowJson(Row):
    """GPU time of a group in the time range. name: of the service, namespace, owner, or pool; "" without one.

    gpus: mean number held at a time. known_ratio: share of it whose use is known; busy to unused are of that part.
    busy: may exceed what is held of a shared GPU. waiting: upper bound. idle: neither busy nor waiting. unused: without
    any kernel in ten minutes. sm_active: SM activity while busy, 0 to 1. energy: estimate. idle_cost, waiting_cost: of
    that time. quality: inferred where no kubelet reports allocations.
    """

    name: str
    holding: Holding
    pool: str
    model: str
    owner: str
    gpus: float | None
    gpu_hours: Hours
    known_ratio: float | None
    busy_gpu_hours: Hours
    waiting_gpu_hours: Hours
    idle_gpu_hours: Hours
    unused_gpu_hours: Hours
    sm_active_ratio: float | None
    energy_kwh: float | None
    cost: Money
    idle_cost: Money
    waiting_cost: Money
    quality: Quality


class SavingJson(Row):
    """An action that saves GPU time. gpus: at a time, upper bound. seconds: how long they are unused.

    quality: measured (allocations and counters), sampled (GPU wait), or inferred. command: for a shell.
    """

    service: str | None
    pool: str
    model: str
    owner: str
    gpus: float | None
    seconds: float | None
    gpu_hours_per_day: Hours
    money_per_day: Money
    quality: Quality
    text: str
    clauses: list[ClauseJson]
    action: str
    command: str | None


class Cost(TypedDict):
    """GPU time, and what it costs. start, end: Unix seconds. hours: with data. reason: why there is none.

    by: grouping of the rows, which sum to the total. split: the total as a sentence.
    """

    start: float | None
    end: float | None
    hours: float
    currency: str
    by: str
    summary: str
    clauses: list[ClauseJson]
    split: str
    reason: str
    notes: list[str]
    total: CostRowJson | None
    unallocated: Annotated[CostRowJson | None, Field(description="of all pools; null: none")]
    rows: Annotated[list[CostRowJson], Field(description="the dearest first")]
    savings: Annotated[list[SavingJson], Field(description="at most 10, the largest first")]


class CostReports:
    """Reports of the newest ledger of a hub, by time range. Thread-safe."""

    def __init__(self, hub: HubView) -> None:
        self._hub = hub
        self._lock = threading.Lock()
        self._of: tuple[CostLedger, Prices] | None = None
        self._found: dict[tuple[float, float], CostReport] = {}

    def get(self, seconds: float, until: float = math.inf) -> CostReport:
        """See `cost_report`."""
        with self._lock:
            of = (self._hub.cost, self._hub.prices)
            if self._of is None or self._of[0] is not of[0] or self._of[1] != of[1] or len(self._found) >= MAX_REPORTS:
                self._of, self._found = of, {}
            if (seconds, until) not in self._found:
                self._found[seconds, until] = cost_report(of[0], seconds, of[1], until)
            return self._found[seconds, until]


class _Group(NamedTuple):
    name: str
    holding: Holding
    pool: str


def cost(hub: HubView, report: CostReport, by: str = "service") -> Cost:
    """A report as JSON. by: one of `GROUPINGS`."""
    reason = no_cost(report, hub.cost)
    said = clauses(headline(report)) if not reason else []
    groups: dict[_Group, list[CostRow]] = {}
    for row in report.rows:
        groups.setdefault(_group(row, by, lambda service: hub.ownership(service).owner), []).append(row)
    rows = [_row(group, items, report.seconds, hub) for group, items in groups.items()]
    rows.sort(key=lambda row: (-(row.cost or 0.0), -(row.gpu_hours or 0.0), row.name, row.pool))
    whole, unallocated = _Group("", Holding.SERVICE, ""), _Group("", Holding.UNALLOCATED, "")
    free = [row for row in report.rows if row.key.holding is Holding.UNALLOCATED]
    return {
        "start": number_of_time(report.start),
        "end": number_of_time(report.end),
        "hours": round(report.seconds / 3600, 2),
        "currency": report.currency,
        "by": by,
        "summary": "" if reason else joined_text(headline(report)),
        "clauses": said,
        "split": "" if reason else split_text(report),
        "reason": reason,
        "notes": quality_notes(report, hub.cost) if not reason else [],
        "total": None if reason else _row(whole, report.rows, report.seconds, hub),
        "unallocated": _row(unallocated, free, report.seconds, hub) if free else None,
        "rows": rows,
        "savings": [_saving(item, hub) for item in report.idle[:MAX_SAVINGS]],
    }


def _group(row: CostRow, by: str, owner: Callable[[Service], str]) -> _Group:
    service, pool = row.key.service, row.key.pool
    if by == "pool":
        return _Group(pool, Holding.SERVICE, pool)
    if service is None:
        return _Group("", row.key.holding, pool)
    if by == "service":
        return _Group(str(service), Holding.SERVICE, pool)
    return _Group(service.namespace if by == "namespace" else owner(service), Holding.SERVICE, "")


def _row(group: _Group, rows: Iterable[CostRow], seconds: float, hub: HubView) -> CostRowJson:
    rows = list(rows)
    allocated, use_known = (sum(getattr(row, name) for row in rows) for name in ("allocated", "use_known"))

    def hours(name: str) -> float:
        return _sum(getattr(row, name) for row in rows) / 3600

    def priced(name: str) -> float:
        return _sum(getattr(row, name) / 3600 * row.hourly for row in rows)

    active = [(row.sm_active, row.busy) for row in rows if math.isfinite(row.sm_active)]
    busy = sum(item[1] for item in active)
    owners = {hub.ownership(row.key.service).owner for row in rows if row.key.service}
    is_free = group.holding is not Holding.SERVICE
    return CostRowJson(
        name=group.name,
        holding=group.holding,
        pool=group.pool,
        model=_only(row.key.model for row in rows),
        owner=_only(owners),
        gpus=number(allocated / seconds),
        gpu_hours=number(allocated / 3600),
        known_ratio=number(use_known / allocated),
        busy_gpu_hours=None if is_free else number(hours("busy")),
        waiting_gpu_hours=None if is_free else number(hours("waiting")),
        idle_gpu_hours=number(hours("idle")),
        unused_gpu_hours=number(hours("unused")),
        sm_active_ratio=number(sum(ratio * weight for ratio, weight in active) / busy if busy > 0 else math.nan),
        energy_kwh=number(_sum(row.joules for row in rows) / JOULES_PER_KWH),
        cost=number(priced("allocated")),
        idle_cost=number(priced("idle")),
        waiting_cost=None if is_free else number(priced("waiting")),
        quality="inferred" if sum(row.inferred for row in rows) > 0.01 * allocated else "measured",
    )


def _saving(saving: IdleHolding, hub: HubView) -> SavingJson:
    key, said = saving.key, saving_text(saving)
    return SavingJson(
        service=str(key.service) if key.service else None,
        pool=key.pool,
        model=key.model,
        owner=hub.ownership(key.service).owner if key.service else "",
        gpus=number(saving.gpus),
        seconds=number(saving.seconds),
        gpu_hours_per_day=number(saving.gpu_hours_per_day),
        money_per_day=number(saving.money_per_day),
        quality=saving.quality,
        text=joined_text(said),
        clauses=clauses(said),
        action=joined_text(saving_action(saving)),
        command=saving_command(saving),
    )


def _sum(values: Iterable[float]) -> float:
    """Sum of the known values; NaN where none is known."""
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) if known else math.nan


def _only(names: Iterable[str]) -> str:
    """The only name; "" for none or several."""
    found = set(names)
    return found.pop() if len(found) == 1 else ""
