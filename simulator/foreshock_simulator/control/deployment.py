"""The replicas of a service as pods: scheduling, cold start, serving, draining and failure."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from foreshock_simulator.control.capacity import Capacity
from foreshock_simulator.core.engine import Engine, Process, Signal
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.platform import Place

R = TypeVar("R")
Phase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]
COLD_START_SHAPE = 2.185
"""Weibull shape of the time to load a model on a warm host: least squares, in logarithms, to p90 and p99 relative to
p50 of a production image-generation service in 2026 (22.7, 42.0, 51.8 s). The fit gives 39.3 and 54.0 s. A log-normal
fitted to p90 has too heavy a tail, with 70 s at p99."""


def cold_start_seconds(rng: random.Random, median: float) -> float:
    """Time from a replica's start on a node to its first request: Weibull about the median."""
    return rng.weibullvariate(median / math.log(2.0) ** (1.0 / COLD_START_SHAPE), COLD_START_SHAPE)


@dataclass(slots=True, eq=False)
class Pod(Generic[R]):
    """A pod. `created` is in seconds since the start; without a `claim`, it has a node or needs no GPU.

    version: that of its container; "" before it has a node.
    """

    name: str
    created: float
    version: str = ""
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
        rng: of the cold starts.
        gpus: of `pool` per replica; 0 for a service on CPUs.
        start: starts a serving replica at these places.
        stop: stops a replica, with True after its requests; the signal fires when its resources are free.
        measure: mean of a metric over the serving replicas.
        version: the version that a starting replica runs.
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
        version: Callable[[], str] = str,
    ) -> None:
        self._engine, self.name, self._capacity, self._rng = engine, name, capacity, rng
        self._pool, self._gpus, self._cold_start = pool, gpus, median_cold_start
        self._start, self._stop, self.metric, self._version = start, stop, measure, version
        self.pods: list[Pod[R]] = []
        """Oldest first."""
        self.desired = self._created = 0
        self.generation = 1
        """Number of the specification, which each change of it raises: of the replicas, or of the pods' template."""

    @property
    def ready(self) -> int:
        """Serving replicas."""
        return sum(pod.replica is not None for pod in self.pods)

    @property
    def replicas(self) -> tuple[R, ...]:
        """Serving replicas, oldest first."""
        return tuple(pod.replica for pod in self.pods if pod.replica is not None)

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
        self.desired = count

    def scale_to(self, count: int) -> None:
        """Set the desired replicas."""
        self.generation += count != self.desired
        self.desired = count
        for _ in range(count - len(self.pods)):
            pod = self._create_pod()
            if self._gpus:
                pod.claim = self._capacity.claim(self._pool, self._gpus)
            self._engine.spawn(self._start_pod(pod))
        surplus = len(self.pods) - count
        if surplus > 0:
            newest_first = self.pods[::-1]
            for pod in sorted(newest_first, key=_removal_order)[:surplus]:
                self._remove(pod)

    def fail(self, count: int) -> tuple[tuple[Place, ...], ...]:
        """Kill the oldest serving replicas. They keep their places and return with `recover` only.

        Returns:
            Places of the failed replicas.
        """
        failing = [pod for pod in self.pods if pod.replica is not None][:count]
        for pod in failing:
            if pod.replica is not None:
                self._stop(pod.replica, False)
            pod.replica, pod.phase = None, "Failed"
        return tuple(pod.places for pod in failing)

    def recover(self) -> None:
        """Restart the failed replicas at their old places, with a cold start."""
        for pod in self.pods:
            if pod.phase == "Failed":
                pod.phase = "Pending"
                self._engine.spawn(self._load(pod))

    def crash(self, replica: R) -> None:
        """Kill a serving replica, which restarts in its place with a cold start; nothing if it has ended."""
        for pod in self.pods:
            if pod.replica is replica:
                self._stop(replica, False)
                pod.replica, pod.phase = None, "Failed"
                self.recover()

    def replace(self, replica: R) -> Process:
        """Drain a replica and start another in its place, with a cold start; to be used with `yield from`."""
        pod = next(pod for pod in self.pods if pod.replica is replica)
        pod.replica = None
        yield self._stop(replica, True)
        if not pod.ended:
            pod.name, pod.created = self._new_name(), self._engine.now
            yield from self._load(pod)

    def _create_pod(self) -> Pod[R]:
        pod: Pod[R] = Pod(self._new_name(), self._engine.now)
        self.pods.append(pod)
        return pod

    def _new_name(self) -> str:
        self._created += 1
        return f"{self.name.name}-{self._created - 1}"

    def _start_pod(self, pod: Pod[R]) -> Process:
        if pod.claim is not None:
            places: tuple[Place, ...] = yield pod.claim
            if pod.ended:  # in the instant of the grant
                self._capacity.release(self._pool, places)
                return
            pod.places, pod.claim = places, None
        yield from self._load(pod)

    def _load(self, pod: Pod[R]) -> Process:
        pod.phase, pod.version = "Running", self._version()
        pod.starts += 1
        start_number = pod.starts
        yield cold_start_seconds(self._rng, self._cold_start)
        if not pod.ended and pod.starts == start_number:
            self._serve(pod)

    def _serve(self, pod: Pod[R]) -> None:
        pod.phase, pod.version = "Running", self._version()
        pod.replica = self._start(pod.places)

    def _remove(self, pod: Pod[R]) -> None:
        pod.ended = True
        self.pods.remove(pod)
        if pod.claim is not None:
            self._capacity.withdraw(self._pool, pod.claim)
        elif pod.replica is not None:
            self._engine.spawn(self._drain(pod, pod.replica))
        elif pod.places:
            self._capacity.release(self._pool, pod.places)

    def _drain(self, pod: Pod[R], replica: R) -> Process:
        """Release the places after the replica has finished its requests."""
        pod.replica = None
        yield self._stop(replica, True)
        if pod.places:
            self._capacity.release(self._pool, pod.places)


def _removal_order(pod: Pod[R]) -> tuple[bool, bool, bool]:
    return pod.phase != "Failed", pod.claim is None, pod.replica is not None
