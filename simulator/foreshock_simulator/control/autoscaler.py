"""Autoscaler with the algorithm of the Kubernetes HorizontalPodAutoscaler, autoscaling/v2, and its default behavior.

Kubernetes documentation, "Horizontal Pod Autoscaling": algorithm details, configurable scaling behavior.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from math import nan
from typing import Protocol

from foreshock_simulator.core.engine import Engine, Process
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.services import AutoscalerSpec

TOLERANCE_RATIO = 0.1
"""Of --horizontal-pod-autoscaler-tolerance."""
PERIOD_SECONDS = 15.0
"""Period of the default policies."""
PODS_PER_PERIOD = 4
GROWTH_RATIO_PER_PERIOD = 1.0
"""Default scale-up policies: the larger of 4 pods and 100% per period. Scale-down allows 100%, so it has no limit."""


def recommend(current: int, ready: int, metric: float, target: float) -> int:
    """Replicas that bring the metric to its target: ⌈ready · metric / target⌉, or `current` within the tolerance.

    Replicas that are not ready are ignored for scale-down and count as idle for scale-up. When that reverses the
    direction or brings the ratio within the tolerance, `current` stays. It also stays without a metric (NaN).

    `current` counts desired replicas, `ready` the ready ones among them. `metric` is the mean over the latter.
    """
    if ready <= 0 or math.isnan(metric):
        return current
    ratio, counted = metric / target, ready
    if ratio > 1.0 and current > ready:
        counted = current
        ratio *= ready / current
        if ratio < 1.0:
            return current
    if abs(ratio - 1.0) <= TOLERANCE_RATIO + 1e-12:
        return current
    # 1e-9: the controller computes in integer milli-units, where 3 · 0.2 / 0.6 is 1
    return math.ceil(ratio * counted - 1e-9)


@dataclass(slots=True)
class Behavior:
    """Limits and stabilization of the recommendations.

    Replicas stay from `minimum` to `maximum`. Scale-down follows the highest recommendation of `down_window` seconds.
    """

    minimum: int
    maximum: int
    down_window: float
    _recommendations: deque[tuple[float, int]] = field(default_factory=deque)
    _changes: deque[tuple[float, int]] = field(default_factory=deque)

    def decide(self, now: float, current: int, recommended: int) -> int:
        """The desired replicas; call it once per evaluation, in order of time."""
        while self._recommendations and self._recommendations[0][0] <= now - self.down_window:
            self._recommendations.popleft()
        while self._changes and self._changes[0][0] <= now - PERIOD_SECONDS:
            self._changes.popleft()
        highest = max([recommended, *(count for _, count in self._recommendations)])
        self._recommendations.append((now, recommended))
        desired = recommended if recommended > current else min(current, highest)
        at_period_start = current - sum(change for _, change in self._changes)
        limit = max(
            at_period_start + PODS_PER_PERIOD, math.ceil(at_period_start * (1.0 + GROWTH_RATIO_PER_PERIOD)), current
        )
        desired = max(min(desired, limit, self.maximum), self.minimum)
        if desired != current:
            self._changes.append((now, desired - current))
        return desired


class Scalable(Protocol):
    """The target of an autoscaler: its desired replicas are ready or not yet ready."""

    @property
    def ready(self) -> int:
        """Replicas that receive requests."""

    @property
    def desired(self) -> int:
        """Desired replicas."""

    def metric(self, name: str) -> float:
        """Mean over the ready replicas of a metric of `AutoscalerSpec`; NaN without a value."""

    def scale_to(self, count: int) -> None:
        """Set the desired replicas."""


class Autoscaler:
    """A HorizontalPodAutoscaler. It first evaluates `spec.sync` seconds after its creation.

    Raises:
        ValueError: the target is not positive, or minimum and maximum contradict each other.
    """

    def __init__(self, engine: Engine, name: ServiceName, spec: AutoscalerSpec, target: Scalable) -> None:
        if spec.target <= 0.0 or not 1 <= spec.minimum <= spec.maximum or spec.sync <= 0.0:
            raise ValueError(
                f"autoscaler of {name}: target {spec.target} and sync {spec.sync} must be positive, and "
                f"1 ≤ minimum {spec.minimum} ≤ maximum {spec.maximum}"
            )
        self.name, self.spec, self.target = name, spec, target
        self.value = nan
        """The metric at the last evaluation; NaN before the first and without a value."""
        self._engine = engine
        self._behavior = Behavior(spec.minimum, spec.maximum, spec.down_window)
        engine.spawn(self._run())

    def _run(self) -> Process:
        target, spec = self.target, self.spec
        while True:
            yield spec.sync
            current = target.desired
            self.value = target.metric(spec.metric)
            recommended = recommend(current, target.ready, self.value, spec.target)
            desired = self._behavior.decide(self._engine.now, current, recommended)
            if desired != current:
                target.scale_to(desired)
