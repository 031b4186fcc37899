"""A service: its replicas, their load balancing and health probes, and the changes that faults make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final, Protocol, TypeVar

from foreshock_simulator.calls.client import CallSite
from foreshock_simulator.calls.mesh_state import MeshState
from foreshock_simulator.calls.replica import Replica
from foreshock_simulator.calls.request import Host, Model, Operation, Request, Worker
from foreshock_simulator.calls.steps import CpuWork, ServiceState
from foreshock_simulator.core.engine import Process, Signal
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.spec.services import Balancing, HealthCheck, ServiceSpec
from foreshock_simulator.tracing.spans import OK

_PROBE: Final = Operation("", 0, 0, text=False, plan=(CpuWork(0.001, 0.3),))
"""Health probe. It has no span, as instrumentation leaves out health checks."""


class Loaded(Protocol):
    """A target of load balancing."""

    load: int
    """Requests accepted and not yet answered."""


R = TypeVar("R", bound=Loaded)
Balancer = Callable[[Sequence[R]], R]
"""Chooses from a sequence that is not empty."""


class _Rotation:
    def __init__(self) -> None:
        self._next = 0

    def round_robin(self, replicas: Sequence[R]) -> R:
        self._next += 1
        return replicas[self._next % len(replicas)]

    def least_load(self, replicas: Sequence[R]) -> R:
        """The least loaded replica; among equals, the first after the previous choice."""
        count = len(replicas)
        chosen = self._next % count
        best = replicas[chosen]
        least = best.load
        if least:
            for index in range(chosen + 1 - count, chosen):
                other = replicas[index]
                if other.load < least:
                    best, least, chosen = other, other.load, index
                    if not least:
                        break
        self._next = chosen + 1
        return best


def balancer(policy: Balancing, rng: Random) -> Balancer[R]:
    """A balancer with its own state. Two-choices: the less loaded of two random ones (Mitzenmacher, IEEE TPDS 2001)."""
    if policy == "least-load":
        return _Rotation().least_load
    if policy == "round-robin":
        return _Rotation().round_robin

    def random_choice(replicas: Sequence[R]) -> R:
        return replicas[int(rng.random() * len(replicas))]

    def two_choices(replicas: Sequence[R]) -> R:
        first, second = random_choice(replicas), random_choice(replicas)
        return second if second.load < first.load else first

    return random_choice if policy == "random" else two_choices


class Service(ServiceState):
    """A service with its replicas. `Mesh.deploy` creates it without replicas."""

    def __init__(self, mesh: MeshState, spec: ServiceSpec) -> None:
        super().__init__(mesh.seed, mesh.counts, spec)
        self.replicas: list[Replica] = []
        self.operations: dict[str, Operation] = {}
        self.call_sites: list[CallSite] = []
        self._mesh = mesh
        self._balance: Balancer[Replica] = balancer(spec.balancing, random_stream(mesh.seed, f"balancing/{spec.name}"))
        self._ready: list[Replica] = []

    @property
    def ready(self) -> int:
        """Replicas that receive requests."""
        return len(self._ready)

    @property
    def in_flight(self) -> int:
        """Requests in the replicas, queued or running."""
        return self.population.value

    @property
    def cpu_seconds(self) -> float:
        """CPU time of all threads so far."""
        return self.busy_threads.integral(self._mesh.engine.now)

    def slow_down(self, factor: float) -> None:
        """Set the factor on the duration of its work on CPU and GPU; 1 is normal."""
        self.slowdown = factor
        for replica in self.replicas:
            if replica.worker is not None:
                replica.worker.slowdown = factor * replica.release.slower

    def add(self, host: Host, server: Model[Any] | None = None, worker: Worker | None = None) -> Replica:
        """Start a replica that receives requests from now on.

        The owner of server and worker takes them back when `Replica.terminated` fires.
        """
        replica = Replica(self._mesh, self, host, server, worker, self._remove)
        slowdown = self.slowdown * self.release.slower
        if worker is not None and slowdown != 1.0:
            worker.slowdown = slowdown
        self.replicas.append(replica)
        self._update_ready()
        if self.spec.health is not None:
            self._mesh.engine.spawn(self._probe(replica, self.spec.health))
        return replica

    def retire(self, replica: Replica, drain: bool = True) -> Signal:
        """Remove a replica: after its requests and those on the network towards it, or at once without `drain`.

        Returns:
            Fires when the replica has ended.
        """
        replica.draining = True
        self._update_ready()
        if drain:
            replica.end_if_drained()
        else:
            replica.kill()
        return replica.terminated

    def pick(self) -> Replica | None:
        """The replica for the next request; None when no replica is ready."""
        ready = self._ready
        return self._balance(ready) if ready else None

    def override(self, callee: str, timeout: float | None = None, attempts: int | None = None) -> None:
        """Change the policy of its calls to a callee from now on.

        Raises:
            ValueError: it has no calls to that service.
        """
        sites = [site for site in self.call_sites if site.target.name.name == callee]
        if not sites:
            callees = ", ".join(dict.fromkeys(site.target.name.name for site in self.call_sites)) or "none"
            raise ValueError(f"{self.name.name} does not call {callee!r}; it calls {callees}")
        for site in sites:
            site.policy = replace(
                site.policy,
                timeout=site.policy.timeout if timeout is None else timeout,
                attempts=site.policy.attempts if attempts is None else attempts,
            )

    def _update_ready(self) -> None:
        self._ready = [replica for replica in self.replicas if replica.healthy and not replica.draining]

    def _remove(self, replica: Replica) -> None:
        self.replicas.remove(replica)
        self._update_ready()

    def _probe(self, replica: Replica, check: HealthCheck) -> Process:
        """Probe a replica from its own host until it ends, and mark it as healthy or not.

        A probe waits for a thread like any request, so an overloaded replica can fail it.
        """
        mesh = self._mesh
        engine, failures = mesh.engine, 0
        next_probe = engine.now + mesh.probe_phases.random() * check.period
        while True:
            yield max(0.0, next_probe - engine.now)
            if replica.ended:
                return
            replica.inbound += 1
            probe = Request(engine, _PROBE, 0, 0, 0, 0, "", None)
            replica.accept(probe)
            mesh.deadlines.set(check.timeout, probe)
            failures = 0 if (yield probe) == OK else failures + 1
            mesh.deadlines.lift(check.timeout, probe)
            healthy = failures < check.failures
            if healthy != replica.healthy:
                replica.healthy = healthy
                self._update_ready()
            next_probe += check.period
