"""Forecast of each service's SLO breach from its own latency, errors, and KV cache."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.counts import MIN_REQUESTS, count_seconds
from foreshock_dashboard.analysis.baseline.operations import MIN_OPERATION_Z
from foreshock_dashboard.analysis.baseline.outages import is_outage_felt
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.analysis.baseline.slos import Slo, operation_slos
from foreshock_dashboard.analysis.saturation.safe_limits import is_overloading
from foreshock_dashboard.model.forecast import Utilization
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Operation, Red
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
MIN_SHIFT_Z = 4.0
"""Scales above the baseline of p50 from which all requests are slower: p95 grows by as many seconds. A minute's p50 is
less noisy than its p95."""
MIN_SHIFT_SHARE = 0.5
"""Share of that shift that p95 shows at least: else only the mix of short and long requests has changed."""
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
    none is configured or learned yet. operation: the one that breaches, or will, and its SLO; None for the service as a
    whole.
    """

    breached: bool
    probability: float
    near_probability: float
    seconds: tuple[float, ...]
    overloaded: bool
    utilization: Utilization | None
    slo: Slo | None = None
    operation: tuple[Operation, Slo] | None = None


def service_risks(point: EvaluationPoint, slos: Mapping[Service, Slo]) -> Mapping[Service, ServiceRisk]:
    """Risk of each service of the World, by the trend of its latency or of its KV cache, whichever is more likely."""
    services, no_slo = point.world.services, Slo(math.nan, math.nan)
    limit, max_failed = np.array([slos.get(service, no_slo)[:2] for service in services], np.float64).reshape(-1, 2).T
    by_latency = _breaches(point, "", point.world.red, limit, max_failed, MIN_TREND_Z)
    by_operation, by_cache = _operation_breaches(point, slos), _forecast_kv_cache(point)
    risks = {}
    for i, service in enumerate(services):
        breach = max(by_latency.get(i, _NEVER), by_cache.get(service, _NEVER), key=lambda one: one.probability)
        operation, of_operation = by_operation.get(service, (None, _NEVER))
        if is_outage_felt(point, service):
            breach = _NOW
        if of_operation.probability > breach.probability:
            breach = of_operation
        else:
            operation = None
        utilization, overloaded = point.utilizations.get(service), is_overloading(point, service)
        risks[service] = ServiceRisk(breach is _NOW, *breach, overloaded, utilization, slos.get(service), operation)
    return risks


def _operation_breaches(
    point: EvaluationPoint, slos: Mapping[Service, Slo]
) -> Mapping[Service, tuple[tuple[Operation, Slo], Breach]]:
    """The operation of each service that is most likely to breach its SLO, with that SLO, and the breach."""
    limit, max_failed = operation_slos(point, slos)
    breaches = _breaches(point, "operation_", point.world.operation_red, limit, max_failed, MIN_OPERATION_Z)
    found: dict[Service, tuple[tuple[Operation, Slo], Breach]] = {}
    for row, breach in breaches.items():
        operation = point.world.operations[row]
        if operation.service not in found or breach.probability > found[operation.service][1].probability:
            target = Slo(float(limit[row]), float(max_failed[row]), learned=True)
            found[operation.service] = (operation, target), breach
    return found


def _breaches(
    point: EvaluationPoint, prefix: str, red: Red, limit: Floats, max_failed: Floats, min_z: float
) -> Mapping[int, Breach]:
    """The breach of the SLO by each row of services, or of operations, that has enough requests and is worse.

    prefix: of the names of the rows' signals. red: their values. limit, max_failed: p95 in seconds and error rate by
    row. min_z: scales above the baseline from which the trend of p95 counts.
    """
    p95, p50, failed = (point[f"{prefix}{name}"] for name in ("p95", "p50", "error_rate"))
    requests = point[f"{prefix}rate"].value * count_seconds(point)
    with np.errstate(invalid="ignore"):
        failing = (failed.value > max_failed) & (failed.value * requests >= MIN_FAILED_REQUESTS)
        counted = requests >= MIN_REQUESTS
        breached = np.flatnonzero(counted & ((p95.denoised > limit) | failing))
        slower = np.flatnonzero(counted & (p95.z >= min_z))
        shown = p95.value - p95.level >= MIN_SHIFT_SHARE * (p50.value - p50.level)
        shifted = np.flatnonzero(counted & shown & (p50.z >= MIN_SHIFT_Z))
    points = point.world.points(SLOW_TREND_SECONDS, MIN_SLOW_TREND_POINTS)
    window = slice(max(0, point.column + 1 - points), point.column + 1)
    shift = np.fmax(red.p50[shifted, window].astype(np.float64) - p50.level[shifted, None], 0.0)
    breaches: dict[int, Breach] = {}
    for rows, seconds in (
        (slower, red.p95[slower, window].astype(np.float64)),
        (shifted, p95.level[shifted, None] + shift),
    ):
        logs = np.log(np.maximum(seconds, 1e-9))
        for row, breach in zip(rows.tolist(), _forecast(logs, np.log(limit[rows]), point.world.step), strict=True):
            breaches[row] = max(breach, breaches.get(row, _NEVER), key=lambda one: one.probability)
    return breaches | dict.fromkeys(breached.tolist(), _NOW)


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
