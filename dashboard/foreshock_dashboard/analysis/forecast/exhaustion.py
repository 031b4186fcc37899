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
from foreshock_dashboard.model.types import Bools, Floats
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
any share of the limit."""
ACCUMULATION_SECONDS = 120.0
MAX_STEP_SHARE, MIN_NEWEST_SHARE = 0.4, 0.25
"""Time in which a resource grows; largest share of that growth between two grid points, and least share in the last
third of the time: after a step, it grows no longer."""


def exhaustion(point: EvaluationPoint) -> Mapping[Service, Breach]:
    """When each service has used up the first of its resources; services with a known and growing use only."""
    found = dict(_kv_cache(point))
    for name in LIMITED_RESOURCES:
        for service, breach in _resource(point, name).items():
            found[service] = worst(breach, found[service]) if service in found else breach
    return found


def _resource(point: EvaluationPoint, name: str) -> Mapping[Service, Breach]:
    signal, state = point[name], resources(point.world)
    used: Floats = getattr(state, name)
    with np.errstate(invalid="ignore"):
        is_near = (signal.value >= MIN_RESOURCE_RATIO) & (signal.z >= MIN_RESOURCE_Z)
        if name in ACCUMULATING_RESOURCES:
            is_near |= (signal.z >= MIN_TREND_Z) & _still_grows(used[:, point.window(ACCUMULATION_SECONDS)])
        rows = np.flatnonzero(is_near)
    if not len(rows):
        return {}
    logs = np.log(np.maximum(used[rows, trend_window(point)].astype(np.float64), 1e-3))
    breaches = forecast(logs, math.log(FULL_RESOURCE_RATIO), point.world.step)
    return {
        state.services[row]: breach._replace(relevant=True, resource=name)
        for row, breach in zip(rows.tolist(), breaches, strict=True)
    }


def _still_grows(used: Floats) -> Bools:
    """Rows whose use grows over the time, without a step that is most of it; shape (rows, times), False if unknown."""
    growth, newest = used[:, -1] - used[:, 0], used[:, -1] - used[:, -1 - used.shape[1] // 3]
    step = np.fmax.reduce(np.diff(used, axis=1), axis=1, initial=0.0)
    grows: Bools = (growth > 0) & (step <= MAX_STEP_SHARE * growth) & (newest >= MIN_NEWEST_SHARE * growth)
    return grows


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
