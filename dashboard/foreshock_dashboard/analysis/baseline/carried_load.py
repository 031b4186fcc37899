"""Load that services carried while they were healthy: no more than that does not explain why one is slow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foreshock_dashboard.analysis.baseline.levels import BASELINE_HISTORY_SECONDS
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import ALL_ROWS
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.stats.threshold import Threshold

HEALTHY_Z = 2.0
"""Scales of p95 up to which a service was healthy."""
CARRIED_QUANTILE = 0.98
"""Quantile of the request rates of healthy times: the highest one may be a burst of a sample."""
GROWTH_SECONDS = 900.0
"""Newest part of the history that is left out: load that grows for so long is growth."""
BEYOND_CARRIED = Threshold(1.1, 0.05)
"""Request rate over the carried one from which load may make a service slow."""


def beyond_carried(point: EvaluationPoint, service: Service) -> float:
    """Confidence (0 to 1) that a service gets more requests than it carried while it was healthy; 1 if unknown."""
    return point.memo(_confidences).get(service, 1.0)


def _confidences(point: EvaluationPoint) -> Mapping[Service, float]:
    """For services without the batching law of a model server, which says more."""
    guard, history = point.world.points(GROWTH_SECONDS), point.world.points(BASELINE_HISTORY_SECONDS)
    rate, slow = point["rate"], point.past("p95", ALL_ROWS, history)[:, :-guard]
    level, scale = point.baselines.of("p95").of(point.world.services).T[:, :, None]
    columns = slice(max(0, point.column + 1 - history), point.column + 1)
    with np.errstate(invalid="ignore"):
        healthy = np.where(slow <= level + HEALTHY_Z * scale, point.world.red.rate[:, columns][:, :-guard], np.nan)
    found = {}
    for row, service in enumerate(point.world.services):
        known = healthy[row][np.isfinite(healthy[row])]
        if service not in point.utilizations and len(known) >= guard // 2:
            found[service] = BEYOND_CARRIED.confidence(
                float(rate.value[row]) / max(float(np.quantile(known, CARRIED_QUANTILE)), 1e-9)
            )
    return found
