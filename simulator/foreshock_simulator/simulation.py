"""A scenario that runs: advance it, take its spans, read its hosts, model servers and cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import NamedTuple

from foreshock_exporter.exporter import Exporter
from foreshock_exporter.gpu.collector import Observe
from foreshock_exporter.model.family import Families
from foreshock_simulator.control import kube
from foreshock_simulator.emit.driver import SimDriver, SimResolver
from foreshock_simulator.emit.host import collectors
from foreshock_simulator.scenarios.counterfactual import without
from foreshock_simulator.scenarios.truth import SloWatch, judge
from foreshock_simulator.spec.faults import LostScrapes
from foreshock_simulator.spec.scenario import ScenarioSpec, Truth
from foreshock_simulator.tracing.service_graph import Counts
from foreshock_simulator.tracing.spans import SimSpan
from foreshock_simulator.world.faults import schedule_faults
from foreshock_simulator.world.platform import Platform

QUOTAS = "gpu-pools"
"""The namespace whose resource quotas the pools' are."""


@dataclass(frozen=True, slots=True)
class SimHost:
    """A host's identity and what an exporter reads there."""

    host_id: str
    host_name: str
    driver: SimDriver
    resolver: SimResolver
    collectors: Mapping[str, Callable[[], Families]]


class Users(NamedTuple):
    """Requests from outside: how many came, were answered well, failed, were given up, and are still open."""

    entered: int
    answered: int
    failed: int
    given_up: int
    open: int


class Outage(NamedTuple):
    """Scrapes of hosts (all where none is named) fail from `start` to `end` (Unix seconds).

    `restarts`: their exporters begin anew afterwards, with counters at 0.
    """

    start: float
    end: float
    hosts: tuple[str, ...]
    restarts: bool


class Simulation:
    """A scenario from `start` (Unix seconds) on.

    The same scenario, seed and start give the same spans and figures, however the time is cut into calls of `advance`,
    and whatever `sample` and `count` are. One thread advances; others may read the devices meanwhile.

    Args:
        spec: the scenario, as `scenarios.load` gives it.
        seed: of all chance but the platform's own.
        start: Unix seconds.
        leave_out: a culprit whose part in it does not happen.
        sample: share of the traces whose spans are kept.
        count: whether `counts` counts over all spans; then somebody is to take the durations now and then.

    Raises:
        ValueError: the parts of the scenario do not fit together; nothing is about the culprit that is left out.
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
        self.lock = RLock()
        self.spec = without(spec, leave_out) if leave_out else spec
        self.seed, self.start = seed, start
        self._follows: Callable[[], float] | None = None
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
    def elapsed(self) -> float:
        """Simulated seconds since the start."""
        return self._platform.engine.now

    @property
    def now(self) -> float:
        """The simulation's time in Unix seconds; while a clock is followed, that clock's."""
        with self.lock:
            self.catch_up()
            return self.start + self.elapsed

    @property
    def users(self) -> Users:
        """What became of the requests from outside."""
        mesh = self._platform.mesh
        return Users(mesh.entered, mesh.answered, mesh.failed, mesh.given_up, mesh.open)

    @property
    def counts(self) -> Counts:
        """What was counted over all spans."""
        return self._platform.mesh.counts

    @property
    def outages(self) -> tuple[Outage, ...]:
        """When scrapes fail because the scenario says so."""
        return tuple(
            Outage(self.start + fault.at, self.start + fault.at + fault.duration, fault.hosts, fault.restarts)
            for fault in self.spec.faults
            if isinstance(fault, LostScrapes)
        )

    def advance(self, until: float) -> tuple[SimSpan, ...]:
        """Run to `until` (Unix seconds) and give the spans that finished on the way, in order of their end."""
        with self.lock:
            self._run(until)
            mesh = self._platform.mesh
            spans, mesh.spans = mesh.spans, []
        return tuple(spans)

    def follow(self, now: Callable[[], float] | None) -> None:
        """Let reading a device run the model to `now()` first, so that figures are exact at any speed; None ends that.

        The spans that finish meanwhile come with the next `advance`.
        """
        self._follows = now

    def catch_up(self) -> None:
        """Run to the time that is followed, if any. The caller holds `lock`."""
        if self._follows is not None:
            self._run(self._follows())

    def inference(self) -> dict[str, Families]:
        """What the model servers tell now, each by its `host:port`."""
        with self.lock:
            self.catch_up()
            return {where: told for replicas in self._platform.replicas.values() for where, told in replicas.servers()}

    def capacity(self) -> Families:
        """What kube-state-metrics tells now."""
        platform = self._platform
        with self.lock:
            self.catch_up()
            return kube.families(
                [autoscaler.state() for autoscaler in platform.autoscalers],
                [replicas.deployment.state() for replicas in platform.replicas.values()],
                platform.capacity.quotas(QUOTAS),
                self.start,
            )

    def truth(self) -> Truth:
        """What happened so far. For whoever judges a detector, not for the detector."""
        with self.lock:
            answered = {name: watch.answered() for name, watch in self._watches.items()}
            return judge(self.spec, self.seed, self.start, self.start + self.elapsed, answered)

    def _run(self, until: float) -> None:
        target = until - self.start
        if target > self.elapsed:
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
    """An exporter for each host, marked as mock. `now` gives Unix seconds; `observe`, by host, is told of samples."""
    observers: Sequence[Observe | None] = observe or [None] * len(simulation.hosts)
    return tuple(
        Exporter(
            host.driver,
            host.resolver,
            host_id=host.host_id,
            host_name=host.host_name,
            now=now,
            mock=True,
            host=dict(host.collectors),
            observe=told,
        )
        for host, told in zip(simulation.hosts, observers, strict=True)
    )
