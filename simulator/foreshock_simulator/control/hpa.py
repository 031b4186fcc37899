"""The arithmetic of the Kubernetes HorizontalPodAutoscaler, autoscaling/v2, with its default behaviour.

Kubernetes documentation, "Horizontal Pod Autoscaling": algorithm details, support for configurable scaling behaviour.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

TOLERANCE = 0.1
"""--horizontal-pod-autoscaler-tolerance."""
PERIOD = 15.0
"""Seconds of the default policies."""
PODS_PER_PERIOD = 4
GROWTH_PER_PERIOD = 1.0
"""Default policies for more: 4 pods or 100 % a period, whichever is more. For fewer: 100 %, which is no limit."""


def recommend(current: int, ready: int, metric: float, target: float) -> int:
    """Replicas that bring the metric to its target: ⌈ready · metric / target⌉, or `current` within the tolerance.

    Replicas that are not ready have no say in going down, and count as idle in going up, unless that turns the
    direction round or brings it within the tolerance; then all stays. Without a metric (NaN, none ready) all stays.

    Args:
        current: replicas wanted now, ready or not.
        ready: of these.
        metric: averaged over the ready ones, in the unit of `target`.
        target: positive.
    """
    if ready <= 0 or math.isnan(metric):
        return current
    ratio, counted = metric / target, ready
    if ratio > 1.0 and current > ready:
        counted = current
        ratio *= ready / current
        if ratio < 1.0:
            return current
    if abs(ratio - 1.0) <= TOLERANCE + 1e-12:
        return current
    # 1e-9: the controller computes in whole milli-units, where 3 · 0.2 / 0.6 is 1
    return math.ceil(ratio * counted - 1e-9)


@dataclass(slots=True)
class Behaviour:
    """What keeps an autoscaler from following each recommendation at once: limits, and the memory of past ones.

    Args:
        minimum: and `maximum`: of replicas.
        down_window: seconds over which the highest recommendation counts before there are fewer.
    """

    minimum: int
    maximum: int
    down_window: float
    _recommended: deque[tuple[float, int]] = field(default_factory=deque)
    _changes: deque[tuple[float, int]] = field(default_factory=deque)

    def decide(self, now: float, current: int, recommended: int) -> int:
        """Replicas to want from now on; to be asked once at each look, in order of time."""
        while self._recommended and self._recommended[0][0] <= now - self.down_window:
            self._recommended.popleft()
        while self._changes and self._changes[0][0] <= now - PERIOD:
            self._changes.popleft()
        highest = max([recommended, *(count for _, count in self._recommended)])
        self._recommended.append((now, recommended))
        wanted = recommended if recommended > current else min(current, highest)
        at_start = current - sum(change for _, change in self._changes)
        most = max(at_start + PODS_PER_PERIOD, math.ceil(at_start * (1.0 + GROWTH_PER_PERIOD)), current)
        wanted = max(min(wanted, most, self.maximum), self.minimum)
        if wanted != current:
            self._changes.append((now, wanted - current))
        return wanted
