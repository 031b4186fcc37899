"""Forecast of when a service has used up a resource: KV cache, CPU time, memory, disk, or file descriptors.

Nothing is slower before a limit is reached, and at the limit everything is: requests queue, the kernel kills a process
or takes its CPU away, and writes fail.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import model_servers, resources
from foreshock_dashboard.analysis.forecast.breach import MIN_TREND_Z, Breach, forecast, trend_window, worst
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.robust import moving_average

QUEUEING_KV_CACHE_RATIO = 0.9
"""KV cache utilization at which requests begin to queue."""
MIN_TREND_KV_CACHE_RATIO = 0.45
"""KV cache utilization from which its trend is forecast; below, a burst fits in."""
LIMITED_RESOURCES = ("cpu", "memory", "disk", "files")
"""Signals of resources with a limit that cannot be exceeded. A full connection pool only makes requests wait."""
FULL_RESOURCE_RATIO = 0.95
"""Share of the limit at which a resource is used up."""
MIN_RESOURCE_RATIO = 0.4
"""Share of the limit from which its trend is forecast: bursts use all of it for a moment from about there."""
MIN_RESOURCE_Z = 4.0
"""Scales above the baseline from which it is: use that varies with load is no trend towards the limit."""
ACCUMULATING_RESOURCES = ("memory", "disk")
"""Signals of resources that do not vary with load: one that still grows is forecast from `MIN_TREND_Z` scales on, at
any share of the limit. They grow by so much a second, not by so many percent."""
ACCUMULATION_SECONDS, MIN_CHANGES = 120.0, 4
"""Time in which a resource grows, and changes in it: longer where it is scraped each minute."""
MAX_STEP_SHARE, MIN_NEWEST_SHARE = 0.4, 0.2
"""Largest share of that growth between two samples, and least share in the last third of the time: after a step, it
grows no longer."""


def exhaustion(point: EvaluationPoint) -> Mapping[Service, Breach]:
    """When each service has used up the first of its resources; services with a known and growing use only."""
    found = dict(_kv_cache(point))
    for name in LIMITED_RESOURCES:
        for service, breach in _resource(point, name).items():
            found[service] = worst(breach, found[service]) if service in found else breach
    return found


def _resource(point: EvaluationPoint, name: str) -> Mapping[Service, Breach]:
    signal, state, step = point[name], resources(point.world), point.world.step
    used = getattr(state, name)[:, trend_window(point)].astype(np.float64)
    with np.errstate(invalid="ignore"):
        is_near = (signal.value >= MIN_RESOURCE_RATIO) & (signal.z >= MIN_RESOURCE_Z)
        is_above = signal.z >= MIN_TREND_Z
    if name in ACCUMULATING_RESOURCES:
        points = point.world.points(ACCUMULATION_SECONDS)
        rows = [row for row in np.flatnonzero(is_above) if is_near[row] or _still_grows(used[row], points)]
        breaches = forecast(used[rows], FULL_RESOURCE_RATIO, step)
    else:
        rows = [*np.flatnonzero(is_near)]
        breaches = forecast(np.log(np.maximum(used[rows], 1e-3)), math.log(FULL_RESOURCE_RATIO), step)
    return {
        state.services[row]: breach._replace(relevant=True, resource=name)
        for row, breach in zip(rows, breaches, strict=True)
    }


def _still_grows(used: Floats, points: int) -> bool:
    """Whether a resource has grown in the newest grid points, and still does, without a step that is most of it.

    used: shares of its limit at successive grid points, NaN where missing. points: those that count, or as many as have
    `MIN_CHANGES` changes: a value is held until the next scrape. After a gap, what grew in it counts as a step.
    """
    known = np.flatnonzero(np.isfinite(used))
    values = used[known]
    changes = np.flatnonzero(np.diff(values))
    if len(changes) < MIN_CHANGES:
        return False
    values = values[min(changes[-MIN_CHANGES], np.searchsorted(known, len(used) - points)) :]
    growth, newest = values[-1] - values[0], values[-1] - values[-1 - len(values) // 3]
    is_gradual = np.diff(values).max() <= MAX_STEP_SHARE * growth
    return bool(growth > 0 and is_gradual and newest >= MIN_NEWEST_SHARE * growth)


def _kv_cache(point: EvaluationPoint) -> Mapping[Service, Breach]:
    """When the KV caches of a service's model servers are full."""
    servers = model_servers(point.world)
    if not servers.services:
        return {}
    window, lookback = trend_window(point), point.world.points(60)
    cache = moving_average(servers.cache[:, max(0, window.start - lookback) : window.stop], point.world.step)
    logs = np.log(np.maximum(cache[:, window.start - window.stop :], 1e-3))
    breaches = forecast(logs, math.log(QUEUEING_KV_CACHE_RATIO), point.world.step)
    return {
        service: breach
        for service, breach in zip(servers.services, breaches, strict=True)
        if point.utilizations[service].cache >= MIN_TREND_KV_CACHE_RATIO and point.z("cache", service) >= MIN_TREND_Z
    }
