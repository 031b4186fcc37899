"""The course of an incident: its SLO breaches, the peak of its symptom, and why it recovers. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal

import numpy as np

from foreshock_dashboard.analysis.baseline.point import smoothing_points
from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.verdict.course import Breach, Peak, Recovery
from foreshock_dashboard.model.verdict.reading import Metric
from foreshock_dashboard.model.world import World
from foreshock_dashboard.stats.runs import moving_median
from foreshock_dashboard.web.panels.neighbor_time import neighbor_time
from foreshock_dashboard.web.panels.suspected_cause import baseline_rate
from foreshock_dashboard.web.panels.timeline import RELATED_BEFORE_SECONDS
from foreshock_dashboard.web.state.numbers import number, rounded
from foreshock_dashboard.web.state.stages import ServiceHistory

MAX_RECOVERED_RATIO = 0.7
"""Request rate over its peak below which load explains a recovery."""
BEFORE_SECONDS = 900.0
"""Time before the first anomaly whose median is the value that a symptom rose from."""


def breach(history: ServiceHistory, services: Collection[Service], onset: float) -> Breach | None:
    """The SLO breaches of services from the onset of an incident (Unix seconds) on, as one; None without any."""
    spells = sorted(
        (interval.start, service, interval.end)
        for service in services
        for interval in history.intervals(service)
        if interval.stage == "breached" and interval.end >= onset - RELATED_BEFORE_SECONDS
    )
    if not spells:
        return None
    (since, first, until), latest, pauses, paused = spells[0], spells[0][1], 0, 0.0
    for start, service, end in spells:
        if _is_known(history, latest, until, start):
            pauses, paused = pauses + 1, paused + start - until
        if end > until:
            until, latest = end, service
    stages = history.now()
    lasts = any(stages[service] == "breached" for service in services)
    earlier = bool(since <= history.times[0])
    return Breach(str(first), round(since, 3), None if lasts else round(until, 3), earlier, pauses, round(paused, 3))


def _is_known(history: ServiceHistory, service: Service, since: float, until: float) -> bool:
    """Whether a service has data within [since, until), Unix seconds: without any, its breach may have lasted."""
    between = (history.times >= since) & (history.times < until)
    return bool((history.stages[history.services.index(service), between] >= 0).any())


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
    level = number(float(np.median(before))) if len(before) else None
    if symptom is not None and not symptom.operation and math.isfinite(symptom.baseline):
        level = number(symptom.baseline) if symptom.signal == metric.replace(" ", "_") else level
    return Peak(metric, unit, level, rounded(float(worst.max())), number(limit))


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
            rates = rounded(float(rate.max())), rounded(float(rate[-1]))
            found.append(
                Recovery(str(service), "request rate", *rates, baseline=number(baseline_rate(item, world, service)))
            )
    ready = _ready_replicas(world, item)
    if len(ready) and ready[-1] > (least := ready.min()):
        before = float(ready[: ready.argmin() + 1].max())
        found.append(Recovery(str(item.service), "ready replicas", float(least), float(ready[-1]), baseline=before))
    return found


def lost_replicas(world: World, item: Incident) -> tuple[int, int] | None:
    """Ready replicas of an incident's service now, and the most since shortly before it; None unless some are lost."""
    ready = _ready_replicas(world, item)
    if item.state != "firing" or not len(ready) or ready[-1] == ready.max():
        return None
    return round(float(ready[-1])), round(float(ready.max()))


def _ready_replicas(world: World, item: Incident) -> Floats:
    """Ready replicas of an incident's service since shortly before it, as far as known; shape (points,)."""
    if not world.capacity or item.service not in world.capacity.services:
        return np.empty(0)
    start = int(np.searchsorted(world.times, item.since - BEFORE_SECONDS))
    return _known(world.capacity.ready[world.capacity.services.index(item.service), start:])


def _known(values: Floats) -> Floats:
    return values[np.isfinite(values)]
