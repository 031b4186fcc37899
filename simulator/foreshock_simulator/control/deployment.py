"""The replicas of a service as pods: scheduling, cold start, serving, draining and failure."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from foreshock_simulator.control.capacity import Capacity
from foreshock_simulator.control.delays import cold_start_seconds
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
    """Keeps the desired number of pods of a service.

    A new pod claims its GPUs, then loads its model (`median_cold_start` seconds), then serves. Scale-down removes pods
    in the order of a ReplicaSet: failed or pending pods, then loading ones, then the newest.

    Args:
        engine: its clock.
        name: of the service.
        capacity: pools of GPUs.
        rng: of the cold starts.
        pool: of the GPUs.
        gpus: of `pool` per replica; 0 for a service on CPUs.
        median_cold_start: in seconds.
        start: starts a serving replica at these places.
        stop: stops a replica, with True after its requests; the signal fires when its resources are free.
        measure: mean of a metric over the serving replicas.
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
        self._created = 0

    @property
    def desired(self) -> int:
        """Desired replicas."""
        return self._desired

    @property
    def ready(self) -> int:
        """Serving replicas."""
        return sum(pod.replica is not None for pod in self._pods)

    @property
    def pending(self) -> int:
        """Replicas without a node."""
        return sum(pod.claim is not None for pod in self._pods)

    @property
    def replicas(self) -> tuple[R, ...]:
        """Serving replicas, oldest first."""
        return tuple(pod.replica for pod in self._pods if pod.replica is not None)

    def metric(self, name: str) -> float:
        """See `Scalable`."""
        return self._measure(name)

    def begin(self, count: int) -> None:
        """Start with `count` serving replicas. Call it first.

        Raises:
            ValueError: the pool has not enough room.
        """
        for _ in range(count):
            places = self._capacity.allocate(self._pool, self._gpus) if self._gpus else ()
            pod = self._create_pod()
            pod.places = places
            self._serve(pod)
        self._desired = count

    def scale_to(self, count: int) -> None:
        """Set the desired replicas."""
        self._desired = count
        for _ in range(count - len(self._pods)):
            pod = self._create_pod()
            if self._gpus:
                pod.claim = self._capacity.claim(self._pool, self._gpus)
            self._engine.spawn(self._start_pod(pod))
        surplus = len(self._pods) - count
        if surplus > 0:
            newest_first = self._pods[::-1]
            for pod in sorted(newest_first, key=_removal_order)[:surplus]:
                self._remove(pod)

    def fail(self, count: int) -> tuple[tuple[Place, ...], ...]:
        """Kill the oldest serving replicas. They keep their places and return with `recover` only.

        Returns:
            Places of the failed replicas.
        """
        failing = [pod for pod in self._pods if pod.replica is not None][:count]
        for pod in failing:
            if pod.replica is not None:
                self._stop(pod.replica, False)
            pod.replica, pod.phase = None, "Failed"
        return tuple(pod.places for pod in failing)

    def recover(self) -> None:
        """Restart the failed replicas at their old places, with a cold start."""
        for pod in self._pods:
            if pod.phase == "Failed":
                pod.phase = "Pending"
                self._engine.spawn(self._load(pod))

    def replace(self, replica: R) -> Process:
        """Drain a replica and start another in its place, with a cold start; to be used with `yield from`."""
        pod = next(pod for pod in self._pods if pod.replica is replica)
        pod.replica = None
        yield self._stop(replica, True)
        if not pod.ended:
            yield from self._load(pod)

    def state(self) -> DeploymentState:
        """State for kube-state-metrics."""
        pods = tuple(
            PodState(pod.name, pod.phase, pod.replica is not None, pod.claim is None, pod.created) for pod in self._pods
        )
        return DeploymentState(self._name, self._desired, pods)

    def _create_pod(self) -> _Pod[R]:
        pod: _Pod[R] = _Pod(f"{self._name.name}-{self._created}", self._engine.now)
        self._created += 1
        self._pods.append(pod)
        return pod

    def _start_pod(self, pod: _Pod[R]) -> Process:
        if pod.claim is not None:
            places: tuple[Place, ...] = yield pod.claim
            if pod.ended:  # in the instant of the grant
                self._capacity.release(self._pool, places)
                return
            pod.places, pod.claim = places, None
        yield from self._load(pod)

    def _load(self, pod: _Pod[R]) -> Process:
        pod.phase = "Running"
        pod.starts += 1
        start_number = pod.starts
        yield cold_start_seconds(self._rng, self._cold_start)
        if not pod.ended and pod.starts == start_number:
            self._serve(pod)

    def _serve(self, pod: _Pod[R]) -> None:
        pod.phase = "Running"
        pod.replica = self._start(pod.places)

    def _remove(self, pod: _Pod[R]) -> None:
        pod.ended = True
        self._pods.remove(pod)
        if pod.claim is not None:
            self._capacity.withdraw(self._pool, pod.claim)
        elif pod.replica is not None:
            self._engine.spawn(self._drain(pod, pod.replica))
        elif pod.places:
            self._capacity.release(self._pool, pod.places)

    def _drain(self, pod: _Pod[R], replica: R) -> Process:
        """Release the places after the replica has finished its requests."""
        pod.replica = None
        yield self._stop(replica, True)
        if pod.places:
            self._capacity.release(self._pool, pod.places)


def _removal_order(pod: _Pod[R]) -> tuple[bool, bool, bool]:
    return pod.phase != "Failed", pod.claim is None, pod.replica is not None
