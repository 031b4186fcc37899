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
    idle_text,
    is_use_unknown,
    no_cost,
    quality_notes,
    range_text,
    split_text,
    unused_action,
    unused_command,
    unused_text,
)
from foreshock_dashboard.web.state.incident_json import ClauseJson, clauses
from foreshock_dashboard.web.state.numbers import Row, number, number_of_time

Grouping = Literal["service", "namespace", "owner", "pool"]
GROUPINGS: tuple[Grouping, ...] = ("service", "namespace", "owner", "pool")
JOULES_PER_KWH = 3.6e6
MAX_REPORTS = 8
"""Reports that are kept for the next poll."""
MAX_UNUSED = 100
SECONDS_TOLERANCE = 1.0
"""Error of sums of seconds."""

Hours = Annotated[float | None, Field(description="GPU-hours; null: unknown")]
Money = Annotated[float | None, Field(description="in `currency`; null: without a price")]


class CostRowJson(Row):
    """GPU time of a group in the time range. name: of the service, namespace, owner, or pool; "" without one.

    gpus: mean number held at a time. gpu_hours: the sum of busy, waiting, idle, unallocated, and unknown. busy: a
    kernel ran. waiting: held and not busy, while work waited for a noisy neighbor. idle: held, the rest. unused: the
    part of idle without any kernel in ten minutes. unknown: held, of unknown use. borrowed: busy beyond what is held,
    in the time of neighbors. gpu_wait: an upper bound of all waiting, also of a service that is busy beyond what is
    held; no part of gpu_hours. sm_active: SM activity while busy, 0 to 1. energy: estimate. priced_ratio: the part of
    gpu_hours with a price; costs are of that part. quality: inferred where no kubelet reports allocations.
    """

    name: str
    holding: Holding
    pool: str
    model: str
    owner: str
    gpus: float | None
    gpu_hours: Hours
    busy_gpu_hours: Hours
    waiting_gpu_hours: Hours
    idle_gpu_hours: Hours
    unallocated_gpu_hours: Hours
    unknown_gpu_hours: Hours
    unused_gpu_hours: Hours
    borrowed_gpu_hours: Hours
    gpu_wait_gpu_hours: Hours
    sm_active_ratio: float | None
    energy_kwh: float | None
    priced_ratio: float | None
    cost: Money
    idle_cost: Money
    waiting_cost: Money
    unallocated_cost: Money
    quality: Quality


class UnusedJson(Row):
    """GPUs of a service without any kernel at the end of the time range. seconds: for how long. at_least: that is all
    of the data. gpus: at a time.

    gpu_hours, cost: unused so far. gpu_hours_per_day, cost_per_day: what giving them back saves; null before 24 h.
    quality: measured by allocations and counters, or inferred. command: for a shell; null where it may not be safe.
    """

    service: str | None
    pool: str
    model: str
    owner: str
    on: list[str]
    gpus: float | None
    seconds: float | None
    at_least: bool
    gpu_hours: Hours
    cost: Money
    gpu_hours_per_day: Hours
    cost_per_day: Money
    quality: Quality
    text: str
    clauses: list[ClauseJson]
    action: str
    command: str | None


class Cost(TypedDict):
    """GPU time, and what it costs. start, end: Unix seconds. hours: with data. covered: the same as text.

    reason: why there is none.
    by: grouping of the rows, which sum to the total. state: of the summary; info: unused GPUs that may still be needed.
    split: the total as a sentence. idle: what
    of the idle time could be given back, as a sentence.
    """

    start: float | None
    end: float | None
    hours: float
    covered: str
    currency: str
    by: str
    state: Literal["warning", "info", "healthy", "unknown"]
    summary: str
    clauses: list[ClauseJson]
    split: str
    idle: str
    reason: str
    notes: list[str]
    total: CostRowJson | None
    rows: Annotated[list[CostRowJson], Field(description="the highest cost first")]
    unused: Annotated[list[UnusedJson], Field(description=f"at most {MAX_UNUSED}, the highest cost first")]


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


