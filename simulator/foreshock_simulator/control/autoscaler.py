"""Autoscaler process: reads a metric periodically and changes the desired replicas."""

from __future__ import annotations

from math import nan
from typing import Protocol

from foreshock_simulator.control.hpa import Behavior, recommend
from foreshock_simulator.control.states import AutoscalerState
from foreshock_simulator.core.engine import Engine, Process
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.services import AutoscalerSpec


class Scalable(Protocol):
    """The target of an autoscaler: its desired replicas are ready or not yet ready."""

    @property
    def ready(self) -> int:
        """Replicas that receive requests."""

    @property
    def desired(self) -> int:
        """Desired replicas."""

    @property
    def pending(self) -> int:
        """Replicas without a node."""

    def metric(self, name: str) -> float:
        """Mean over the ready replicas of a metric of `AutoscalerSpec`; NaN without a value."""

    def scale_to(self, count: int) -> None:
        """Set the desired replicas."""


class Autoscaler:
    """A HorizontalPodAutoscaler. It first evaluates `spec.sync` seconds after its creation.

    Raises:
        ValueError: the target is not positive, or minimum and maximum contradict each other.
    """

    __slots__ = ("_behavior", "_engine", "_metric", "_name", "_spec", "_target")

    def __init__(self, engine: Engine, name: ServiceName, spec: AutoscalerSpec, target: Scalable) -> None:
        if spec.target <= 0.0 or not 1 <= spec.minimum <= spec.maximum or spec.sync <= 0.0:
            raise ValueError(
                f"autoscaler of {name}: target {spec.target} and sync {spec.sync} must be positive, and "
                f"1 ≤ minimum {spec.minimum} ≤ maximum {spec.maximum}"
            )
        self._engine = engine
        self._name = name
        self._spec = spec
        self._target = target
        self._behavior = Behavior(spec.minimum, spec.maximum, spec.down_window)
        self._metric = nan
        engine.spawn(self._run())

    def state(self) -> AutoscalerState:
        """State for kube-state-metrics."""
        spec, target = self._spec, self._target
        return AutoscalerState(
            self._name, spec.minimum, spec.maximum, target.desired, target.desired, spec.metric, spec.target,
            self._metric,
        )  # fmt: skip

    def _run(self) -> Process:
        while True:
            yield self._spec.sync
            self._evaluate()

    def _evaluate(self) -> None:
        target, spec = self._target, self._spec
        current = target.desired
        self._metric = target.metric(spec.metric)
        recommended = recommend(current, target.ready, self._metric, spec.target)
        desired = self._behavior.decide(self._engine.now, current, recommended)
        if desired != current:
            target.scale_to(desired)
