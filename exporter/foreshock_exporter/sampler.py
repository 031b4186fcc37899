"""Reads every GPU at a given time and keeps the counters that follow. One GPU's failure costs only itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from foreshock_exporter import names
from foreshock_exporter.device import DeviceError, Driver, GpuProcess, Identity, ProcessUtilization
from foreshock_exporter.log import Notices
from foreshock_exporter.service import Resolver, ServiceOf, Source
from foreshock_exporter.sharing import ServiceKey, Step, Totals, advance, enrol, forget
from foreshock_exporter.snapshot import GpuSnapshot, GpuState, Holding

MAX_STEP = 60.0
"""Seconds. A longer gap between two samples (a suspended host, a hung call) is not integrated."""
IDENTITY_FOR = 60.0
"""Seconds for which an identity is kept: MPS and MIG can be switched while the exporter runs."""
FORGET_AFTER = 900.0
"""Seconds after which the series of a service that left a GPU end."""
MAX_SERVICES = 32
"""Services told apart on one GPU; what others use is unattributed."""

_SERVICE_TIME = (names.SERVICE_BUSY.name, names.CONTENDED.name, names.STALLED.name, names.STALLED_BY.name)
_WAITING = (names.CONTENDED.name, names.STALLED.name, names.STALLED_BY.name)
_HELD = (names.SERVICE_MEMORY.name, names.SERVICE_PROCESSES.name)


@dataclass(slots=True)
class _Gpu:
    """What is remembered of one GPU between samples."""

    identity: Identity
    identified: float
    sampled: float | None = None
    newest_us: int = 0
    totals: Totals = field(default_factory=Totals)
    sources: dict[ServiceKey, Source] = field(default_factory=dict)
    seen: dict[ServiceKey, float] = field(default_factory=dict)
    by_pid: dict[int, ServiceOf] = field(default_factory=dict)


@dataclass(slots=True)
class _Pass:
    """What one pass collects besides the states: whether a call failed, and one GPU's absent metrics."""

    failed: bool = False
    absent: dict[str, str] = field(default_factory=dict)


