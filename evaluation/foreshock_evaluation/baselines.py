"""Baseline detectors: alerting rules in common use, as pure functions of the World.

Each gives a level over time per row, and the services it alerts on. It alerts where the level reaches a threshold for
some consecutive points. `usual` is the threshold in common use; the others give the curve of lead time against false
alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_evaluation.protocol import Page
from foreshock_evaluation.truth import SloTarget


def rolling_sum(values: Floats, points: int) -> Floats:
    """Sum of the last `points` of each row, shape (rows, times); fewer near the start, NaN skipped."""
    summed = np.cumsum(np.nan_to_num(values), axis=1)
    out = summed.copy()
    out[:, points:] -= summed[:, :-points]
    return out


def rolling_min(values: Floats, points: int) -> Floats:
    """Minimum of the last `points`; -inf with fewer points, and while half of them or more are missing."""
    found = np.where(np.isnan(values), np.inf, values)
    span = 1
    while span < points:
        step = min(span, points - span)
        shifted = np.full_like(found, np.inf)
        shifted[:, step:] = found[:, :-step]
        found = np.minimum(found, shifted)
        span += step
    known = rolling_sum((~np.isnan(values)).astype(np.float64), points)
    found[:, : points - 1] = -np.inf
    return np.where(known * 2 > points, found, -np.inf)


def rolling_prediction(values: Floats, points: int, ahead: float) -> Floats:
    """Value `ahead` points later, by least squares over the last `points`; NaN with fewer than half of them.

    Equals `predict_linear` of Prometheus (promql/functions.go, linearRegression).
    """
    known = (~np.isnan(values)).astype(np.float64)
    x = np.broadcast_to(np.arange(values.shape[1], dtype=np.float64), values.shape)
    y = np.nan_to_num(values)
    n, sx, sy = rolling_sum(known, points), rolling_sum(x * known, points), rolling_sum(y, points)
    sxx, sxy = rolling_sum(x * x * known, points), rolling_sum(x * y, points)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = (n * sxy - sx * sy) / (n * sxx - sx * sx)
        line = sy / n + slope * (x + ahead - sx / n)
    return np.where(n * 2 >= points, line, np.nan)


MINUTE_SECONDS = 60.0
HOUR_SECONDS = 3600.0
MAX_FAILED_RATIO = 0.01
"""Error budget of a 99% availability SLO."""
FAST_BURN_RATE, SLOW_BURN_RATE = 14.4, 6.0
"""Burn rates that page, over 1 h and 5 min, and over 6 h and 30 min (The Site Reliability Workbook, chapter 5)."""
UTILIZATION_RULES = ((0.90, 10 * MINUTE_SECONDS), (0.95, 30 * MINUTE_SECONDS))
MAX_MEMORY_RATIO = 0.90
"""Static GPU rules in public repositories: utilization and its duration, and memory."""
EWMA_SECONDS = 30 * MINUTE_SECONDS
"""Span of the EWMA: its α is 2 / (points + 1)."""

SloTargets = Mapping[Service, SloTarget]


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels of shape (rows, times), NaN where unknown; an alert of row i is about `services[i]`."""

    services: tuple[frozenset[Service], ...]
    values: Floats = field(repr=False)


class Detector(NamedTuple):
    """A baseline. usual: threshold in common use, one of `thresholds`. persist: consecutive points that reach it."""

    name: str
    levels: Callable[[World, SloTargets], Levels]
    usual: float
    thresholds: tuple[float, ...]
    persist: int = 1


def alarms(world: World, levels: Levels, threshold: float, persist: int = 1) -> tuple[Page, ...]:
    """A page for each time that a row reaches the threshold for `persist` consecutive points, in order of time."""
    above = levels.values >= threshold
    held = rolling_sum(above.astype(np.float64), persist) >= persist
    held[:, : persist - 1] = False
    begins = held & ~np.concatenate([np.zeros((len(held), 1), bool), held[:, :-1]], axis=1)
    return tuple(Page(float(world.times[at]), levels.services[row]) for at, row in np.argwhere(begins.T).tolist())


def _points(world: World, seconds: float) -> int:
    return max(1, round(seconds / world.step))


def burn_rate(world: World, objectives: SloTargets) -> Levels:
    """Burn rate over its threshold; 1 pages. Two budgets: slow or failed requests, and failed ones.

    Both windows of a pair must burn. Windows are shorter at the start of a recording.
    """
    rows = [i for i, service in enumerate(world.services) if service in objectives]
    latency = np.array([objectives[world.services[i]].latency for i in rows])
    budget = 1.0 - np.array([objectives[world.services[i]].share for i in rows])
    failed, rate = np.nan_to_num(world.red.failed[rows]), np.nan_to_num(world.red.rate[rows])
    bad = np.minimum(1.0, failed + slower_than(world, rows, latency))
    burnt = [_burn(world, failed / MAX_FAILED_RATIO, rate), _burn(world, bad / budget[:, None], rate)]
    return Levels(tuple(frozenset({world.services[i]}) for i in rows), np.maximum(*burnt))


