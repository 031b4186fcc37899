"""The replicas of a service as pods: what an autoscaler scales, and what ends, waits, loads its model and serves."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from foreshock_simulator.control.capacity import Capacity
from foreshock_simulator.control.delays import cold_start
from foreshock_simulator.control.states import DeploymentState, Phase, PodState
from foreshock_simulator.core.engine import Engine, Process, Signal
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.hosts import Place

R = TypeVar("R")


@dataclass(slots=True, eq=False)
class _Pod(Generic[R]):
    name: str
    created: float
    phase: Phase = "Pending"
    places: tuple[Place, ...] = ()
    claim: Signal | None = None
    replica: R | None = None
    ended: bool = False
    starts: int = 0


class Deployment(Generic[R]):
    """Keeps as many pods of a service as are wanted.

    A new pod claims its GPUs, then loads (`cold_start`, median seconds), then serves. What goes first when there are to
    be fewer is what a ReplicaSet takes first: pods that failed or wait, then those that load, then the newest.

    Args:
        gpus: of `pool` that a replica needs; 0 for a service on CPUs.
        start: makes a replica that serves at these places.
        stop: ends it (`True`: let it finish what it has); fires when what it held is free.
        measure: the mean of a metric over the replicas that serve.
    """

    def __init__(
        self,
        engine: Engine,
        name: ServiceName,
        capacity: Capacity,
        rng: random.Random,
        *,
        pool: str = "",
        gpus: int = 0,
        median_cold_start: float = 25.0,
        start: Callable[[tuple[Place, ...]], R],
        stop: Callable[[R, bool], Signal],
        measure: Callable[[str], float],
    ) -> None:
        self._engine, self._name, self._capacity, self._rng = engine, name, capacity, rng
        self._pool, self._gpus, self._cold_start = pool, gpus, median_cold_start
        self._start, self._stop, self._measure = start, stop, measure
        self._pods: list[_Pod[R]] = []
        self._desired = 0
        self._made = 0

    @property
    def desired(self) -> int:
        """Replicas that are wanted."""
        return self._desired

    @property
    def ready(self) -> int:
        """Replicas that serve."""
        return sum(pod.replica is not None for pod in self._pods)

    @property
    def pending(self) -> int:
        """Replicas that have no place yet."""
        return sum(pod.claim is not None for pod in self._pods)

    @property
    def replicas(self) -> tuple[R, ...]:
        """Those that serve, oldest first."""
        return tuple(pod.replica for pod in self._pods if pod.replica is not None)

    def metric(self, name: str) -> float:
        """See `Scalable`."""
        return self._measure(name)

    def begin(self, count: int) -> None:
        """Have so many replicas that serve already; before anything else.

        Raises:
            ValueError: the pool has no room for them.
        """
        for _ in range(count):
            places = self._capacity.take(self._pool, self._gpus) if self._gpus else ()
            pod = self._pod()
            pod.places = places
            self._serve(pod)
        self._desired = count

    def scale_to(self, count: int) -> None:
        """Want so many replicas from now on."""
        self._desired = count
        for _ in range(count - len(self._pods)):
            pod = self._pod()
            if self._gpus:
                pod.claim = self._capacity.claim(self._pool, self._gpus)
            self._engine.spawn(self._come_up(pod))
        surplus = len(self._pods) - count
        if surplus > 0:
            newest_first = self._pods[::-1]
            for pod in sorted(newest_first, key=_goes_first)[:surplus]:
                self._end(pod)

    def fail(self, count: int) -> tuple[tuple[Place, ...], ...]:
        """End the oldest replicas that serve, at once; they keep their places, and come back by `recover` only.

        Returns:
            Where they ran.
        """
        failing = [pod for pod in self._pods if pod.replica is not None][:count]
        for pod in failing:
            if pod.replica is not None:
                self._stop(pod.replica, False)
            pod.replica, pod.phase = None, "Failed"
        return tuple(pod.places for pod in failing)

    def recover(self) -> None:
        """Start what has failed, at its old places, cold."""
        for pod in self._pods:
            if pod.phase == "Failed":
                pod.phase = "Pending"
                self._engine.spawn(self._load(pod))

    def replace(self, replica: R) -> Process:
        """Drain a replica and start another in its place, cold; to be yielded from until that serves."""
        pod = next(pod for pod in self._pods if pod.replica is replica)
        pod.replica = None
        yield self._stop(replica, True)
        if not pod.ended:
            yield from self._load(pod)

    def state(self) -> DeploymentState:
        """As kube-state-metrics sees it."""
        pods = tuple(
            PodState(pod.name, pod.phase, pod.replica is not None, pod.claim is None, pod.created) for pod in self._pods
        )
        return DeploymentState(self._name, self._desired, pods)

    def _pod(self) -> _Pod[R]:
        pod: _Pod[R] = _Pod(f"{self._name.name}-{self._made}", self._engine.now)
        self._made += 1
        self._pods.append(pod)
        return pod

    def _come_up(self, pod: _Pod[R]) -> Process:
        if pod.claim is not None:
            places: tuple[Place, ...] = yield pod.claim
            if pod.ended:  # at the very instant at which they were granted
                self._capacity.release(self._pool, places)
                return
            pod.places, pod.claim = places, None
        yield from self._load(pod)

    def _load(self, pod: _Pod[R]) -> Process:
        pod.phase = "Running"
        pod.starts += 1
        this = pod.starts
        yield cold_start(self._rng, self._cold_start)
        if not pod.ended and pod.starts == this:
            self._serve(pod)

    def _serve(self, pod: _Pod[R]) -> None:
        pod.phase = "Running"
        pod.replica = self._start(pod.places)

    def _end(self, pod: _Pod[R]) -> None:
        pod.ended = True
        self._pods.remove(pod)
        if pod.claim is not None:
            self._capacity.withdraw(self._pool, pod.claim)
        elif pod.replica is not None:
            self._engine.spawn(self._drain(pod, pod.replica))
        elif pod.places:
            self._capacity.release(self._pool, pod.places)

    def _drain(self, pod: _Pod[R], replica: R) -> Process:
        """Its places are free only when it has finished what it had."""
        pod.replica = None
        yield self._stop(replica, True)
        if pod.places:
            self._capacity.release(self._pool, pod.places)


def _goes_first(pod: _Pod[R]) -> tuple[bool, bool, bool]:
    return pod.phase != "Failed", pod.claim is None, pod.replica is not None