def cost(hub: HubView, report: CostReport, seconds: float, by: str = "service") -> Cost:
    """A report as JSON. seconds: length of the requested time range. by: one of `GROUPINGS`."""
    reason = no_cost(report, hub.cost)
    said = () if reason else headline(report)
    known = math.fsum(hour.seconds for start, hour in hub.cost.hours.items() if start < report.end)
    groups: dict[_Group, list[CostRow]] = {}
    for row in report.rows:
        groups.setdefault(_group(row, by, lambda service: hub.ownership(service).owner), []).append(row)
    rows = [_row(group, items, report, hub) for group, items in groups.items()]
    rows.sort(key=lambda row: (-(row.cost or 0.0), -(row.gpu_hours or 0.0), row.name, row.pool))
    state: Literal["warning", "info", "healthy", "unknown"] = "healthy"
    if any(item.is_lasting for item in report.idle):
        state = "warning"
    elif reason or is_use_unknown(report):
        state = "unknown"
    elif report.idle:
        state = "info"
    return {
        "start": number_of_time(report.start),
        "end": number_of_time(report.end),
        "hours": round(report.seconds / 3600, 2),
        "covered": range_text(report.seconds),
        "currency": report.currency,
        "by": by,
        "state": state,
        "summary": joined_text(said),
        "clauses": clauses(said),
        "split": "" if reason else split_text(report),
        "idle": "" if reason else idle_text(report),
        "reason": reason,
        "notes": [] if reason else quality_notes(report, hub.cost, hub.prices, seconds),
        "total": None if reason else _row(_Group("", Holding.SERVICE, ""), report.rows, report, hub),
        "rows": rows,
        "unused": [_unused(item, hub, known) for item in report.idle[:MAX_UNUSED]],
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


def _row(group: _Group, rows: Iterable[CostRow], report: CostReport, hub: HubView) -> CostRowJson:
    rows = list(rows)
    held = [row for row in rows if row.key.holding is Holding.SERVICE]
    free = [row for row in rows if row.key.holding is Holding.UNALLOCATED]
    allocated = sum(row.allocated for row in rows)

    def hours(name: str, of: Iterable[CostRow] = held) -> float | None:
        return number(_sum(getattr(row, name) for row in of) / 3600)

    def priced(name: str, of: Iterable[CostRow] = held) -> float | None:
        return number(_sum(getattr(row, name) / 3600 * row.hourly for row in of))

    waits = _sum(report.gpu_wait.get(row.key, math.nan) for row in held if math.isfinite(row.waiting))
    active = [(row.sm_active, row.busy) for row in rows if math.isfinite(row.sm_active)]
    busy = sum(item[1] for item in active)
    return CostRowJson(
        name=group.name,
        holding=group.holding,
        pool=group.pool,
        model=_only(row.key.model for row in rows),
        owner=_only({hub.ownership(row.key.service).owner for row in rows if row.key.service}),
        gpus=number(allocated / report.seconds),
        gpu_hours=number(allocated / 3600),
        busy_gpu_hours=hours("busy"),
        waiting_gpu_hours=hours("waiting"),
        idle_gpu_hours=hours("idle"),
        unallocated_gpu_hours=number(sum(row.allocated for row in free) / 3600),
        unknown_gpu_hours=number(sum(row.unknown for row in rows) / 3600),
        unused_gpu_hours=hours("unused"),
        borrowed_gpu_hours=hours("borrowed"),
        gpu_wait_gpu_hours=number(waits / 3600),
        sm_active_ratio=number(sum(ratio * weight for ratio, weight in active) / busy if busy > 0 else math.nan),
        energy_kwh=number(_sum(row.joules for row in rows) / JOULES_PER_KWH),
        priced_ratio=number(sum(row.allocated for row in rows if math.isfinite(row.hourly)) / allocated),
        cost=priced("allocated", rows),
        idle_cost=priced("idle"),
        waiting_cost=priced("waiting"),
        unallocated_cost=priced("allocated", free),
        quality="inferred" if sum(row.inferred for row in rows) > 0.01 * allocated else "measured",
    )


def _unused(item: IdleHolding, hub: HubView, known: float) -> UnusedJson:
    """The JSON of a holding. known: seconds with data up to the end of the report."""
    key, said = item.key, unused_text(item)
    owner = hub.ownership(key.service).owner if key.service else ""
    return UnusedJson(
        service=str(key.service) if key.service else None,
        pool=key.pool,
        model=key.model,
        owner=owner,
        on=[gpu.label for gpu in item.on],
        gpus=number(item.gpus),
        seconds=number(item.seconds),
        at_least=item.seconds > known - SECONDS_TOLERANCE,
        gpu_hours=number(item.gpu_seconds / 3600),
        cost=number(item.money),
        gpu_hours_per_day=number(item.gpu_hours_per_day),
        cost_per_day=number(item.money_per_day),
        quality=item.quality,
        text=joined_text(said),
        clauses=clauses(said),
        action=unused_action(item, owner),
        command=unused_command(item),
    )


def _sum(values: Iterable[float]) -> float:
    """Sum of the known values; NaN where none is known."""
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) if known else math.nan


def _only(names: Iterable[str]) -> str:
    """The only name; "" for none or several."""
    found = set(names)
    return found.pop() if len(found) == 1 else ""
