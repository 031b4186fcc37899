"""An autoscaler at work: it looks at its target every now and then, and changes how many replicas are wanted."""

from __future__ import annotations

from math import nan
from typing import Protocol

from foreshock_simulator.control.hpa import Behaviour, recommend
from foreshock_simulator.control.states import AutoscalerState
from foreshock_simulator.core.engine import Engine, Process
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.services import AutoscalerSpec


class Scalable(Protocol):
    """What an autoscaler scales: replicas that are wanted (`desired`), of which some are ready, others not yet."""

    @property
    def ready(self) -> int:
        """Replicas that take requests."""

    @property
    def desired(self) -> int:
        """Replicas that are wanted."""

    @property
    def pending(self) -> int:
        """Replicas that wait for a place to run."""

    def metric(self, name: str) -> float:
        """The mean over the ready replicas of what an `AutoscalerSpec` names; NaN where there is none."""

    def scale_to(self, count: int) -> None:
        """Want so many replicas from now on."""


class Autoscaler:
    """Looks for the first time `spec.sync` seconds after it is made.

    Raises:
        ValueError: the target is not positive, or minimum and maximum contradict each other.
    """

    __slots__ = ("_behaviour", "_engine", "_metric", "_name", "_spec", "_target")

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
        self._behaviour = Behaviour(spec.minimum, spec.maximum, spec.down_window)
        self._metric = nan
        engine.spawn(self._work())

    def state(self) -> AutoscalerState:
        """As kube-state-metrics sees it."""
        spec, target = self._spec, self._target
        return AutoscalerState(
            self._name, spec.minimum, spec.maximum, target.desired, target.desired, spec.metric, spec.target,
            self._metric,
        )  # fmt: skip

    def _work(self) -> Process:
        while True:
            yield self._spec.sync
            self._look()

    def _look(self) -> None:
        target, spec = self._target, self._spec
        current = target.desired
        self._metric = target.metric(spec.metric)
        recommended = recommend(current, target.ready, self._metric, spec.target)
        wanted = self._behaviour.decide(self._engine.now, current, recommended)
        if wanted != current:
            target.scale_to(wanted)
