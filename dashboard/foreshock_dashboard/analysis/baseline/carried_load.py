"""Load that services carried while they were healthy: no more than that does not explain why one is slow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foreshock_dashboard.analysis.baseline.levels import BASELINE_HISTORY_SECONDS
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import ALL_ROWS
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.robust import median
from foreshock_dashboard.stats.threshold import Threshold

HEALTHY_Z = 2.0
"""Scales of p95 up to which a service was healthy."""
CARRIED_QUANTILE = 0.98
"""Quantile of the request rates of healthy times, but never the highest: it may be a burst of a sample."""
MIN_CARRIED_POINTS = 10
"""Fewest points of healthy times from which the carried rate is known."""
GROWTH_SECONDS = 900.0
"""Newest part of the history that is left out, with the parts of this length before it to which load rose."""
BEYOND_CARRIED = Threshold(1.1, 0.05)
"""Request rate over the carried one from which load may make a service slow."""


def beyond_carried(point: EvaluationPoint, service: Service) -> float:
    """Confidence (0 to 1) that a service gets more requests than it carried while it was healthy; 1 if unknown."""
    return point.memo(_confidences).get(service, 1.0)


def _confidences(point: EvaluationPoint) -> Mapping[Service, float]:
    """For services without the batching law of a model server, which says more.

    Load that rises for an hour is growth: that it was carried until it reached the limit says nothing about more.
    """
    guard, history = point.world.points(GROWTH_SECONDS), point.world.points(BASELINE_HISTORY_SECONDS)
    columns = slice(max(0, point.column + 1 - history), point.column + 1)
    rates, slow = point.world.red.rate[:, columns], point.past("p95", ALL_ROWS, history)
    level, scale = point.baselines.of("p95").of(point.world.services).T[:, :, None]
    rising = _rising_parts(rates, guard)
    with np.errstate(invalid="ignore"):
        healthy = np.where(slow <= level + HEALTHY_Z * scale, rates, np.nan)
    found = {}
    for row, service in enumerate(point.world.services):
        known = healthy[row, : -guard * (1 + rising[row])]
        known = np.sort(known[np.isfinite(known)])
        if service not in point.utilizations and len(known) >= max(MIN_CARRIED_POINTS, guard // 2):
            carried = known[-max(2, round((1 - CARRIED_QUANTILE) * len(known)))]
            found[service] = BEYOND_CARRIED.confidence(float(point["rate"].value[row] / max(carried, 1e-9)))
    return found


def _rising_parts(rates: Floats, points: int) -> list[int]:
    """Number of parts, each of so many points, before the newest part, of which each has more load than the last."""
    parts = rates.shape[1] // points
    newest = rates[:, rates.shape[1] - parts * points :].reshape(len(rates) * parts, points)
    rises = np.diff(median(newest).reshape(len(rates), parts), axis=1)[:, -2::-1] > 0
    rising: list[int] = np.logical_and.accumulate(rises, axis=1).sum(axis=1).tolist()
    return rising