class Sampler:
    """Advances one fast sample at a time that it is given; runs no thread and reads no clock.

    The first sample of a GPU only sets the marks from which the next one measures.
    """

    def __init__(self, driver: Driver, resolver: Resolver, notices: Notices | None = None) -> None:
        self._driver = driver
        self._resolver = resolver
        self._notices = notices or Notices()
        self._at: dict[int, _Gpu] = {}
        self._known: dict[str, _Gpu] = {}
        self._expected = 0

    def sample(self, time: float) -> GpuSnapshot:
        """Read all GPUs at `time` (seconds, steady) and give the state that results. Raises no DeviceError."""
        this = _Pass()
        count = self._count(this)
        states = tuple(state for index in range(count) if (state := self._gpu(index, time, this)) is not None)
        self._expected = max(self._expected, count, len(self._known))
        present = {state.identity.uuid for state in states}
        lost = {uuid: uuid not in present for uuid in self._known}
        return GpuSnapshot(time, self._expected, states, lost, this.failed)

    def _count(self, this: _Pass) -> int:
        try:
            count = self._driver.count()
        except DeviceError as error:
            self._notices.problem("GPU driver", str(error))
            this.failed = True
            self._at.clear()
            return 0
        self._notices.fine("GPU driver")
        return count

    def _gpu(self, index: int, time: float, this: _Pass) -> GpuState | None:
        """One GPU's state; None if it does not answer."""
        try:
            known = self._identify(index, time)
            reading = self._driver.read(index)
        except DeviceError as error:
            self._notices.problem(f"GPU {index}", str(error))
            this.failed = True
            self._lose(index)
            return None
        self._notices.fine(f"GPU {index}")
        this.absent = {}
        held = self._held(index, this)
        used = self._used(index, known, this)
        comparable = self._comparable(known, this)
        self._resolve(known, [process.pid for process in held or ()] + [entry.pid for entry in used or ()])
        over = self._admit(known, time)
        step = Step(
            self._seconds(known, time),
            reading.utilization_ratio,
            None if used is None else _by_service(used, known),
            _of_nobody(used or (), known),
        )
        holdings = _holdings(held or (), known)
        here = [ServiceKey(service.namespace, service.name) for service in known.by_pid.values()]
        known.totals = advance(enrol(known.totals, here), step, comparable=comparable)
        self._forget(known, time)
        if reading.utilization_ratio is None and used is None:
            this.absent[names.GPU_BUSY.name] = this.absent[names.UNATTRIBUTED.name] = "not_supported"
        return GpuState(known.identity, reading, known.totals, dict(known.sources), holdings, this.absent, over)

    def _identify(self, index: int, time: float) -> _Gpu:
        known = self._at.get(index)
        if known is not None and 0.0 <= time - known.identified < IDENTITY_FOR:
            return known
        identity = self._driver.identity(index)
        known = self._known.setdefault(identity.uuid, _Gpu(identity, time))
        known.identity, known.identified = identity, time
        self._at[index] = known
        return known

    def _lose(self, index: int) -> None:
        """Forget where the next sample would measure from; the counters stay."""
        known = self._at.pop(index, None)
        if known is not None:
            known.sampled, known.newest_us, known.by_pid = None, 0, {}

    def _held(self, index: int, this: _Pass) -> Sequence[GpuProcess] | None:
        try:
            held = self._driver.processes(index)
        except DeviceError as error:
            self._absent(f"processes of GPU {index}", error, _HELD, this)
            return None
        self._notices.fine(f"processes of GPU {index}")
        return held

    def _used(self, index: int, known: _Gpu, this: _Pass) -> Sequence[ProcessUtilization] | None:
        try:
            used = self._driver.process_utilization(index, known.newest_us)
        except DeviceError as error:
            self._absent(f"process utilisation of GPU {index}", error, _SERVICE_TIME, this)
            return None
        self._notices.fine(f"process utilisation of GPU {index}")
        known.newest_us = max((entry.timestamp_us for entry in used), default=known.newest_us)
        return used

    def _absent(self, subject: str, error: DeviceError, metrics: Iterable[str], this: _Pass) -> None:
        this.absent.update(dict.fromkeys(metrics, error.reason))
        if error.reason != "not_supported":
            this.failed = True
            self._notices.problem(subject, str(error))

    def _comparable(self, known: _Gpu, this: _Pass) -> bool:
        """Whether waiting follows from shares of time here."""
        sharing = known.identity.sharing
        if sharing in ("mps", "mig"):
            this.absent.update(dict.fromkeys(_WAITING, sharing))
            return False
        return True

    def _resolve(self, known: _Gpu, pids: Iterable[int]) -> None:
        """Find the service of each process; one that has just ended keeps what it was known as."""
        before = known.by_pid
        known.by_pid = {
            pid: service for pid in sorted(set(pids)) if (service := self._resolver(pid) or before.get(pid)) is not None
        }

    def _admit(self, known: _Gpu, time: float) -> int:
        """Note which services are here; return how many there are beyond the limit, whose processes become nobody's."""
        over: set[ServiceKey] = set()
        for pid, service in list(known.by_pid.items()):
            key = ServiceKey(service.namespace, service.name)
            if key in known.seen or len(known.seen) < MAX_SERVICES:
                known.seen[key] = time
                known.sources.setdefault(key, service.source)
            else:
                over.add(key)
                del known.by_pid[pid]
        return len(over)

    @staticmethod
    def _seconds(known: _Gpu, time: float) -> float:
        """How long the sample lasted; 0 for the first, after a gap, and when time went back."""
        before, known.sampled = known.sampled, time
        seconds = 0.0 if before is None else time - before
        return seconds if 0.0 < seconds <= MAX_STEP else 0.0

    @staticmethod
    def _forget(known: _Gpu, time: float) -> None:
        gone = [key for key, seen in known.seen.items() if time - seen > FORGET_AFTER]
        for key in gone:
            del known.seen[key], known.sources[key]
        known.totals = forget(known.totals, gone)


def _key(known: _Gpu, pid: int) -> ServiceKey | None:
    service = known.by_pid.get(pid)
    return None if service is None else ServiceKey(service.namespace, service.name)


def _ratios(used: Iterable[ProcessUtilization]) -> Mapping[int, float]:
    """The mean share of each process; a driver may give several samples of one process."""
    ratios: dict[int, list[float]] = {}
    for entry in used:
        ratios.setdefault(entry.pid, []).append(entry.sm_ratio)
    return {pid: sum(values) / len(values) for pid, values in ratios.items()}


def _by_service(used: Iterable[ProcessUtilization], known: _Gpu) -> dict[ServiceKey, float]:
    shares: dict[ServiceKey, float] = {}
    for pid, ratio in _ratios(used).items():
        if (key := _key(known, pid)) is not None:
            shares[key] = shares.get(key, 0.0) + ratio
    return shares


def _of_nobody(used: Iterable[ProcessUtilization], known: _Gpu) -> float:
    return sum(ratio for pid, ratio in _ratios(used).items() if _key(known, pid) is None)


def _holdings(held: Iterable[GpuProcess], known: _Gpu) -> dict[ServiceKey, Holding]:
    holdings: dict[ServiceKey, Holding] = {}
    for pid, memory in held:
        if (key := _key(known, pid)) is not None:
            before = holdings.get(key, Holding(0, 0.0))
            both = None if memory is None or before.memory_used_bytes is None else memory + before.memory_used_bytes
            holdings[key] = Holding(before.processes + 1, both)
    return holdings
