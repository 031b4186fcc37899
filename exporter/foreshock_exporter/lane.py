"""One GPU, looked at again and again: fast samples at every pass, its state each second, its health every ten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TypeVar

from foreshock_exporter import names
from foreshock_exporter.device import Counters, DeviceError, Driver, Health, Identity, Reading
from foreshock_exporter.fast import SERVICE_TIME, Counted, FastSamples
from foreshock_exporter.log import Notices
from foreshock_exporter.monotonic import Book, followed
from foreshock_exporter.occupancy import Observation
from foreshock_exporter.service import Resolver
from foreshock_exporter.sharing import ServiceKey, Step, enrol, forget
from foreshock_exporter.snapshot import GpuState
from foreshock_exporter.tenants import Holding, Tenants

STATE_EVERY = 1.0
"""Seconds between two looks at what is not sampled by the driver itself."""
HEALTH_EVERY = 10.0
"""Seconds between two looks at a GPU's health, which is dear to ask for and slow to change."""
IDENTITY_FOR = 60.0
"""Seconds for which an identity is kept: MPS and MIG can be switched while the exporter runs."""
RETRY_AFTER = 1.0
"""Seconds after which a GPU that did not answer is asked again."""
WRAPS_SOON = 2.0**33
"""Bytes. A counter of 32 bits is followed at every pass: a link carries half its range in a fraction of a second."""

_HELD = (names.SERVICE_MEMORY.name, names.SERVICE_PROCESSES.name)
_COUNTERS = tuple(part.name for part in fields(Counters) if part.name not in ("wraps", "absent"))
_HEALTH = tuple(part.name for part in fields(Health) if part.name != "absent")

_T = TypeVar("_T")
Observe = Callable[[Observation], None]


@dataclass(slots=True)
class Memory:
    """What is kept of a GPU by its uuid for as long as the exporter runs, whatever index it has."""

    identity: Identity
    tenants: Tenants
    counted: Counted = field(default_factory=Counted)
    book: Book = field(default_factory=dict)


@dataclass(slots=True)
class _Visit:
    """What holds from when a GPU begins to answer until it ceases to. Times on the exporter's clock."""

    memory: Memory
    fast: FastSamples
    identified: float
    state: float | None = None
    health: float | None = None
    wraps_soon: bool = False


@dataclass(slots=True)
class _Parts:
    """What was last read of the GPU, from which its state is put together."""

    reading: Reading = field(default_factory=Reading)
    counters: Counters | None = None
    health: Health | None = None
    holdings: dict[ServiceKey, Holding] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