def _burn(world: World, spent: Floats, rate: Floats) -> Floats:
    """The higher level of both rules, from the budget spent at each point."""

    def over(seconds: float) -> Floats:
        points = _points(world, seconds)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nan_to_num(rolling_sum(spent * rate, points) / rolling_sum(rate, points))

    fast = np.minimum(over(HOUR_SECONDS), over(5 * MINUTE_SECONDS)) / FAST_BURN_RATE
    return np.asarray(np.maximum(fast, np.minimum(over(6 * HOUR_SECONDS), over(30 * MINUTE_SECONDS)) / SLOW_BURN_RATE))


def slower_than(world: World, rows: Sequence[int], latency: Floats) -> Floats:
    """Share of requests that took longer than `latency` (seconds) of each row; 0 without requests.

    Interpolated between p50, p95, and p99 in the logarithm of time; symmetric below the median.
    """
    out = np.zeros((len(rows), len(world.times)))
    known = np.stack([found[list(rows)] for found in (world.red.p50, world.red.p95, world.red.p99)])
    for row, limit in enumerate(latency.tolist()):
        for at in np.flatnonzero(np.isfinite(known[:, row]).all(axis=0)).tolist():
            p50, p95, p99 = np.log(np.maximum(known[:, row, at], 1e-9))
            if p99 > np.log(limit):
                logs = (2 * p50 - p99, 2 * p50 - p95, p50, p95, p99)
                out[row, at] = 1.0 - float(np.interp(np.log(limit), logs, (0.01, 0.05, 0.5, 0.95, 0.99)))
    return out


def static_gpu(world: World, _: SloTargets) -> Levels:
    """Utilization and memory of each GPU over their thresholds; 1 pages about the services on it."""
    rules = [rolling_min(world.utilization, _points(world, held)) / most for most, held in UTILIZATION_RULES]
    with np.errstate(invalid="ignore", divide="ignore"):
        memory = np.nan_to_num(world.memory_used / world.memory_total) / MAX_MEMORY_RATIO
    return Levels(_on_gpus(world), np.maximum.reduce([*rules, memory]))


def linear_prediction(world: World, _: SloTargets) -> Levels:
    """Utilization of each GPU in 30 min: `predict_linear(util[30m], 30m)`."""
    half_hour = _points(world, 30 * MINUTE_SECONDS)
    return Levels(_on_gpus(world), rolling_prediction(world.utilization, half_hour, half_hour))


def ewma(world: World, _: SloTargets) -> Levels:
    """z of log p95 against its exponentially weighted mean and variance (Roberts, 1959)."""
    alpha = 2.0 / (_points(world, EWMA_SECONDS) + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(np.where(world.red.p95 > 0, world.red.p95, np.nan))
    out = np.full(logs.shape, np.nan)
    mean, variance, seen = (np.full(len(logs), fill) for fill in (np.nan, 0.0, 0.0))
    for at in range(logs.shape[1]):
        value = logs[:, at]
        known = ~np.isnan(value)
        off = np.where(np.isnan(mean), 0.0, value - mean)
        with np.errstate(invalid="ignore", divide="ignore"):
            out[:, at] = np.where(known & (seen >= 1 / alpha), off / np.sqrt(variance), np.nan)
        mean = np.where(known, np.where(np.isnan(mean), value, mean + alpha * off), mean)
        variance = np.where(known, (1 - alpha) * (variance + alpha * off**2), variance)
        seen += known
    return Levels(tuple(frozenset({service}) for service in world.services), out)


def _on_gpus(world: World) -> tuple[frozenset[Service], ...]:
    found: dict[str, set[Service]] = {}
    for tenant in world.tenants:
        found.setdefault(tenant.gpu.uuid, set()).add(tenant.service)
    return tuple(frozenset(found.get(gpu.uuid, ())) for gpu in world.gpus)


DETECTORS = (
    Detector("burn rate 14.4× and 6×", burn_rate, 1.0, (0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.5, 1.0)),
    Detector("static GPU thresholds", static_gpu, 1.0, (0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.08, 1.1)),
    Detector("predict_linear(utilization)", linear_prediction, 1.0, (0.7, 0.85, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 2.0), 3),
    Detector("EWMA z of log p95", ewma, 4.0, (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 8.0), 3),
)
