"""Baseline detectors: alerting rules in common use, as pure functions of the World.

Each gives a level over time per row, and the services it alerts on. It alerts where the level reaches a threshold for
some consecutive points. One threshold is in common use; the others give the curve of lead time against false alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_evaluation.scores.protocol import Page
from foreshock_evaluation.scores.truth import SloTarget


def rolling_sum(values: Floats, points: int) -> Floats:
    """Sum of the last `points` of each row, shape (rows, times); fewer near the start, NaN skipped."""
    summed = np.cumsum(np.nan_to_num(values), axis=1)
    out = summed.copy()
    out[:, points:] -= summed[:, :-points]
    return out


def rolling_min(values: Floats, points: int) -> Floats:
    """Minimum of the last `points`; -inf with fewer points, and while half of them or more are missing."""
    out = np.full_like(values, -np.inf)
    if values.shape[1] >= points:
        windows = sliding_window_view(values, points, axis=1)
        enough = 2 * (~np.isnan(windows)).sum(axis=2) > points
        out[:, points - 1 :] = np.where(enough, np.fmin.reduce(windows, axis=2), -np.inf)
    return out


def rolling_prediction(values: Floats, points: int, ahead: float) -> Floats:
    """Value `ahead` points later, by least squares over the last `points`; NaN with fewer than half of them.

    Equals `predict_linear` of Prometheus (promql/functions.go, linearRegression).
    """
    weights = (~np.isnan(values)).astype(np.float64)
    x = np.broadcast_to(np.arange(values.shape[1], dtype=np.float64), values.shape)
    y = np.nan_to_num(values)
    n, sx, sy = rolling_sum(weights, points), rolling_sum(x * weights, points), rolling_sum(y, points)
    sxx, sxy = rolling_sum(x * x * weights, points), rolling_sum(x * y, points)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = (n * sxy - sx * sy) / (n * sxx - sx * sx)
        line = sy / n + slope * (x + ahead - sx / n)
    return np.where(n * 2 >= points, line, np.nan)


MINUTE_SECONDS = 60.0
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
    """A baseline. default: threshold in common use, one of `thresholds`. persist: consecutive points that reach it."""

    name: str
    levels: Callable[[World, SloTargets], Levels]
    default: float
    thresholds: tuple[float, ...]
    persist: int = 1


def alarms(world: World, levels: Levels, threshold: float, persist: int = 1) -> tuple[Page, ...]:
    """A page for each time that a row reaches the threshold for `persist` consecutive points, in order of time."""
    above = levels.values >= threshold
    alert = rolling_sum(above.astype(np.float64), persist) >= persist
    begins = np.diff(alert, axis=1, prepend=False) & alert
    return tuple(Page(float(world.times[point]), levels.services[row]) for point, row in np.argwhere(begins.T).tolist())


def _points(world: World, seconds: float) -> int:
    return max(1, round(seconds / world.step))


def burn_rate(world: World, slos: SloTargets) -> Levels:
    """Burn rate over its threshold; 1 pages. Two budgets: slow or failed requests, and failed ones.

    Both windows of a pair must burn. Windows are shorter at the start of a recording.
    """
    rows = [i for i, service in enumerate(world.services) if service in slos]
    targets = [slos[world.services[i]] for i in rows]
    budget = 1.0 - np.array([target.share for target in targets])
    failed, rate = np.nan_to_num(world.red.error_rate[rows]), np.nan_to_num(world.red.rate[rows])
    bad = np.minimum(1.0, failed + slower_than(world, rows, np.array([target.latency for target in targets])))
    burns = [_burn(world, failed / MAX_FAILED_RATIO, rate), _burn(world, bad / budget[:, None], rate)]
    return Levels(tuple(frozenset({world.services[i]}) for i in rows), np.maximum(*burns))


def _burn(world: World, spent: Floats, rate: Floats) -> Floats:
    """The higher level of both rules, from the budget spent at each point."""

    def over(minutes: float) -> Floats:
        points = _points(world, minutes * MINUTE_SECONDS)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nan_to_num(rolling_sum(spent * rate, points) / rolling_sum(rate, points))

    fast, slow = np.minimum(over(60), over(5)), np.minimum(over(360), over(30))
    return np.asarray(np.maximum(fast / FAST_BURN_RATE, slow / SLOW_BURN_RATE))


def slower_than(world: World, rows: Sequence[int], latency: Floats) -> Floats:
    """Share of requests that took longer than `latency` (seconds) of each row; 0 without requests.

    Interpolated between p50, p95, and p99 in the logarithm of time; symmetric below the median.
    """
    out = np.zeros((len(rows), len(world.times)))
    quantiles = np.stack([values[list(rows)] for values in (world.red.p50, world.red.p95, world.red.p99)])
    for row, limit in enumerate(np.log(latency).tolist()):
        for point in np.flatnonzero(np.isfinite(quantiles[:, row]).all(axis=0)).tolist():
            p50, p95, p99 = np.log(np.maximum(quantiles[:, row, point], 1e-9))
            if p99 > limit:
                logs = (2 * p50 - p99, 2 * p50 - p95, p50, p95, p99)
                out[row, point] = 1.0 - float(np.interp(limit, logs, (0.01, 0.05, 0.5, 0.95, 0.99)))
    return out


def static_gpu(world: World, _: SloTargets) -> Levels:
    """Utilization and memory of each GPU over their thresholds; 1 pages about the services on it."""
    rules = [rolling_min(world.utilization, _points(world, seconds)) / limit for limit, seconds in UTILIZATION_RULES]
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
    mean, variance, count = (np.full(len(logs), fill) for fill in (np.nan, 0.0, 0.0))
    for point, value in enumerate(logs.T):
        present = ~np.isnan(value)
        deviation = np.where(np.isnan(mean), 0.0, value - mean)
        with np.errstate(invalid="ignore", divide="ignore"):
            out[:, point] = np.where(present & (count >= 1 / alpha), deviation / np.sqrt(variance), np.nan)
        mean = np.where(present, np.where(np.isnan(mean), value, mean + alpha * deviation), mean)
        variance = np.where(present, (1 - alpha) * (variance + alpha * deviation**2), variance)
        count += present
    return Levels(tuple(frozenset({service}) for service in world.services), out)


def _on_gpus(world: World) -> tuple[frozenset[Service], ...]:
    return tuple(
        frozenset(tenant.service for tenant in world.tenants if tenant.gpu.uuid == gpu.uuid) for gpu in world.gpus
    )


DETECTORS = (
    Detector("burn rate 14.4× and 6×", burn_rate, 1.0, (0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.5, 1.0)),
    Detector("static GPU thresholds", static_gpu, 1.0, (0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.08, 1.1)),
    Detector("predict_linear(utilization)", linear_prediction, 1.0, (0.7, 0.85, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 2.0), 3),
    Detector("EWMA z of log p95", ewma, 4.0, (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 8.0), 3),
)