class Lane:
    """Passes over one GPU at the times it is given; runs no thread and reads no clock.

    `state` is None while the GPU does not answer; `failed` says whether the last pass met an error.
    """

    def __init__(
        self,
        index: int,
        driver: Driver,
        resolver: Resolver,
        memories: dict[str, Memory],
        notices: Notices,
        *,
        health: bool = True,
        unattributed: str = "",
        observe: Observe | None = None,
    ) -> None:
        self._index = index
        self._driver = driver
        self._resolver = resolver
        self._memories = memories
        self._notices = notices
        self._wants_health = health
        self._observe = observe
        self._unattributed = dict.fromkeys((*SERVICE_TIME, *_HELD), unattributed) if unattributed else {}
        self._visit: _Visit | None = None
        self._parts = _Parts()
        self._retry = float("-inf")
        self.state: GpuState | None = None
        self.failed = False

    def look(self, time: float) -> None:
        """Pass over the GPU at `time` (seconds, steady). Raises no DeviceError."""
        if time < self._retry:
            return
        self.failed = False
        try:
            visit = self._identify(time)
            renewed = self._read(visit, time)
            visit.fast.take(time, self._parts.reading.utilization_ratio, renewed, lambda step: self._tell(step, time))
            self.failed = self.failed or visit.fast.failed
            self.state = self._state(visit)
        except DeviceError as error:
            self._notices.problem(f"GPU {self._index}", str(error))
            self._lose(time)
        else:
            self._notices.fine(f"GPU {self._index}")

    def _identify(self, time: float) -> _Visit:
        visit = self._visit
        if visit is not None and 0.0 <= time - visit.identified < IDENTITY_FOR:
            return visit
        identity = self._driver.identity(self._index)
        memory = self._memories.get(identity.uuid)
        if memory is None:
            memory = self._memories[identity.uuid] = Memory(identity, Tenants(self._resolver))
        if visit is None or memory is not visit.memory:
            fast = FastSamples(self._index, self._driver, memory.counted, memory.tenants, self._notices)
            visit, self._parts = _Visit(memory, fast, time), _Parts()
        memory.identity, visit.identified = identity, time
        visit.fast.identified(identity.sharing)
        self._visit = visit
        return visit

    def _lose(self, time: float) -> None:
        """Forget where the next pass would measure from; the counters stay."""
        if self._visit is not None:
            self._visit.memory.tenants.leave()
        self._visit, self.state, self.failed = None, None, True
        self._retry = time + RETRY_AFTER

    def _read(self, visit: _Visit, time: float) -> bool:
        """Read what is due; whether that was the GPU's state."""
        parts = self._parts
        renewed = _due(visit.state, time, STATE_EVERY)
        if renewed:
            parts.reading = self._driver.read(self._index)
            self._meet(visit, time)
            visit.state = time
        if renewed or visit.wraps_soon:
            counters = self._ask(self._driver.counters, "counters")
            if isinstance(counters, DeviceError):
                counters = Counters(absent=dict.fromkeys(_COUNTERS, counters.reason))
            visit.wraps_soon = any(wraps <= WRAPS_SOON for wraps in counters.wraps.values())
            parts.counters = followed(visit.memory.book, counters)
        if self._wants_health and _due(visit.health, time, HEALTH_EVERY):
            health = self._ask(self._driver.health, "health")
            if isinstance(health, DeviceError):
                health = Health(absent=dict.fromkeys(_HEALTH, health.reason))
            parts.health = followed(visit.memory.book, health)
            visit.health = time
        return renewed

    def _meet(self, visit: _Visit, time: float) -> None:
        """Note which processes hold the GPU."""
        held = self._ask(self._driver.processes, "processes")
        self._parts.absent = dict.fromkeys(_HELD, held.reason) if isinstance(held, DeviceError) else {}
        held = () if isinstance(held, DeviceError) else held
        tenants, counted = visit.memory.tenants, visit.memory.counted
        tenants.look([process.pid for process in held], time)
        counted.totals = forget(enrol(counted.totals, tenants.here()), tenants.forget(time))
        self._parts.holdings = tenants.holdings(held)

    def _ask(self, call: Callable[[int], _T], subject: str) -> _T | DeviceError:
        """The answer, or the error, after telling of one that matters."""
        subject = f"{subject} of GPU {self._index}"
        try:
            answer = call(self._index)
        except DeviceError as error:
            if error.reason != "not_supported":
                self.failed = True
                self._notices.problem(subject, str(error))
            return error
        self._notices.fine(subject)
        return answer

    def _tell(self, step: Step, time: float) -> None:
        if self._observe is not None and self._visit is not None and step.shares:
            identity, pids = self._visit.memory.identity, self._visit.memory.tenants.pids
            self._observe(Observation(identity.uuid, identity.gpu, time - step.seconds, time, step.shares, pids))

    def _state(self, visit: _Visit) -> GpuState:
        parts, memory = self._parts, visit.memory
        return GpuState(
            identity=memory.identity,
            reading=parts.reading,
            totals=memory.counted.totals,
            bursts=memory.counted.bursts,
            counters=parts.counters,
            health=parts.health,
            sources=dict(memory.tenants.sources),
            holdings=parts.holdings,
            absent={**self._unattributed, **parts.absent, **visit.fast.absent},
            services_over_limit=memory.tenants.over_limit,
            dropped=dict(memory.counted.dropped),
        )


def _due(last: float | None, time: float, every: float) -> bool:
    """Whether it is time again; a clock that went back makes it so."""
    return last is None or not 0.0 <= time - last < every - 1e-3
