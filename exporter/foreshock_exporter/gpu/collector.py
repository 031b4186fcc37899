"""One GPU, looked at again and again: fast samples at every pass, its state each second, its health every ten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TypeVar

from foreshock_exporter.common.labels import label_value
from foreshock_exporter.common.log import ProblemLog, log
from foreshock_exporter.gpu.contention import FastSample, ServiceKey, register, remove_services
from foreshock_exporter.gpu.monotonic import MAX_FAST_WRAP, CounterStates, make_monotonic
from foreshock_exporter.gpu.occupancy import Observation
from foreshock_exporter.gpu.snapshot import GpuState
from foreshock_exporter.gpu.tenants import Holding, Tenants
from foreshock_exporter.gpu.utilization import SERVICE_TIME_METRICS, Accumulated, UtilizationSampler
from foreshock_exporter.model import metrics
from foreshock_exporter.model.device import Counters, DeviceError, Driver, Health, Identity, Reading
from foreshock_exporter.model.service import Resolver

STATE_INTERVAL_SECONDS = 1.0
"""Seconds between two looks at what is not sampled by the driver itself."""
HEALTH_INTERVAL_SECONDS = 10.0
"""Seconds between two looks at a GPU's health, which is dear to ask for and slow to change."""
RETRY_AFTER_SECONDS = 1.0
"""Seconds after which a GPU that did not answer is asked again."""
_HELD = (metrics.SERVICE_MEMORY.name, metrics.SERVICE_PROCESSES.name)
_COUNTERS = tuple(part.name for part in fields(Counters) if part.name not in ("wraps", "absent"))
_HEALTH = tuple(part.name for part in fields(Health) if part.name != "absent")

_T = TypeVar("_T")
Observe = Callable[[Observation], None]


@dataclass(slots=True)
class GpuRecord:
    """What is kept of a GPU by its uuid for as long as the exporter runs, whatever index it has."""

    identity: Identity
    """As it last was."""
    tenants: Tenants
    counted: Accumulated = field(default_factory=Accumulated)
    book: CounterStates = field(default_factory=dict)


@dataclass(slots=True)
class _Visit:
    """What holds from when a GPU begins to answer until it ceases to. Times on the exporter's clock."""

    identity: Identity
    known: GpuRecord
    fast: UtilizationSampler
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


