"""SLO targets of services: configured, or learned from the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.model.service import Service
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
    """SLO targets: p95 in seconds and error rate as a share, 0 to 1. `learned`: not configured."""

    seconds: float
    error_rate: float
    learned: bool = False


def slos(point: EvaluationPoint, configured: Mapping[Service, Slo]) -> Mapping[Service, Slo]:
    """Targets of every service with a configured SLO or a baseline."""
    targets = dict(configured)
    levels, error_levels = point.baselines.of("p95"), point.baselines.of("error_rate")
    for service, (level, scale) in zip(levels.entities, levels.pairs.tolist(), strict=True):
        if isinstance(service, Service) and service not in targets and not math.isnan(scale):
            factor = max(
                min(max(math.exp(LEARNED_SLO_SCALES * scale), LEARNED_SLO_FACTORS[0]), LEARNED_SLO_FACTORS[1]),
                math.exp(MAX_EXCURSION_SCALES * scale),
            )
            errors, spread = error_levels.get(service, (0.0, 0.0))
            allowed = max(errors, 0.0) + max(LEARNED_ERROR_RATE_MARGIN, LEARNED_SLO_SCALES * spread)
            seconds = max(math.exp(level) * factor, MIN_LEARNED_SLO_SECONDS)
            targets[service] = Slo(seconds, allowed, learned=True)
    return targets
