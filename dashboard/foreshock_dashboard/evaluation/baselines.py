"""Simpler detectors, each a pure function of the World: what alerting rules in use would have said in the same run.

Each gives a level over time for some things, and the services that are told of with them; it alarms where the level
reaches a threshold for some points in a row. Their thresholds in use are marked; the others make the curve of lead
against false alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.evaluation import rolling
from foreshock_dashboard.evaluation.protocol import Page
from foreshock_dashboard.evaluation.truth import Objective
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World

MINUTE = 60.0
HOUR = 3600.0
MOST_FAILED = 0.01
"""Share of requests that may fail: the error budget of 99 %."""
FAST, SLOW = 14.4, 6.0
"""Burn rates that page (The Site Reliability Workbook, chapter 5): over 1 h and 5 min, and over 6 h and 30 min."""
UTILIZATION = ((0.90, 10 * MINUTE), (0.95, 30 * MINUTE))
MEMORY = 0.90
"""Static rules on GPUs in public repositories: utilization over so long, and memory used."""
MEMORY_OF_MEAN = 30 * MINUTE
"""Seconds in which an EWMA forgets: its α is 2 / (points + 1)."""

Objectives = Mapping[Service, Objective]


@dataclass(frozen=True, slots=True)
class Levels:
    """`values` (rows, times), NaN where nothing is known; `services[i]` are told of when row i alarms."""

    services: tuple[frozenset[Service], ...]
    values: Floats = field(repr=False)


class Detector(NamedTuple):
    """A baseline. usual: the threshold in use, one of `thresholds`. persist: points in a row that must reach it."""

    name: str
    levels: Callable[[World, Objectives], Levels]
    usual: float
    thresholds: tuple[float, ...]
    persist: int = 1


def alarms(world: World, levels: Levels, threshold: float, persist: int = 1) -> tuple[Page, ...]:
    """A page for each time that a row reached the threshold for `persist` points in a row, in order of time."""
    above = levels.values >= threshold
    held = rolling.total(above.astype(np.float64), persist) >= persist
    held[:, : persist - 1] = False
    begins = held & ~np.concatenate([np.zeros((len(held), 1), bool), held[:, :-1]], axis=1)
    return tuple(Page(float(world.times[at]), levels.services[row]) for at, row in np.argwhere(begins.T).tolist())


def _points(world: World, seconds: float) -> int:
    return max(1, round(seconds / world.step))


def burn_rate(world: World, objectives: Objectives) -> Levels:
    """How far above its threshold the budget burns; 1 pages. Two budgets: of slow or failed requests, and of failed.

    Over each pair of windows both must burn; over what there is of a window where the recording is shorter.
    """
    rows = [i for i, service in enumerate(world.services) if service in objectives]
    latency = np.array([objectives[world.services[i]].latency for i in rows])
    budget = 1.0 - np.array([objectives[world.services[i]].share for i in rows])
    failed, rate = np.nan_to_num(world.red.failed[rows]), np.nan_to_num(world.red.rate[rows])
    bad = np.minimum(1.0, failed + slower_than(world, rows, latency))
    burnt = [_burn(world, failed / MOST_FAILED, rate), _burn(world, bad / budget[:, None], rate)]
    return Levels(tuple(frozenset({world.services[i]}) for i in rows), np.maximum(*burnt))


def _burn(world: World, spent: Floats, rate: Floats) -> Floats:
    """The greater of both rules' levels, of the budget spent at each point."""

    def over(seconds: float) -> Floats:
        points = _points(world, seconds)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nan_to_num(rolling.total(spent * rate, points) / rolling.total(rate, points))

    fast = np.minimum(over(HOUR), over(5 * MINUTE)) / FAST
    return np.asarray(np.maximum(fast, np.minimum(over(6 * HOUR), over(30 * MINUTE)) / SLOW))


def slower_than(world: World, rows: Sequence[int], latency: Floats) -> Floats:
    """Share of requests that took longer than `latency` (s) of each row; 0 without requests.

    Between the quantiles that are known by the logarithm of the time, below the median as if it were symmetric.
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


def static_gpu(world: World, _: Objectives) -> Levels:
    """Utilization and memory of each GPU over their thresholds; 1 pages. Told of: the services on it."""
    rules = [rolling.least(world.utilization, _points(world, held)) / most for most, held in UTILIZATION]
    with np.errstate(invalid="ignore", divide="ignore"):
        memory = np.nan_to_num(world.memory_used / world.memory_total) / MEMORY
    return Levels(_on_gpus(world), np.maximum.reduce([*rules, memory]))


def linear_prediction(world: World, _: Objectives) -> Levels:
    """Utilization of each GPU in 30 min, by a line through the last 30 min: predict_linear(util[30m], 30m)."""
    half_hour = _points(world, 30 * MINUTE)
    return Levels(_on_gpus(world), rolling.predicted(world.utilization, half_hour, half_hour))


def ewma(world: World, _: Objectives) -> Levels:
    """z of log p95 against its exponentially weighted mean and variance before (Roberts, 1959)."""
    alpha = 2.0 / (_points(world, MEMORY_OF_MEAN) + 1)
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