class GpuCollector:
    """Passes over one GPU at the times it is given; runs no thread and reads no clock.

    `state` is None while the GPU does not answer; `failed` says whether some call has failed and not worked since.
    """

    def __init__(
        self,
        index: int,
        driver: Driver,
        resolver: Resolver,
        known: dict[str, GpuRecord],
        notices: ProblemLog,
        *,
        health: bool = True,
        unattributed: str = "",
        observe: Observe | None = None,
    ) -> None:
        self._index = index
        self._driver = driver
        self._resolver = resolver
        self._known = known
        self._notices = notices
        self._wants_health = health
        self._observe = observe
        self._unattributed = dict.fromkeys((*SERVICE_TIME_METRICS, *_HELD), unattributed) if unattributed else {}
        self._visit: _Visit | None = None
        self._parts = _Parts()
        self._retry = float("-inf")
        self._failing: set[str] = set()
        self._anew = False
        self.state: GpuState | None = None

    @property
    def failed(self) -> bool:
        """Whether some call has failed and not worked since, other than one that the GPU does not support."""
        return bool(self._failing)

    def renew(self) -> None:
        """Have the next pass find out which GPU this is before it counts anything. From any thread."""
        self._anew = True

    def fail(self, error: str) -> None:
        """A pass met what no pass should; the GPU is not shown until one gets through."""
        self._failing.add("pass")
        self._notices.problem(f"GPU {self._index}", error)
        self._visit, self.state = None, None

    def look(self, time: float) -> None:
        """Pass over the GPU at `time` (seconds, steady). Raises no DeviceError."""
        if time < self._retry:
            return
        try:
            visit = self._identify(time)
            renewed = self._read(visit, time)
            visit.fast.take(time, self._parts.reading.utilization_ratio, renewed, lambda step: self._tell(step, time))
            self._note("process utilisation", not visit.fast.failed)
            self.state = self._state(visit)
        except DeviceError as error:
            self._notices.problem(f"GPU {self._index}", f"{error}{self._which()}")
            self._lose(time)
        else:
            self._failing -= {"GPU", "pass"}
            self._notices.fine(f"GPU {self._index}")

    def _identify(self, time: float) -> _Visit:
        """Which GPU this is now. Asked before anything is counted: indices move when GPUs come and go."""
        visit = self._visit
        if visit is not None and not self._anew and not _due(visit.state, time, STATE_INTERVAL_SECONDS):
            return visit
        self._anew = False
        identity = self._driver.identity(self._index)
        known = self._known.get(identity.uuid)
        if known is None:
            known = self._known[identity.uuid] = GpuRecord(identity, Tenants(self._resolver))
            log.info("GPU %d is %s", self._index, describe(identity))
        if visit is None or known is not visit.known:
            fast = UtilizationSampler(self._index, self._driver, known.counted, known.tenants, self._notices)
            visit, self._parts, self._failing = _Visit(identity, known, fast), _Parts(), set()
        visit.identity = known.identity = identity
        visit.fast.identified(identity.sharing, time)
        self._visit = visit
        return visit

    def _lose(self, time: float) -> None:
        """Forget which GPU this was; the counters stay. It is asked again at the next pass, then each second."""
        if self._visit is None:
            self._retry = time + RETRY_AFTER_SECONDS
        else:
            self._visit.known.tenants.leave()
        self._visit, self.state = None, None
        self._failing.add("GPU")

    def _read(self, visit: _Visit, time: float) -> bool:
        """Read what is due; whether that was the GPU's state."""
        parts = self._parts
        renewed = _due(visit.state, time, STATE_INTERVAL_SECONDS)
        if renewed:
            parts.reading = self._driver.read(self._index)
            self._meet(visit, time)
            visit.state = time
        if renewed or visit.wraps_soon:
            counters = self._ask(self._driver.counters, "counters")
            if isinstance(counters, DeviceError):
                counters = Counters(absent=dict.fromkeys(_COUNTERS, counters.reason))
            visit.wraps_soon = any(wraps <= MAX_FAST_WRAP for wraps in counters.wraps.values())
            parts.counters = make_monotonic(visit.known.book, counters)
        if self._wants_health and _due(visit.health, time, HEALTH_INTERVAL_SECONDS):
            health = self._ask(self._driver.health, "health")
            if isinstance(health, DeviceError):
                health = Health(absent=dict.fromkeys(_HEALTH, health.reason))
            parts.health = make_monotonic(visit.known.book, health)
            visit.health = time
        return renewed

    def _meet(self, visit: _Visit, time: float) -> None:
        """Note which processes hold the GPU."""
        held = self._ask(self._driver.processes, "processes")
        self._parts.absent = dict.fromkeys(_HELD, held.reason) if isinstance(held, DeviceError) else {}
        held = () if isinstance(held, DeviceError) else held
        tenants, counted = visit.known.tenants, visit.known.counted
        tenants.look([process.pid for process in held], time)
        counted.totals = remove_services(register(counted.totals, tenants.here()), tenants.forget(time))
        self._parts.holdings = tenants.holdings(held)

    def _ask(self, call: Callable[[int], _T], subject: str) -> _T | DeviceError:
        """The answer, or the error, after telling of one that matters."""
        try:
            answer = call(self._index)
        except DeviceError as error:
            self._note(subject, error.reason == "not_supported")
            if error.reason != "not_supported":
                self._notices.problem(f"{subject} of GPU {self._index}", f"{error}{self._which()}")
            return error
        self._note(subject, True)
        self._notices.fine(f"{subject} of GPU {self._index}")
        return answer

    def _note(self, subject: str, fine: bool) -> None:
        (self._failing.discard if fine else self._failing.add)(subject)

    def _which(self) -> str:
        """Which GPU it is by what does not shift, for the log."""
        return f" ({describe(self._visit.identity)})" if self._visit else ""

    def _tell(self, step: FastSample, time: float) -> None:
        if self._observe is not None and self._visit is not None and step.shares:
            identity, pids = self._visit.identity, self._visit.known.tenants.pids
            self._observe(Observation(identity.uuid, identity.gpu, time - step.seconds, time, step.shares, pids))

    def _state(self, visit: _Visit) -> GpuState:
        parts, known = self._parts, visit.known
        return GpuState(
            identity=visit.identity,
            reading=parts.reading,
            totals=known.counted.totals,
            bursts=known.counted.bursts,
            counters=parts.counters,
            health=parts.health,
            sources=dict(known.tenants.sources),
            holdings=parts.holdings,
            absent={**self._unattributed, **parts.absent, **visit.fast.absent},
            services_over_limit=known.tenants.over_limit,
            dropped=dict(known.counted.dropped),
        )


def describe(identity: Identity) -> str:
    """A GPU for people who look for it in the host."""
    said = (identity.uuid, identity.model, identity.pci_bus_id and f"PCI {identity.pci_bus_id}")
    return ", ".join(label_value(part) for part in said if part)


def _due(last: float | None, time: float, every: float) -> bool:
    """Whether it is time again; a clock that went back makes it so."""
    return last is None or not 0.0 <= time - last < every - 1e-3
