"""The simulation as others use it: advance it, take its spans, read its devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import NamedTuple

from foreshock_exporter.exporter import Exporter
from foreshock_exporter.lane import Observe
from foreshock_simulator.device import SimDriver, SimNetwork, SimResolver
from foreshock_simulator.engine import Engine
from foreshock_simulator.mesh import Mesh
from foreshock_simulator.platform import Platform
from foreshock_simulator.scenario import SCENARIOS, Truth
from foreshock_simulator.span import SimSpan


@dataclass(frozen=True, slots=True)
class SimHost:
    """A host's identity and what an exporter reads there."""

    host_id: str
    host_name: str
    driver: SimDriver
    resolver: SimResolver
    network: SimNetwork


class Counts(NamedTuple):
    """Requests from outside: how many came, were answered well, were failed, and are still being worked on."""

    entered: int
    answered: int
    failed: int
    open: int


class Simulation:
    """A simulated platform from `start` on; the scenario's injected change begins at `onset` (both Unix seconds).

    The same scenario, seed, start and onset give the same spans, however the time is cut into calls of `advance`. One
    thread advances; others may read the devices meanwhile.

    Raises:
        ValueError: the scenario is unknown, or the onset lies before the start.
    """

    def __init__(self, scenario: str, seed: int, start: float, onset: float) -> None:
        if scenario not in SCENARIOS:
            raise ValueError(f"there is no scenario {scenario!r}; there are {', '.join(SCENARIOS)}")
        if onset < start:
            raise ValueError(f"onset {onset} lies before start {start}")
        self.lock = RLock()
        self.start = start
        self._scenario = SCENARIOS[scenario]
        self._onset = onset
        self._follows: Callable[[], float] | None = None
        self._engine = Engine()
        self._mesh = Mesh(self._engine, seed, int(start * 1e9))
        self._platform = Platform(self._engine, self._mesh, seed)
        if self._scenario.growth is not None:
            self._platform.grow(self._scenario.growth, onset - start)
        self._hosts = tuple(
            SimHost(m.host_id, m.name, SimDriver(m, self), SimResolver(m), SimNetwork(m, self))
            for m in self._platform.machines.values()
        )

    @property
    def elapsed(self) -> float:
        """Simulated seconds since the start."""
        return self._engine.now

    @property
    def now(self) -> float:
        """The simulation's time in Unix seconds; while a clock is followed, that clock's."""
        with self.lock:
            self.catch_up()
            return self.start + self._engine.now

    @property
    def hosts(self) -> tuple[SimHost, ...]:
        """The hosts, each with what an exporter asks."""
        return self._hosts

    @property
    def counts(self) -> Counts:
        """What became of the requests from outside."""
        mesh = self._mesh
        return Counts(mesh.entered, mesh.left - mesh.failed, mesh.failed, mesh.entered - mesh.left)

    def advance(self, until: float) -> tuple[SimSpan, ...]:
        """Run to `until` (Unix seconds) and give the spans that finished on the way, in order of their end."""
        with self.lock:
            self._run(until)
            spans, self._mesh.spans = self._mesh.spans, []
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

    def _run(self, until: float) -> None:
        target = until - self.start
        if target > self._engine.now:
            self._engine.run(target)

    def truth(self) -> Truth:
        """What was injected. For tests and the last line of a demo, not for whoever has to find it."""
        growth = self._scenario.growth
        if growth is None:
            return Truth(None, None, (), self._onset)
        return Truth(growth.aggressor, growth.victim, growth.places, self._onset)


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
            host={"network": host.network},
            health=False,
            xid=False,
            observe=told,
        )
        for host, told in zip(simulation.hosts, observers, strict=True)
    )
