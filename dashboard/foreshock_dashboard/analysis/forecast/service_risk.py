"""Forecast of each service's SLO breach from its own latency, errors, and KV cache."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.counts import MIN_REQUESTS, count_seconds
from foreshock_dashboard.analysis.baseline.outages import is_outage_felt
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.analysis.baseline.slos import Slo
from foreshock_dashboard.analysis.saturation.safe_limits import is_overloading
from foreshock_dashboard.model.forecast import Utilization
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.level_crossing import QUANTILES, fit_trend, forecast_crossing
from foreshock_dashboard.stats.robust import moving_average

SLOW_TREND_SECONDS, FAST_TREND_SECONDS = 900.0, 240.0
MIN_SLOW_TREND_POINTS, MIN_FAST_TREND_POINTS = 10, 4
"""Lookback of the two trends, or grid points if longer; the one that forecasts more excursions counts."""
FULL_KV_CACHE_RATIO = 0.9
"""KV cache utilization at which requests begin to queue."""
SLO_WINDOW_SECONDS = 60.0
"""Duration that an excursion must have to count as an SLO breach."""
MIN_FAILED_REQUESTS = 5.0
"""Failed requests per minute, or per step if longer, from which an error rate counts."""
MIN_TREND_Z = 2.0
"""Scales above the baseline from which a trend is forecast."""
MIN_KV_CACHE_RATIO = 0.45
"""KV cache utilization from which its trend is forecast; below, a burst fits in."""


class Breach(NamedTuple):
    """Probability of a breach, as in `ServiceRisk`, and the seconds until then at each of `QUANTILES`."""

    probability: float
    near_probability: float
    seconds: tuple[float, ...]


_NEVER = Breach(0.0, 0.0, (math.inf,) * len(QUANTILES))
_NOW = Breach(1.0, 1.0, (0.0,) * len(QUANTILES))


@dataclass(frozen=True, slots=True)
class ServiceRisk:
    """Risk that a service breaches its SLO, without that of its dependencies.

    breached: the SLO is breached now. probability, near_probability: 0 to 1, of a breach within
    `level_crossing.HORIZON_SECONDS` and within `NEAR_SECONDS`. seconds: until then, at each of `QUANTILES`. overloaded:
    its model servers are overloaded, or soon will be. utilization: that of its model servers, if any. slo: None where
    none is configured or learned yet.
    """

    breached: bool
    probability: float
    near_probability: float
    seconds: tuple[float, ...]
    overloaded: bool
    utilization: Utilization | None
    slo: Slo | None = None


def service_risks(point: EvaluationPoint, slos: Mapping[Service, Slo]) -> Mapping[Service, ServiceRisk]:
    """Risk of each service of the World, by the trend of its p95 or of its KV cache, whichever is more likely."""
    world = point.world
    duration, rate, failed = point["p95"], point["rate"], point["error_rate"]
    no_slo = Slo(math.nan, math.nan)
    targets = [slos.get(service, no_slo) for service in world.services]
    limit, max_failed = (
        np.array([target.seconds for target in targets]),
        np.array([target.error_rate for target in targets]),
    )
    has_requests = rate.value * count_seconds(point) >= MIN_REQUESTS
    with np.errstate(invalid="ignore"):
        failures = failed.value * rate.value * count_seconds(point)
        failing = (failed.value > max_failed) & (failures >= MIN_FAILED_REQUESTS)
        breached = has_requests & ((duration.denoised > limit) | failing)
        slower = has_requests & (duration.z >= MIN_TREND_Z)
    trend_points = world.points(SLOW_TREND_SECONDS, MIN_SLOW_TREND_POINTS)
    window = slice(max(0, point.column + 1 - trend_points), point.column + 1)
    with np.errstate(invalid="ignore"):
        logs = np.log(np.maximum(world.red.p95[:, window], 1e-9))
    by_latency, by_cache = _forecast(logs, np.log(limit), world.step), _forecast_kv_cache(point)
    risks = {}
    for i, service in enumerate(world.services):
        breach = max(
            by_latency[i] if slower[i] else _NEVER, by_cache.get(service, _NEVER), key=lambda one: one.probability
        )
        if breached[i] or is_outage_felt(point, service):
            breach = _NOW
        utilization, overloaded = point.utilizations.get(service), is_overloading(point, service)
        risks[service] = ServiceRisk(breach is _NOW, *breach, overloaded, utilization, slos.get(service))
    return risks


def _forecast(logs: Floats, limit: Floats | float, step: float) -> list[Breach]:
    """The breach of a limit by each row, by the slow or the fast trend."""
    recent = logs[:, -max(MIN_FAST_TREND_POINTS, round(FAST_TREND_SECONDS / step)) :]
    slow = forecast_crossing(fit_trend(logs, step), limit, SLO_WINDOW_SECONDS, step)
    fast = forecast_crossing(fit_trend(recent, step, 60.0), limit, SLO_WINDOW_SECONDS, step)
    sooner = fast.expected > slow.expected
    probability, near = (
        np.where(sooner, fast.probability, slow.probability),
        np.where(sooner, fast.near_probability, slow.near_probability),
    )
    seconds = np.where(sooner[:, None], fast.seconds, slow.seconds)
    rows = zip(probability.tolist(), near.tolist(), seconds.tolist(), strict=True)
    return [Breach(*row[:2], tuple(row[2])) for row in rows]


def _forecast_kv_cache(point: EvaluationPoint) -> Mapping[Service, Breach]:
    """When the KV caches of a service's model servers are full."""
    servers = model_servers(point.world)
    if not servers.services:
        return {}
    points = point.world.points(SLOW_TREND_SECONDS, MIN_SLOW_TREND_POINTS)
    lookback = points + point.world.points(60)
    cache = moving_average(servers.cache[:, max(0, point.column + 1 - lookback) : point.column + 1], point.world.step)
    logs = np.log(np.maximum(cache[:, -points:], 1e-3))
    breaches = _forecast(logs, math.log(FULL_KV_CACHE_RATIO), point.world.step)
    return {
        service: breach
        for service, breach in zip(servers.services, breaches, strict=True)
        if point.utilizations[service].cache >= MIN_KV_CACHE_RATIO and point.z("cache", service) >= MIN_TREND_Z
    }
