"""The payload of the Capacity page: the first shortage, a strip of hours for each service, and what fills up. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Required

import numpy as np
from typing_extensions import TypedDict

from foreshock_dashboard.analysis.capacity.headroom import Headroom, headrooms, hourly_peaks
from foreshock_dashboard.analysis.capacity.replica_state import host_ratios
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import LoadKind, Shortage, ShortageBasis
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.render.capacity_text import (
    act_text,
    closest_text,
    gone_text,
    headline,
    headroom_text,
    need_text,
    peak_text,
    quality_notes,
    slow_burn_text,
    until_ready_text,
)
from foreshock_dashboard.render.clause import Text, joined, text
from foreshock_dashboard.render.words.capacity import CAPACITY_TEXTS, LOAD_UNITS
from foreshock_dashboard.web.pages.capacity.current import (
    Measured,
    current_rows,
    load_status,
    measured,
    unlisted,
)
from foreshock_dashboard.web.pages.capacity.what_if import NOTHING, WhatIf
from foreshock_dashboard.web.state.capacity_json import (
    CurrentJson,
    NeedRow,
    SlowBurnJson,
    is_replay,
    need_row,
    replicas_of,
    service_name,
    slow_burn,
)
from foreshock_dashboard.web.state.conditions import open_incidents
from foreshock_dashboard.web.state.incident_json import ClauseJson, clauses
from foreshock_dashboard.web.state.numbers import Row, number, number_of_time

MAX_ROWS = 60
"""Services and pools with a strip; /api/forecast has all."""
MAX_PERCENT = 999
"""Share of the safe limit up to which it is shown."""


class StripRow(Row):
    """A service on its pool, or a whole pool. Loads are shares of the hourly safe limit, 1 at it; None if unknown.

    peak_low, peak_high: 80% interval. safe: in `unit`. median, upper: percent of the hourly safe limit. shortage_at to
    max_replicas: of its first shortage; max_replicas is the autoscaler's maximum, if it is too low. room: replicas for
    which the pool has free GPUs, or free GPUs. need: replicas at the peak, or on the day of the shortage.
    """

    service: str | None
    pool: str
    kind: LoadKind
    unit: str
    now: float | None
    peak: float | None
    peak_low: float | None
    peak_high: float | None
    peak_at: float | None
    safe: float | None
    ready: float | None
    replicas_at_limit: float | None
    median: list[int | None]
    upper: list[int | None]
    shortage_at: float | None
    shortage_basis: ShortageBasis | None
    replicas: int | None
    max_replicas: float | None
    room: float | None
    need: NeedRow


class CurrentRow(CurrentJson):
    """What is measured of a service. spark: load of the last 30 minutes."""

    spark: list[float | None]


class MovableRow(Row):
    """A service that may move to another pool, with its ready replicas."""

    service: str
    pool: str
    ready: int


class CapacityPage(TypedDict, total=False):
    """The payload of the page; where there is no forecast, `ready`, `state`, `clauses`, `notes`, `current`,
    `hidden`, `unlimited`, `peak_seconds`, `is_since_start`, and `slow_burns`.

    state: of the headline. action: when to act, or the first slow burn where there
    is no shortage. start: Unix seconds of the first hour of the strips. hidden: rows that
    do not fit. hosts: those that may be lost. movable: services whose replicas may move. pools: where to. case: which
    what-if case the values are of, in words; "" for none. current: the least headroom first. unlimited: the services
    without a model server. peak_seconds: that the measured peaks cover.
    is_since_start: these are all data.
    """

    ready: Required[bool]
    state: str
    clauses: list[ClauseJson]
    action: list[ClauseJson]
    notes: list[list[ClauseJson]]
    start: float | None
    rows: list[StripRow]
    hidden: int
    hosts: list[str]
    movable: list[MovableRow]
    pools: list[str]
    case: str
    slow_burns: list[SlowBurnJson]
    current: list[CurrentRow]
    unlimited: list[str]
    peak_seconds: float
    is_since_start: bool


def capacity(
    snapshot: Snapshot, forecast: CapacityForecast, now: float, case: WhatIf = NOTHING, *, past: bool
) -> CapacityPage:
    """The payload of the page. now: Unix seconds. past: whether a past time is shown, which has no forecast."""
    if past or is_replay(snapshot, forecast):
        return _without_forecast(snapshot, text(CAPACITY_TEXTS["past" if past else "replay"]), past=past)
    movable, pools = _movable(forecast), sorted({load.subject.pool for load in forecast.loads} - {""})
    forecast = case.applied(forecast, snapshot.world)
    burns = [slow_burn(item, now) for item in forecast.slow_burns]
    rows = headrooms(forecast, now)
    gone = [row.subject for row in rows if row.load.safe == 0]
    said = clauses(gone_text(gone[0]) if gone else headline(forecast, now))
    if not rows:
        if forecast.error:
            return {**_current(snapshot, measured(snapshot)), "state": "error", "clauses": said, "slow_burns": burns}
        waits = snapshot.world is None and not snapshot.error
        return {**_without_forecast(snapshot, headline(forecast, now)), "ready": not waits, "slow_burns": burns}
    first = forecast.shortages[0] if forecast.shortages else None
    start = min(row.load.start for row in rows)
    hosts = host_ratios(snapshot.world) if snapshot.world else {}
    return {
        "ready": True,
        "state": "critical" if gone else "warning" if first else "healthy",
        "clauses": said,
        "action": [] if gone else _action(first, now, snapshot) if first else _closest(rows, hosts, forecast, now),
        "notes": [clauses(note) for note in quality_notes(forecast, now)],
        "start": start - start % 3600.0,
        "rows": [_row(row, hosts) for row in rows[:MAX_ROWS]],
        "hidden": max(0, len(rows) - MAX_ROWS),
        "slow_burns": burns,
        "hosts": sorted({gpu.host for gpu in snapshot.world.gpus}) if snapshot.world else [],
        "movable": movable,
        "pools": pools,
        "case": case.text,
    }


def _without_forecast(snapshot: Snapshot, why: Text, *, past: bool = False) -> CapacityPage:
    """The service with the least headroom now as the headline, its replicas, and why there is no forecast below it."""
    found = measured(snapshot)
    page = _current(snapshot, found)
    loads = [load for load in snapshot.forecast.loads if load.safe > 0 and load.ratio >= 0]
    quiet = "unknown" if past else "learning"
    if not loads:
        return {**page, "state": quiet, "clauses": clauses(why)}
    first = max(loads, key=lambda load: load.ratio / load.safe)
    status = load_status(first)
    state = quiet if status == "ok" else status
    said = clauses(headroom_text(first.service, first.ratio, first.safe))
    is_over = first.ratio > first.safe
    action = [found.text(first.service, is_over=is_over), _until_ready(snapshot, first.service if is_over else None)]
    return {
        **page,
        "state": state,
        "clauses": said,
        "action": clauses(joined(filter(None, action), " ")),
        "notes": [clauses(why)],
    }


def _current(snapshot: Snapshot, found: Measured) -> CapacityPage:
    """The load and the replicas of each service now, and the services of which nothing is known."""
    rows = current_rows(snapshot, found)
    return {
        "ready": True,
        "current": [CurrentRow(**vars(row), spark=found.sparks.get(row.service, [])) for row in rows[:MAX_ROWS]],
        "hidden": max(0, len(rows) - MAX_ROWS),
        "unlimited": unlisted(snapshot.world, rows),
        "peak_seconds": found.seconds,
        "is_since_start": found.is_since_start,
    }


def _action(first: Shortage, now: float, snapshot: Snapshot) -> list[ClauseJson]:
    """When to act, what to do until then, and how high the peak is; empty where nothing is known."""
    said = act_text(first, now), _until_ready(snapshot, first.subject.service), peak_text(first, now)
    return clauses(joined(filter(None, said), " "))


def _until_ready(snapshot: Snapshot, service: Service | None) -> Text:
    """What the most urgent incident of a service recommends while replicas start; empty without one that fires."""
    current = (item for item in open_incidents(snapshot) if service in (item.service, *item.affected))
    first = next(current, None)
    return until_ready_text(first.actions) if first and first.state == "firing" else ()


def _closest(
    rows: Sequence[Headroom], hosts: Mapping[Service, float], forecast: CapacityForecast, now: float
) -> list[ClauseJson]:
    """Without a shortage: the service closest to its limit with its replicas, and what fills up or runs out first."""
    said: list[Text] = []
    for row in rows:
        load, service = row.load, row.subject.service
        if service and load.safe > 0 and row.peak.p50 >= 0:
            said.append(closest_text(service, load.kind, row.peak.p50 / load.safe, row.peak.at, now))
            said.append(need_text(*replicas_of(row, hosts), "this peak", is_forecast=True))
            break
    if forecast.slow_burns:
        said.append(slow_burn_text(forecast.slow_burns[0], now, with_interval=False))
    return clauses(joined(said, " "))


def _movable(forecast: CapacityForecast) -> list[MovableRow]:
    """The services with known replicas, GPUs, and pool."""
    known = {load.subject: load for load in forecast.loads if load.subject.service and load.subject.pool}
    return [
        MovableRow(str(service), pool, int(load.ready))
        for (service, pool), load in known.items()
        if load.ready > 0 and load.gpus_per_replica > 0
    ]


def _row(row: Headroom, hosts: Mapping[Service, float]) -> StripRow:
    load, short, peak = row.load, row.shortage, row.peak
    return StripRow(
        service=service_name(row.subject),
        pool=row.subject.pool,
        kind=load.kind,
        unit=LOAD_UNITS[load.kind],
        now=_share(row.now, load.safe),
        peak=_share(peak.p50, load.safe),
        peak_low=_share(peak.p10, load.safe),
        peak_high=_share(peak.p90, load.safe),
        peak_at=number_of_time(peak.at),
        safe=number(load.safe),
        ready=number(load.ready),
        replicas_at_limit=number(load.replicas),
        median=_percents(hourly_peaks(load.p50, load.start), load.safe),
        upper=_percents(hourly_peaks(load.p90, load.start), load.safe),
        shortage_at=number_of_time(short.at if short else None),
        shortage_basis=short.basis if short else None,
        replicas=short.replicas if short else None,
        max_replicas=number(short.max_replicas) if short and short.is_autoscaler_limited else None,
        room=number(load.room),
        need=need_row(*replicas_of(row, hosts)),
    )


def _share(load: float, safe: float) -> float | None:
    """The share of the safe limit, up to `MAX_PERCENT`, which it also is without any safe limit; None if unknown."""
    return number(min(load / safe, MAX_PERCENT / 100) if safe else MAX_PERCENT / 100 + 0 * load)


def _percents(loads: Floats, safe: float) -> list[int | None]:
    """The same in whole percent; empty where nothing is known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = loads / safe
    if np.isnan(ratios).all():
        return []
    whole = np.minimum(np.round(ratios * 100), MAX_PERCENT)
    return [None if np.isnan(value) else int(value) for value in whole.tolist()]
