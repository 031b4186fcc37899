"""SLO targets of services: configured, or learned from the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.robust import MAX_EXCURSION_SCALES

LEARNED_SLO_FACTORS = (1.6, 3.0)
"""Bounds of a learned p95 target over the baseline. Users notice the lower one (Nielsen 1993); no normal fluctuation
exceeds the upper one."""
LEARNED_SLO_SCALES = 4.0
"""Scales above the baseline of a learned target, within these bounds and above ordinary excursions."""
MIN_LEARNED_SLO_SECONDS = 0.05
"""Least learned target: users do not feel less (half of the 0.1 s that Nielsen gives for an instantaneous reaction). A
database of 5 ms is no incident at 15 ms unless its callers breach their own targets."""
LEARNED_ERROR_RATE_MARGIN = 0.01
"""Error rate of a learned target above the baseline, as a share of requests."""


class Slo(NamedTuple):
    """SLO targets: p95 in seconds and error rate as a share, 0 to 1. `learned`: not configured.

    baseline_seconds, baseline_error_rate: that it was learned from; NaN of a configured one.
    """

    seconds: float
    error_rate: float
    learned: bool = False
    baseline_seconds: float = math.nan
    baseline_error_rate: float = math.nan


_LEARNED = Slo(0.0, 0.0, learned=True)


def learned_seconds(level: Floats, scale: Floats) -> Floats:
    """Learned p95 targets in seconds, of baselines of the logarithm of p95; NaN without a baseline."""
    factor = np.maximum(
        np.clip(np.exp(LEARNED_SLO_SCALES * scale), *LEARNED_SLO_FACTORS), np.exp(MAX_EXCURSION_SCALES * scale)
    )
    seconds: Floats = np.maximum(np.exp(level) * factor, MIN_LEARNED_SLO_SECONDS)
    return seconds


def learned_error_rates(level: Floats, scale: Floats) -> Floats:
    """Learned targets of error rates, of their baselines; the margin alone without one."""
    spread = np.maximum(LEARNED_ERROR_RATE_MARGIN, LEARNED_SLO_SCALES * np.nan_to_num(scale))
    return np.maximum(np.nan_to_num(level), 0.0) + spread


def slos(point: EvaluationPoint, configured: Mapping[Service, Slo]) -> Mapping[Service, Slo]:
    """Targets of every service with a configured SLO or a baseline."""
    targets = dict(configured)
    if targets:  # those without a cluster are of every cluster
        local = {service: service.local for service in point.world.services if service not in configured}
        targets |= {service: configured[name] for service, name in local.items() if name in configured}
    levels = point.baselines.of("p95")
    level, scale = levels.pairs.T
    errors, spread = point.baselines.of("error_rate").of(levels.entities).T
    learned = np.stack(
        [
            *(learned_seconds(level, scale), learned_error_rates(errors, spread)),
            *(np.exp(level), np.maximum(np.nan_to_num(errors), 0.0)),
        ]
    )
    for service, (seconds, error_rate, *baselines) in zip(levels.entities, learned.T.tolist(), strict=True):
        if isinstance(service, Service) and service not in targets and not math.isnan(seconds):
            targets[service] = Slo(seconds, error_rate, True, *baselines)
    return targets


def operation_slos(point: EvaluationPoint, targets: Mapping[Service, Slo]) -> tuple[Floats, Floats]:
    """Targets of each operation of the World: p95 in seconds, and error rate; NaN without a baseline.

    They are learned. One below the configured target of the service counts as that.
    """
    operations, levels = (
        point.world.operations,
        (point.baselines.of(f"operation_{name}") for name in ("p95", "error_rate")),
    )
    (level, scale), (errors, spread) = (of_signal.of(operations).T for of_signal in levels)
    configured = [targets.get(operation.service, _LEARNED) for operation in operations]
    least = [(0.0, 0.0) if slo.learned else slo[:2] for slo in configured]
    seconds, error_rates = np.array(least, np.float64).reshape(-1, 2).T
    return np.maximum(learned_seconds(level, scale), seconds), np.maximum(
        learned_error_rates(errors, spread), error_rates
    )
