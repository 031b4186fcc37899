"""Test doubles with closed forms for hosts, network and model servers, and short ways to build services."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from foreshock_simulator.calls.mesh import Mesh
from foreshock_simulator.calls.replica import Replica
from foreshock_simulator.calls.service import Service
from foreshock_simulator.core.engine import Engine, Process, Signal
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.platform import FlowSpec
from foreshock_simulator.spec.services import (
    BatchModelSpec,
    Call,
    CallPolicy,
    HealthCheck,
    OperationSpec,
    Serve,
    ServiceSpec,
    Step,
)
from foreshock_simulator.tracing.spans import SimSpan

ROUTE = "POST /work"
EPOCH_NS = 1_800_000_000 * 10**9


class ConstantNetwork:
    """A network with a constant delay that records its messages."""

    def __init__(self, seconds: float = 0.0003) -> None:
        self.seconds = seconds
        self.sent: list[tuple[str, str, int]] = []

    def message(self, source: str, target: str, size: int) -> float:
        self.sent.append((source, target, size))
        return self.seconds


class StandHost:
    """A host that assigns pids."""

    def __init__(self, name: str) -> None:
        self.name, self.host_id = name, name * 2
        self.pids: dict[int, ServiceName] = {}
        self._next = 100

    def start(self, service: ServiceName) -> int:
        self._next += 1
        self.pids[self._next] = service
        return self._next

    def stop(self, pid: int) -> None:
        del self.pids[pid]


class DrawnJob:
    """A job with its duration alone."""

    def __init__(self, engine: Engine, seconds: float) -> None:
        self.done = Signal(engine)
        self.seconds = self.left = seconds
        self.queued_seconds: float | None = 0.0
        self.first_token_seconds: float | None = seconds


class InfiniteServers:
    """A model server without waits: a job takes the drawn time (·/G/∞)."""

    def __init__(self, engine: Engine, draw: Callable[[], float]) -> None:
        self._engine, self._draw = engine, draw
        self.cancelled = 0

    def submit(self, prompt_tokens: int, generated_tokens: int, variant: str = "") -> DrawnJob:
        del prompt_tokens, generated_tokens, variant
        job = DrawnJob(self._engine, self._draw())
        self._engine.schedule(self._engine.now + job.seconds, job.done.fire, True)
        return job

    def cancel(self, job: DrawnJob) -> None:
        self.cancelled += not job.done.fired
        job.done.fire(False)


class SharedServer:
    """A model server whose jobs share one processor equally: exact egalitarian processor sharing."""

    def __init__(self, engine: Engine, draw: Callable[[], float]) -> None:
        self._engine, self._draw = engine, draw
        self.jobs: list[DrawnJob] = []
        self._since = 0.0
        self._turn = 0

    def submit(self, prompt_tokens: int, generated_tokens: int, variant: str = "") -> DrawnJob:
        del prompt_tokens, generated_tokens, variant
        self._settle()
        job = DrawnJob(self._engine, self._draw())
        self.jobs.append(job)
        self._plan()
        return job

    def cancel(self, job: DrawnJob) -> None:
        if job in self.jobs:
            self._settle()
            self.jobs.remove(job)
            self._plan()

    def _settle(self) -> None:
        now = self._engine.now
        for job in self.jobs:
            job.left -= (now - self._since) / len(self.jobs)
        self._since = now

    def _plan(self) -> None:
        self._turn += 1
        if self.jobs:
            next_end = self._engine.now + min(job.left for job in self.jobs) * len(self.jobs)
            self._engine.schedule(next_end, self._end, self._turn)

    def _end(self, turn: int) -> None:
        if turn != self._turn:
            return
        self._settle()
        over = min(self.jobs, key=lambda job: job.left)
        self.jobs.remove(over)
        over.done.fire(True)
        self._plan()


MODEL = BatchModelSpec("stand-in", seconds=0.0)


@dataclass(frozen=True)
class Ended:
    """A request that a service has completed."""

    time: float
    service: str
    seconds: float
    ok: bool


class Stand:
    """A mesh on test doubles. `ended` records the calls of the services' observers."""

    def __init__(self, specs: Sequence[ServiceSpec], *, seed: int = 1, delay: float = 0.0003, **how: float) -> None:
        self.engine = Engine()
        self.network = ConstantNetwork(delay)
        self.mesh = Mesh(
            self.engine, seed, EPOCH_NS, self.network, sample=how.get("sample", 1.0), count=bool(how.get("count"))
        )
        self.mesh.deploy(specs)
        self.hosts = {name: StandHost(name) for name in ("host-1", "host-2")}
        self.ended: list[Ended] = []
        self.rng = Random(seed)

    def start(self, name: str, replicas: int = 1, draw: Callable[[], float] | None = None) -> list[Replica]:
        """Add replicas to a service; with `draw`, each has infinite servers."""
        service = self[name]
        service.observe = lambda time, seconds, ok: self.ended.append(Ended(time, name, seconds, ok))
        hosts = list(self.hosts.values())
        return [
            service.add(hosts[index % len(hosts)], InfiniteServers(self.engine, draw) if draw else None)
            for index in range(replicas)
        ]

    def start_all(self, replicas: int = 1) -> None:
        """Add replicas to every service."""
        for name in self.mesh.services:
            self.start(name, replicas)

    def __getitem__(self, name: str) -> Service:
        return self.mesh.services[name]

    def poisson(self, flow: FlowSpec, until: float, tokens: tuple[int, int] = (100, 10)) -> None:
        """Start Poisson arrivals of users at the flow's rate."""

        def arrive() -> Process:
            while True:
                yield self.rng.expovariate(flow.rate)
                if self.engine.now > until:
                    return
                self.mesh.enter(flow, *tokens)

        self.engine.spawn(arrive())

    def run(self, until: float) -> None:
        """Run to a time in seconds."""
        self.engine.run(until)

    def take(self) -> list[SimSpan]:
        """The spans that have finished since the last call."""
        spans, self.mesh.spans = self.mesh.spans, []
        return spans


def service(
    name: str,
    *steps: Step,
    threads: int = 64,
    backlog: int = 10_000,
    health: HealthCheck | None = None,
    **more: str,
) -> ServiceSpec:
    """A service with one operation."""
    return ServiceSpec(
        ServiceName("test", name),
        (OperationSpec(ROUTE, steps),),
        threads=threads,
        backlog=backlog,
        health=health,
        model=MODEL if any(isinstance(step, Serve) for step in steps) else None,
        **more,  # type: ignore[arg-type]  # kind and balancing, as texts
    )


def call(name: str, policy: CallPolicy | None = None, **how: float) -> Call:
    """A call of the one operation of a service."""
    return Call(name, ROUTE, policy or CallPolicy(**how))  # type: ignore[arg-type]  # numbers of the policy


def flow(name: str, rate: float = 1.0, timeout: float = 1e9, attempts: int = 1) -> FlowSpec:
    """Users of the one operation of a service."""
    return FlowSpec(f"to-{name}", name, ROUTE, rate, timeout=timeout, attempts=attempts)
