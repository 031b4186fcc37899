"""Replicas lost: ready before, still wanted, no longer ready."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.threshold import Threshold

LOOKBACK_SECONDS = 3600.0
"""How far back a replica may have been ready to count as lost now."""
LOST_REPLICAS_RATIO = Threshold(0.1, 0.03)
"""Share of replicas lost at which an effect on the service is 50% likely, and the width of the transition."""


def lost(point: EvaluationPoint, service: Service) -> float:
    """Share of the service's wanted replicas that is no longer ready, 0 to 1; 0 where unknown."""
    capacity, row = point.world.capacity, point["ready"].keys.get(service)
    if capacity is None or row is None:
        return 0.0
    window = slice(max(0, point.at - point.world.points(LOOKBACK_SECONDS)), point.at + 1)
    return lost_ratio(capacity.wanted[row, window], capacity.ready[row, window])


def lost_ratio(wanted: Floats, ready: Floats) -> float:
    """Share of the highest ready count, capped by what stayed wanted since, that is not ready at the end; 0 to 1.

    `wanted` and `ready` have shape (times,). Replicas removed by scaling down are not lost.
    """
    known = np.isfinite(wanted) & np.isfinite(ready)
    wanted, ready = wanted[known], ready[known]
    if not len(ready):
        return 0.0
    still_wanted = np.minimum(ready, np.minimum.accumulate(wanted[::-1])[::-1])
    highest = float(still_wanted.max())
    return max(0.0, 1 - float(ready[-1]) / highest) if highest > 0 else 0.0
