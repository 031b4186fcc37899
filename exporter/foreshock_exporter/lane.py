"""One GPU, looked at again and again: fast samples at every pass, its state each second, its health every ten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

from foreshock_exporter import names
from foreshock_exporter.bursts import Bursts, Mark, Piece, count, drain, fresh, whole
from foreshock_exporter.device import (
    Counters,
    DeviceError,
    Driver,
    Health,
    Identity,
    ProcessUtilization,
    Reading,
)
from foreshock_exporter.log import Notices
from foreshock_exporter.monotonic import Book, followed
from foreshock_exporter.occupancy import Observation
from foreshock_exporter.service import Resolver
from foreshock_exporter.sharing import ServiceKey, Step, Totals, advance, enrol, forget
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
MAX_STEP = 60.0
"""Seconds. A longer gap between two looks (a suspended host, a hung call) is not integrated."""
PROCESSES_WITHIN = 1.25
"""Seconds that a busy GPU's processes are waited for: the driver may sample them more slowly than the device."""
SAMPLES_WITHIN = 2.5
"""Seconds without a sample after which a GPU that says it is busy is taken to keep none."""

_DEVICE_TIME = (names.GPU_BUSY.name, names.GPU_BUSY_RATIO.name, names.UNATTRIBUTED.name)
_SERVICE_TIME = (names.SERVICE_BUSY.name, names.CONTENDED.name, names.STALLED.name, names.STALLED_BY.name)
_WAITING = (names.CONTENDED.name, names.STALLED.name, names.STALLED_BY.name)
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
    totals: Totals = field(default_factory=Totals)
    bursts: Bursts = field(default_factory=lambda: Bursts((0,) * (len(names.GPU_BUSY_RATIO.bounds) + 1)))
    book: Book = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=lambda: {"gap": 0, "implausible": 0})


@dataclass(slots=True)
class _Marks:
    """From where the next pass measures; void after a GPU did not answer. Times on the exporter's clock."""

    identified: float
    mark: Mark = field(default_factory=Mark)
    polled: bool = False
    sampled: float | None = None
    processes_us: int = 0
    pending: list[Piece] = field(default_factory=list)
    state: float | None = None
    health: float | None = None


@dataclass(slots=True)
class _Parts:
    """What was last read of the GPU, from which its state is put together."""

    reading: Reading = field(default_factory=Reading)
    counters: Counters | None = None
    health: Health | None = None
    holdings: dict[ServiceKey, Holding] = field(default_factory=dict)
    absent: dict[str, dict[str, str]] = field(default_factory=dict)


