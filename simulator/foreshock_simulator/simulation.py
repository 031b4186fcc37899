"""A running scenario: advances it, returns its spans, and reads its hosts, model servers and cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import NamedTuple

from foreshock_exporter.exporter import Exporter
from foreshock_exporter.gpu.collector import GpuOptions, Observe
from foreshock_exporter.model.family import Families
from foreshock_simulator.control import kube
from foreshock_simulator.emit.driver import SimDriver, SimResolver
from foreshock_simulator.emit.host import collectors
from foreshock_simulator.scenarios.truth import SloWatch, evaluate
from foreshock_simulator.spec.faults import LostScrapes
from foreshock_simulator.spec.queries import without_root_cause
from foreshock_simulator.spec.scenario import ScenarioSpec, Truth
from foreshock_simulator.tracing.service_graph import Counts
from foreshock_simulator.tracing.spans import SimSpan
from foreshock_simulator.world.faults import schedule_faults
from foreshock_simulator.world.platform import Platform

EXPORTER_JOB, SERVERS_JOB, CLUSTER_JOB = "foreshock-exporter", "model-servers", "kube-state-metrics"
"""Prometheus jobs of its targets."""


@dataclass(frozen=True, slots=True)
class SimHost:
    """Identity of a host, and the parts of its exporter."""

    host_id: str
    host_name: str
    driver: SimDriver
    resolver: SimResolver
    collectors: Mapping[str, Callable[[], Families]]


class Users(NamedTuple):
    """Requests of users: entered, answered, failed, given up, and open."""

    entered: int
    answered: int
    failed: int
    given_up: int
    open: int


class Outage(NamedTuple):
    """Failed scrapes of hosts (all, without names) from `start` to `end` (Unix seconds).

    `restarts`: their exporters restart afterwards, with counters at 0.
    """

    start: float
    end: float
    hosts: tuple[str, ...]
    restarts: bool


class Simulation:
    """A scenario that runs from `start` (Unix seconds) on.

    The same scenario, seed and start give the same spans and metrics, for any sequence of `advance` calls and any
    `sample` and `count`. One thread advances; other threads may read the devices meanwhile.

    Args:
        seed: of all random streams but the platform's own.
        leave_out: a root_cause; its faults are left out.
        sample: ratio of traces that are stored.
        count: whether `counts` counts all spans. Its durations then grow until the caller takes them.

    Raises:
        ValueError: inconsistent parts, or no fault concerns `leave_out`.
    """

    def __init__(
        self,
        spec: ScenarioSpec,
        seed: int,
        start: float,
        *,
        leave_out: str = "",
        sample: float = 1.0,
        count: bool = False,
    ) -> None:
        self._lock = RLock()
        self.spec = without_root_cause(spec, leave_out) if leave_out else spec
        self.seed, self.start = seed, start
        self._clock: Callable[[], float] | None = None
        platform = self._platform = Platform(self.spec.platform, seed, start, sample=sample, count=count)
        self._watches: dict[str, SloWatch] = {}
        for service in platform.mesh.services.values():
            if service.spec.slo is not None:
                watch = self._watches[service.name.name] = SloWatch(service.spec.slo)
                service.observe = watch.observe
        platform.start_traffic(self.spec.faults, seed, start)
        schedule_faults(platform, self.spec.faults)
        self.hosts = tuple(self._host(name) for name in platform.hosts)

    @property
    def now(self) -> float:
        """Simulated time in Unix seconds; that of the followed clock, if any."""
        with self.present() as elapsed:
            return self.start + elapsed

    @contextmanager
    def present(self) -> Iterator[float]:
        """Run to the time of the followed clock, if any, and stop there; the value is in seconds since the start."""
        with self._lock:
            if self._clock is not None:
                self._run(self._clock())
            yield self._platform.engine.now

    @property
    def users(self) -> Users:
        """Outcomes of the requests of users."""
        mesh = self._platform.mesh
        return Users(mesh.entered, mesh.answered, mesh.failed, mesh.given_up, mesh.open)

    @property
    def counts(self) -> Counts:
        """Counts over all spans."""
        return self._platform.mesh.counts

    @property
    def outages(self) -> tuple[Outage, ...]:
        """Failed scrapes of the scenario."""
        return tuple(
            Outage(self.start + fault.at, self.start + fault.at + fault.duration, fault.hosts, fault.restarts)
            for fault in self.spec.faults
            if isinstance(fault, LostScrapes)
        )

    def advance(self, until: float) -> tuple[SimSpan, ...]:
        """Run to `until` (Unix seconds) and return the spans that have finished, in order of their end."""
        with self._lock:
            self._run(until)
            mesh = self._platform.mesh
            spans, mesh.spans = mesh.spans, []
        return tuple(spans)

    def follow(self, now: Callable[[], float] | None) -> None:
        """Run the simulation to `now()` before each reading of a device; None ends that.

        Spans that finish meanwhile are returned by the next `advance`.
        """
        self._clock = now

    def inference(self) -> dict[str, Families]:
        """Metrics of the model servers at present, by `host:port`."""
        with self.present():
            return dict(server for replicas in self._platform.replicas.values() for server in replicas.servers())

    def capacity(self) -> Families:
        """Metrics of kube-state-metrics and of the memory of containers at present."""
        platform = self._platform
        with self.present():
            deployments = [replicas.deployment for replicas in platform.replicas.values()]
            memory = [pod for replicas in platform.replicas.values() for pod in replicas.memory()]
            families = kube.families(platform.autoscalers, deployments, platform.capacity, self.start)
            return [*families, *kube.memory_families(memory)]

    def truth(self) -> Truth:
        """Ground truth so far, to score a detector."""
        with self._lock:
            steps = {name: watch.steps() for name, watch in self._watches.items()}
            return evaluate(self.spec, self.seed, self.start, self.start + self._platform.engine.now, steps)

    def _run(self, until: float) -> None:
        target = until - self.start
        if target > self._platform.engine.now:
            self._platform.engine.run(target)

    def _host(self, name: str) -> SimHost:
        host, network = self._platform.hosts[name], self._platform.network
        speed = host.spec.nic_bytes_per_second
        driver = SimDriver(name, host.gpus, self)
        return SimHost(
            host.host_id,
            name,
            driver,
            SimResolver(host.services),
            collectors(lambda: network.counters(name), speed, self),
        )


def exporters(
    simulation: Simulation, now: Callable[[], float], observe: Sequence[Observe] | None = None
) -> tuple[Exporter, ...]:
    """An exporter for each host, marked as mock.

    `now` returns Unix seconds; `observe` has an observer of samples per host.
    """
    observers: Sequence[Observe | None] = observe or [None] * len(simulation.hosts)
    return tuple(
        Exporter(
            host.driver,
            host.resolver,
            GpuOptions(observe=observer),
            host_id=host.host_id,
            host_name=host.host_name,
            now=now,
            mock=True,
            host=dict(host.collectors),
        )
        for host, observer in zip(simulation.hosts, observers, strict=True)
    )
