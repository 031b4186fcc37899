"""The capacity forecast as JSON, for the API and the Capacity page. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from foreshock_dashboard.analysis.capacity.headroom import Headroom, Peak, headrooms, peaks_within
from foreshock_dashboard.analysis.capacity.replica_need import forecast_need
from foreshock_dashboard.analysis.capacity.replica_state import host_ratios
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import (
    FORECAST_STEP_SECONDS,
    LoadForecast,
    LoadKind,
    Shortage,
    ShortageBasis,
    Subject,
)
from foreshock_dashboard.model.capacity.replicas import ReplicaNeed, ReplicaState
from foreshock_dashboard.model.capacity.slow_burn import SlowBurn, SlowBurnKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats, SafeLimitBasis
from foreshock_dashboard.model.verdict.reading import Status
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.capacity_text import (
    act_text,
    headline,
    no_forecast,
    quality_notes,
    shortage_text,
    slow_burn_text,
)
from foreshock_dashboard.render.clause import joined_text
from foreshock_dashboard.render.words.capacity import BURN_UNITS, CAPACITY_TEXTS, LOAD_UNITS
from foreshock_dashboard.web.state.incident_json import ClauseJson, clauses
from foreshock_dashboard.web.state.numbers import Row, number, number_of_time

Time = Annotated[float | None, Field(description="Unix seconds; null: unknown, or beyond the forecast")]
Figure = Annotated[float | None, Field(description="in `unit`; null: unknown")]


class PeakJson(Row):
    """The highest hourly load within a time from now: of the median, and of both ends of the 80% band.

    at: when the highest hour of the median begins.
    """

    low: Figure
    median: Figure
    high: Figure
    at: Time


class ShortageJson(Row):
    """The first time at which load exceeds its hourly safe limit, or may (basis). earliest, latest: of the 80% band.

    replicas: to add, or GPUs of a pool. max_replicas: the autoscaler's maximum, if it is too low. room: replicas for
    which the pool has free GPUs. act_by: when to add them.
    """

    service: str | None
    pool: str
    kind: LoadKind
    unit: str
    basis: ShortageBasis
    at: Time
    earliest: Time
    latest: Time
    peak: Figure
    peak_at: Time
    safe: Figure
    ready: float | None
    replicas: int
    max_replicas: float | None
    room: float | None
    provisioning_seconds: float | None
    act_by: Time
    text: str
    clauses: list[ClauseJson]
    action: list[ClauseJson]


class SlowBurnJson(Row):
    """What fills up or runs out. name: of what has no service, or the SLI of an error budget. unit: of the figures.

    growth: per second. since: of its growth. period_seconds: of an error budget.
    """

    kind: SlowBurnKind
    service: str | None
    name: str
    unit: str
    value: float | None
    limit: float | None
    growth: float | None
    at: Time
    earliest: Time
    latest: Time
    since: Time
    period_seconds: float | None
    text: str
    clauses: list[ClauseJson]


class AddedRow(Row):
    """Needed replicas, those to add, and those of them that the pool cannot run, as `AddedReplicas`."""

    needed: float | None
    added: float | None
    short: float | None


class NeedRow(Row):
    """Replicas that a service needs, as `ReplicaNeed`; None where unknown, and for a pool."""

    peak: AddedRow
    more_traffic: AddedRow
    host_lost: AddedRow
    is_lower_bound: bool


class CurrentJson(Row):
    """The load of a service now and its safe limit, as shares of capacity, None where the limit is not learned.

    basis: of the safe limit. headroom: of the safe limit, negative above it. ready, room: replicas, as in
    `ReplicaState`. need: at the measured peak, which covers peak_seconds. unlearned: why there is no limit.
    """

    service: str
    pool: str
    load: float | None
    safe: float | None
    basis: SafeLimitBasis
    headroom: float | None
    status: Status
    ready: float | None
    room: float | None
    need: NeedRow
    peak_seconds: float | None
    unlearned: str


class Points(Row):
    """The forecast by step, in the unit of the load: 80% of outcomes lie between p10 and p90."""

    start: float
    step: float
    p10: list[float | None]
    p50: list[float | None]
    p90: list[float | None]


class LoadJson(Row):
    """A service on its pool, or a whole pool, by the kind of load whose limit decides.

    now: the newest measured value. capacity, safe: for `replicas` replicas, of which `ready` are ready now.
    peaks: by horizon. headroom: share of the safe limit that the peak of seven days leaves, negative above it.
    replicas_to_add: for the first shortage, at shortage_at. shortage_basis: of it. max_replicas: the
    autoscaler's maximum, if it is too low. room: replicas for which the pool has free GPUs, or free GPUs of a pool.
    need: replicas at the peak, or on the day of the shortage. points: of the selected service.
    """

    service: str | None
    pool: str
    kind: LoadKind
    unit: str
    now: Figure
    capacity: Figure
    safe: Figure
    replicas: float | None
    ready: float | None
    peaks: dict[str, PeakJson]
    headroom: float | None
    shortage_at: Time
    shortage_basis: ShortageBasis | None
    replicas_to_add: int
    max_replicas: float | None
    room: float | None
    need: NeedRow
    points: Points | None


class Forecast(TypedDict):
    """The forecast of hours and days. reason: why there is none. missing: kinds of load without data."""

    computed_at: Time
    history_hours: float
    known: bool
    case: Annotated[str, Field(description="the what-if case that the values are of; empty for the forecast")]
    summary: str
    reason: str
    notes: list[str]
    missing: list[LoadKind]
    shortages: Annotated[list[ShortageJson], Field(description="the earliest first")]
    slow_burns: Annotated[list[SlowBurnJson], Field(description="the earliest first")]
    loads: Annotated[list[LoadJson], Field(description="the most urgent first")]
    current: Annotated[
        list[CurrentJson], Field(description="without a forecast: what is measured, the least headroom first")
    ]


HORIZONS = {"2h": 7200.0, "24h": 86_400.0, "7d": 7 * 86_400.0}
"""Seconds by name."""
NEED_FIELDS = (
    *(f"{case}.{name}" for case in ("need.peak", "need.more_traffic", "need.host_lost") for name in AddedRow.columns()),
    "need.is_lower_bound",
)
FORECAST_FIELDS = (
    *("service", "pool", "kind", "unit", "now", "safe", "capacity", "replicas", "ready"),
    *(f"peaks.{horizon}.{name}" for horizon in HORIZONS for name in PeakJson.columns()),
    *("headroom", "shortage_at", "shortage_basis", "replicas_to_add", "max_replicas", "room"),
    *NEED_FIELDS,
)
"""Columns of `loads` as CSV."""
CURRENT_FIELDS = (
    *("service", "pool", "load", "safe", "basis", "headroom", "status", "ready", "room"),
    *NEED_FIELDS,
    *("peak_seconds", "unlearned"),
)
"""The same of `current`."""


def is_replay(snapshot: Snapshot, found: CapacityForecast) -> bool:
    """Whether there is no forecast because the hub replays a recording."""
    return snapshot.bounds is not None and not found.loads


def forecast(
    found: CapacityForecast,
    now: float,
    service: Service | None = None,
    case: str = "",
    *,
    replay: bool = False,
    world: World | None = None,
    current: Sequence[CurrentJson] = (),
) -> Forecast:
    """A forecast as JSON. now: Unix seconds. service: the only one, with all points, and shortages of its pool.

    case: the what-if one in words. replay: see `is_replay`. world: on which hosts services run. current: what is
    measured, without a forecast.
    """
    hosts = host_ratios(world) if world else {}
    own = {load.subject for load in found.loads if load.subject.service == service}
    concerned = own | {Subject(None, pool) for _, pool in own}
    shortages = [item for item in found.shortages if service is None or item.subject in concerned]
    of = [row for row in headrooms(found, now) if service in (None, row.subject.service)]
    return {
        "computed_at": number_of_time(found.computed_at),
        "history_hours": round(found.history_hours, 1),
        "known": bool(found.loads),
        "case": case,
        "summary": CAPACITY_TEXTS["replay"] if replay else joined_text(headline(found, now)),
        "reason": CAPACITY_TEXTS["replay"] if replay else no_forecast(found),
        "notes": [joined_text(note) for note in quality_notes(found, now)],
        "missing": list(found.missing),
        "shortages": [shortage(item, now) for item in shortages],
        "slow_burns": [slow_burn(item, now) for item in found.slow_burns if service in (None, item.service)],
        "loads": [_load(row, now, hosts, with_points=service is not None) for row in of],
        "current": list(current),
    }


def service_name(subject: Subject) -> str | None:
    """The name of a service; None for a pool."""
    return str(subject.service) if subject.service else None


def shortage(item: Shortage, now: float) -> ShortageJson:
    """One shortage of a forecast. now: Unix seconds."""
    said = shortage_text(item, now)
    return ShortageJson(
        service=service_name(item.subject),
        pool=item.subject.pool,
        kind=item.kind,
        unit=LOAD_UNITS[item.kind],
        basis=item.basis,
        at=number_of_time(item.at),
        earliest=number_of_time(item.earliest),
        latest=number_of_time(item.latest),
        peak=number(item.peak),
        peak_at=number_of_time(item.peak_at),
        safe=number(item.safe),
        ready=number(item.ready),
        replicas=item.replicas,
        max_replicas=number(item.max_replicas) if item.is_autoscaler_limited else None,
        room=number(item.room),
        provisioning_seconds=number(item.provisioning_seconds),
        act_by=number_of_time(item.act_by),
        text=joined_text(said),
        clauses=clauses(said),
        action=clauses(act_text(item, now)),
    )


def slow_burn(item: SlowBurn, now: float) -> SlowBurnJson:
    """One slow burn. now: Unix seconds."""
    said = slow_burn_text(item, now)
    return SlowBurnJson(
        kind=item.kind,
        service=str(item.service) if item.service else None,
        name=item.name,
        unit=BURN_UNITS.get(item.kind, "ratio"),
        value=number(item.value),
        limit=number(item.limit),
        growth=number(item.growth),
        at=number_of_time(item.at),
        earliest=number_of_time(item.earliest),
        latest=number_of_time(item.latest),
        since=number_of_time(item.since),
        period_seconds=number(item.period_seconds),
        text=joined_text(said),
        clauses=clauses(said),
    )


def need_row(state: ReplicaState, need: ReplicaNeed) -> NeedRow:
    """Needed replicas, beside those of a service, as JSON."""
    found = (state.added_for(needed) for needed in (need.peak, need.more_traffic, need.host_lost))
    peak, more, lost = (AddedRow(number(one.needed), number(one.added), number(one.short)) for one in found)
    return NeedRow(peak, more, lost, need.is_lower_bound)


def replicas_of(row: Headroom, hosts: Mapping[Service, float]) -> tuple[ReplicaState, ReplicaNeed]:
    """The replicas of a service when the forecast was computed, and those that it needs, unknown for a pool.

    hosts: the largest share of each service on one host, 0 to 1.
    """
    load, service = row.load, row.subject.service
    state = ReplicaState(row.subject.pool, load.ready, load.room, load.max_replicas)
    if service is None:
        return state, ReplicaNeed()
    return state, forecast_need(row, load.ready * hosts.get(service, math.nan))


def _load(row: Headroom, at: float, hosts: Mapping[Service, float], *, with_points: bool) -> LoadJson:
    load, peaks = row.load, peaks_within(row.load, at, HORIZONS.values())
    return LoadJson(
        service=service_name(row.subject),
        pool=row.subject.pool,
        kind=load.kind,
        unit=LOAD_UNITS[load.kind],
        now=number(row.now),
        capacity=number(load.capacity),
        safe=number(load.safe),
        replicas=number(load.replicas),
        ready=number(load.ready),
        peaks={name: _peak(peak) for name, peak in zip(HORIZONS, peaks, strict=True)},
        headroom=number(1 - row.peak.p50 / load.safe) if load.safe else None,
        shortage_at=number_of_time(row.shortage.at if row.shortage else None),
        shortage_basis=row.shortage.basis if row.shortage else None,
        replicas_to_add=row.shortage.replicas if row.shortage else 0,
        max_replicas=number(row.shortage.max_replicas) if row.shortage and row.shortage.is_autoscaler_limited else None,
        room=number(load.room),
        need=need_row(*replicas_of(row, hosts)),
        points=_points(load) if with_points else None,
    )


def _peak(peak: Peak) -> PeakJson:
    return PeakJson(number(peak.p10), number(peak.p50), number(peak.p90), number_of_time(peak.at))


def _points(load: LoadForecast) -> Points:
    def values(of: Floats) -> list[float | None]:
        return [number(value) for value in of.tolist()]

    return Points(load.start, FORECAST_STEP_SECONDS, values(load.p10), values(load.p50), values(load.p90))