class Lane:
    """Passes over one GPU at the times it is given; runs no thread and reads no clock but `timer`, for durations.

    `state` is None while the GPU does not answer.
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
        self._unattributed = dict.fromkeys((*_SERVICE_TIME, *_HELD), unattributed) if unattributed else {}
        self._memory: Memory | None = None
        self._marks = _Marks(0.0)
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
            memory = self._identify(time)
            self._read(memory, time)
            self._sample(memory, time)
            self.state = self._state(memory)
        except DeviceError as error:
            self._notices.problem(f"GPU {self._index}", str(error))
            self._lose(time)
        else:
            self._notices.fine(f"GPU {self._index}")

    def _identify(self, time: float) -> Memory:
        if self._memory is not None and 0.0 <= time - self._marks.identified < IDENTITY_FOR:
            return self._memory
        identity = self._driver.identity(self._index)
        memory = self._memories.get(identity.uuid)
        if memory is None:
            memory = self._memories[identity.uuid] = Memory(identity, Tenants(self._resolver))
        if memory is not self._memory:
            self._marks, self._parts = _Marks(time), _Parts()
        memory.identity = identity
        self._marks.identified, self._marks.polled = time, False
        self._memory = memory
        return memory

    def _lose(self, time: float) -> None:
        """Forget where the next pass would measure from; the counters stay."""
        if self._memory is not None:
            self._memory.tenants.leave()
        self._memory, self.state, self.failed = None, None, True
        self._retry = time + RETRY_AFTER

    def _read(self, memory: Memory, time: float) -> None:
        """Read what is due."""
        marks, parts = self._marks, self._parts
        if _due(marks.state, time, STATE_EVERY):
            parts.reading = self._driver.read(self._index)
            counters = self._ask("counters", self._driver.counters, (), "counters")
            if isinstance(counters, DeviceError):
                counters = Counters(absent=dict.fromkeys(_COUNTERS, counters.reason))
            parts.counters = followed(memory.book, counters)
            self._meet(memory, time)
            marks.state = time
        if self._wants_health and _due(marks.health, time, HEALTH_EVERY):
            marks.health = time
            health = self._ask("health", self._driver.health, (), "health")
            if isinstance(health, DeviceError):
                health = Health(absent=dict.fromkeys(_HEALTH, health.reason))
            parts.health = followed(memory.book, health)

    def _meet(self, memory: Memory, time: float) -> None:
        """Note which processes hold the GPU."""
        held = self._ask("processes", self._driver.processes, _HELD, "processes")
        if isinstance(held, DeviceError):
            held = ()
        memory.tenants.look([process.pid for process in held], time)
        memory.totals = forget(enrol(memory.totals, memory.tenants.here()), memory.tenants.forget(time))
        self._parts.holdings = memory.tenants.holdings(held)

    def _sample(self, memory: Memory, time: float) -> None:
        """Take what the driver has sampled since the last pass, or where it samples nothing, its latest reading."""
        if not self._marks.polled:
            try:
                drained = drain(
                    self._marks.mark, self._driver.utilization(self._index, self._marks.mark.newest_us or 0)
                )
            except DeviceError as error:
                if error.reason != "not_supported":
                    raise
                self._marks.polled = True
            else:
                memory.dropped["implausible"] += drained.dropped
                self._drained(memory, drained.mark, drained.pieces, time)
                return
        self._poll(memory, time)

    def _drained(self, memory: Memory, mark: Mark, pieces: Sequence[Piece], time: float) -> None:
        marks = self._marks
        if pieces or mark != marks.mark or marks.sampled is None:
            marks.sampled = time
        marks.mark = mark
        if pieces:
            memory.bursts = count(memory.bursts, pieces, names.GPU_BUSY_RATIO.bounds)
            marks.pending.extend(pieces)
        if marks.pending:
            self._settle(memory, time)
        elif time - marks.sampled > SAMPLES_WITHIN:
            self._unsampled(memory, time)

    def _unsampled(self, memory: Memory, time: float) -> None:
        """Idle GPUs have no samples. A busy one without any keeps none, or its clock has gone back."""
        self._marks.sampled = time
        if self._parts.reading.utilization_ratio:
            memory.dropped["gap"] += 1
            self._marks.polled, self._marks.mark, self._marks.processes_us = True, Mark(), 0

    def _poll(self, memory: Memory, time: float) -> None:
        """Take the latest reading for the time since the one before."""
        marks = self._marks
        if marks.sampled is not None and marks.state != time:
            return
        before, marks.sampled = marks.sampled, time
        seconds = 0.0 if before is None else time - before
        if not 0.0 <= seconds <= MAX_STEP:
            memory.dropped["gap"] += 1
            seconds = 0.0
        ratio = self._parts.reading.utilization_ratio
        used = self._used(memory, time)
        if ratio is not None and seconds > 0.0:
            memory.bursts = count(memory.bursts, (Piece(seconds, ratio),), names.GPU_BUSY_RATIO.bounds)
        self._advance(memory, Step(seconds, ratio, *_shares(memory, used)), time)
        if ratio is None and used is None:
            self._parts.absent["sample"] = dict.fromkeys(_DEVICE_TIME, "not_supported")
        else:
            self._parts.absent.pop("sample", None)

    def _settle(self, memory: Memory, time: float) -> None:
        """Divide the pending stretches among the processes, once the driver has said what these did."""
        marks = self._marks
        piece = whole(marks.pending)
        used: Sequence[ProcessUtilization] | None = ()
        if piece.ratio > 0.0:
            used = self._used(memory, time, piece.seconds)
            if used is not None and not used:
                if piece.seconds < PROCESSES_WITHIN:
                    return
                marks.processes_us = 0  # the driver's clock may have gone back
        marks.pending.clear()
        self._parts.absent.pop("sample", None)
        self._advance(memory, Step(piece.seconds, piece.ratio, *_shares(memory, used)), time)

    def _used(self, memory: Memory, time: float, seconds: float = 0.0) -> Sequence[ProcessUtilization] | None:
        """What the processes did since the last answer; None where the driver does not say."""
        since = self._marks.processes_us
        used = self._ask("utilization", self._utilized, _SERVICE_TIME, "process utilisation")
        if isinstance(used, DeviceError):
            return None
        if not used:
            return ()
        self._marks.processes_us = max(since, *(entry.timestamp_us for entry in used))
        used = fresh(used, since, seconds)
        if memory.tenants.meet((entry.pid for entry in used), time):
            memory.totals = enrol(memory.totals, memory.tenants.here())
        return used

    def _utilized(self, index: int) -> Sequence[ProcessUtilization]:
        return self._driver.process_utilization(index, self._marks.processes_us)

    def _advance(self, memory: Memory, step: Step, time: float) -> None:
        sharing = memory.identity.sharing
        comparable = sharing not in ("mps", "mig")
        if comparable:
            self._parts.absent.pop("sharing", None)
        else:
            self._parts.absent["sharing"] = dict.fromkeys(_WAITING, sharing)
        memory.totals = advance(memory.totals, step, comparable=comparable)
        if self._observe is not None and step.shares and step.seconds > 0.0:
            identity = memory.identity
            self._observe(Observation(identity.uuid, identity.gpu, time - step.seconds, time, step.shares))

    def _ask(self, part: str, call: Callable[[int], _T], metrics: Iterable[str], subject: str) -> _T | DeviceError:
        """The answer; or the error, after noting which metrics are absent for it."""
        try:
            answer = call(self._index)
        except DeviceError as error:
            self._parts.absent[part] = dict.fromkeys(metrics, error.reason)
            if error.reason != "not_supported":
                self.failed = True
                self._notices.problem(f"{subject} of GPU {self._index}", str(error))
            return error
        self._parts.absent.pop(part, None)
        self._notices.fine(f"{subject} of GPU {self._index}")
        return answer

    def _state(self, memory: Memory) -> GpuState:
        parts = self._parts
        return GpuState(
            identity=memory.identity,
            reading=parts.reading,
            totals=memory.totals,
            bursts=memory.bursts,
            counters=parts.counters,
            health=parts.health,
            sources=dict(memory.tenants.sources),
            holdings=parts.holdings,
            absent={
                metric: reason
                for each in (self._unattributed, *parts.absent.values())
                for metric, reason in each.items()
            },
            services_over_limit=memory.tenants.over_limit,
            dropped=dict(memory.dropped),
        )


def _due(last: float | None, time: float, every: float) -> bool:
    """Whether it is time again; a clock that went back makes it so."""
    return last is None or not 0.0 <= time - last < every - 1e-3


def _shares(
    memory: Memory, used: Sequence[ProcessUtilization] | None
) -> tuple[Mapping[ServiceKey, float] | None, float]:
    return (None, 0.0) if used is None else memory.tenants.shares(used)
