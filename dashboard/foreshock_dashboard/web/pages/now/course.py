"""The course of an incident: its SLO breaches, the peak of its symptom, and why it recovers. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Literal

import numpy as np

from foreshock_dashboard.analysis.baseline.point import smoothing_points
from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.stats.runs import moving_median
from foreshock_dashboard.web.panels.limits import Metric
from foreshock_dashboard.web.panels.neighbor_time import neighbor_time
from foreshock_dashboard.web.panels.timeline import RELATED_BEFORE_SECONDS
from foreshock_dashboard.web.state.numbers import Row, number, rounded
from foreshock_dashboard.web.state.stages import Interval, ServiceHistory

MAX_RECOVERED_RATIO = 0.7
"""Request rate over its peak below which load explains a recovery."""
BEFORE_SECONDS = 900.0
"""Time before the first anomaly whose median is the value that a symptom rose from."""


class Breach(Row):
    """The SLO breaches of a service during an incident, from the first to the last; until: None while one lasts.

    In Unix seconds. earlier: whether the first began before `since`, which is then the first time that was looked at.
    """

    service: str
    since: float
    until: float | None
    earlier: bool


class Peak(Row):
    """The worst value of the symptom of an incident. before: its normal value. Values in `unit`; None if unknown."""

    metric: Metric
    unit: Literal["s", "ratio"]
    before: float | None
    peak: float
    limit: float | None


class Recovery(Row):
    """A figure that returns from its worst value of an incident: request rate (req/s), ready replicas, or GPU time.

    GPU time: the mean over the GPUs of the suspected cause, 0 to 1. is_back: whether it is near its normal value;
    since: Unix seconds from which on it is.
    """

    service: str
    signal: Literal["request rate", "ready replicas", "GPU time"]
    worst: float
    now: float
    is_back: bool = True
    since: float | None = None


def breach(history: ServiceHistory, service: Service, onset: float) -> Breach | None:
    """The SLO breaches of a service from the onset of an incident (Unix seconds) on; None without one."""
    breached = _breached(history, service, onset)
    if not breached:
        return None
    since, until = breached[0].start, breached[-1].end
    lasts = history.now()[service] == "breached"
    return Breach(
        str(service),
        round(since, 3),
        None if lasts else round(until, 3),
        earlier=bool(since <= history.times[0]),
    )


def whole_breach(breaches: Collection[Breach]) -> Breach | None:
    """The SLO breaches of an incident as one: of the service that was first, until none lasts; None without any."""
    if not breaches:
        return None
    ends = [found.until for found in breaches]
    until = None if None in ends else max(end for end in ends if end is not None)
    return replace(min(breaches, key=lambda found: (found.since, found.service)), until=until)


def _breached(history: ServiceHistory, service: Service, onset: float) -> list[Interval]:
    if service not in history.services:
        return []
    return [
        interval
        for interval in history.intervals(service)
        if interval.stage == "breached" and interval.end >= onset - RELATED_BEFORE_SECONDS
    ]


def peak(world: World, item: Incident, slo: ServiceSlo | None) -> Peak | None:
    """The worst p95 or error rate of an incident's service since the first anomaly, smoothed as in the analysis.

    Of the two, the one that comes closest to its SLO, or goes furthest beyond it; without an SLO that of the symptom.
    """
    if item.service not in world.services:
        return None
    row = world.services.index(item.service)
    symptom = item.summary.symptom
    found = [
        _peak(world, item, "p95", "s", world.red.p95[row], slo.seconds if slo else math.nan),
        _peak(world, item, "error rate", "ratio", world.red.error_rate[row], slo.error_rate if slo else math.nan),
    ]
    known = [each for each in found if each is not None]
    reported = "error rate" if symptom is not None and symptom.signal == "error_rate" else "p95"
    return max(known, key=lambda each: (_usage(each), each.metric == reported), default=None)


def _usage(found: Peak) -> float:
    return found.peak / found.limit if found.limit else 0.0


def _peak(
    world: World, item: Incident, metric: Metric, unit: Literal["s", "ratio"], values: Floats, limit: float
) -> Peak | None:
    first = int(np.searchsorted(world.times, item.since))
    start = int(np.searchsorted(world.times, item.since - BEFORE_SECONDS))
    worst = _known(moving_median(values[None, start:].astype(np.float64), smoothing_points(world))[0, first - start :])
    if not len(worst):
        return None
    before, symptom = _known(values[start:first]), item.summary.symptom
    level = float(np.median(before)) if len(before) else math.nan
    if symptom is not None and not symptom.operation and math.isfinite(symptom.baseline):
        level = symptom.baseline if symptom.signal == metric.replace(" ", "_") else level
    return Peak(metric, unit, number(level), rounded(float(worst.max())), number(limit))


def recovery(world: World, item: Incident) -> list[Recovery]:
    """Why an incident recovers: less GPU time or a lower request rate of the suspected cause, more ready replicas."""
    if item.state != "recovering":
        return []
    time, found = neighbor_time(world, item), []
    if time is not None:
        name, worst, now = str(item.suspect.service), rounded(time.worst), rounded(time.now)
        found.append(Recovery(name, "GPU time", worst, now, time.is_back, time.since))
    columns = slice(int(np.searchsorted(world.times, item.since)), None)
    service = item.suspect.service or item.service
    if service in world.services:
        rate = _known(world.red.rate[world.services.index(service), columns])
        if len(rate) and rate[-1] < MAX_RECOVERED_RATIO * rate.max():
            found.append(Recovery(str(service), "request rate", rounded(float(rate.max())), rounded(float(rate[-1]))))
    if world.capacity and item.service in world.capacity.services:
        ready = _known(world.capacity.ready[world.capacity.services.index(item.service), columns])
        if len(ready) and ready[-1] > ready.min():
            found.append(Recovery(str(item.service), "ready replicas", float(ready.min()), float(ready[-1])))
    return found


def lost_replicas(world: World, item: Incident) -> tuple[int, int] | None:
    """Ready replicas of an incident's service now, and the most since shortly before it; None unless some are lost."""
    if item.state != "firing" or not world.capacity or item.service not in world.capacity.services:
        return None
    start = int(np.searchsorted(world.times, item.since - BEFORE_SECONDS))
    ready = _known(world.capacity.ready[world.capacity.services.index(item.service), start:])
    return (round(float(ready[-1])), round(float(ready.max()))) if len(ready) and ready[-1] < ready.max() else None


def _known(values: Floats) -> Floats:
    return values[np.isfinite(values)]
