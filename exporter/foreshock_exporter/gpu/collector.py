"""Collection of one GPU: fast samples at every pass, its state every second, its health every ten seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

from foreshock_exporter.common.log import ProblemLog, log
from foreshock_exporter.gpu import limits
from foreshock_exporter.gpu.contention import FastSample, ServiceKey
from foreshock_exporter.gpu.monotonic import (
    MAX_FAST_WRAP,
    CounterStates,
    follow,
    make_monotonic,
    with_activity_bytes,
)
from foreshock_exporter.gpu.occupancy import Observation
from foreshock_exporter.gpu.pools import Pools
from foreshock_exporter.gpu.snapshot import GpuState
from foreshock_exporter.gpu.tenants import Holding, Tenants
from foreshock_exporter.gpu.utilization import MAX_GAP_SECONDS, SERVICE_TIME_METRICS, Accumulated, UtilizationSampler
from foreshock_exporter.model import metrics
from foreshock_exporter.model.device import (
    Activity,
    AerErrorType,
    Counters,
    DeviceError,
    Driver,
    Health,
    Identity,
    Reading,
)
from foreshock_exporter.model.family import label_value
from foreshock_exporter.model.service import Resolver

STATE_INTERVAL_SECONDS = 1.0
"""Interval between reads of reading, counters, and processes."""
HEALTH_INTERVAL_SECONDS = 10.0
"""Interval between reads of `Health`, which is expensive to read and changes slowly."""
MAX_UNKNOWN_SHARING_READS = 10
"""Reads in a row that do not say how a GPU is shared, until what the last one said no longer holds."""
RETRY_AFTER_SECONDS = 1.0
"""Delay before a GPU that failed twice in a row is tried again."""
_PROCESS_METRICS = (metrics.SERVICE_MEMORY.name, metrics.SERVICE_PROCESSES.name)
_MPS_METRICS = tuple(family.name for family in metrics.MPS_FAMILIES)
_ATTRIBUTED_METRICS = (*SERVICE_TIME_METRICS, *_PROCESS_METRICS, metrics.SERVICE_RESOURCE_WAIT.name)
_COUNTER_FIELDS = tuple(part.name for part in fields(Counters) if part.name not in ("wraps", "absent"))
_ACTIVITY_FIELDS = tuple(part.name for part in fields(Activity) if part.name not in ("instances", "absent"))
_HEALTH_FIELDS = tuple(part.name for part in fields(Health) if part.name != "absent")

_T = TypeVar("_T")
Observe = Callable[[Observation], None]
AerErrors = Callable[[str], Mapping[AerErrorType, float]]
"""PCIe errors by `error_type` of the device at a PCI address as in `Identity`; empty if the kernel has none."""


@dataclass(slots=True)
class GpuRecord:
    """State of a GPU by its UUID, kept for the lifetime of the exporter even if its index changes."""

    identity: Identity
    """Most recent identity; `_set_identity` describes its sharing mode."""
    tenants: Tenants
    accumulated: Accumulated = field(default_factory=Accumulated)
    counter_states: CounterStates = field(default_factory=dict)
    bytes_from_activity: set[str] = field(default_factory=set)
    """Fields of `counters` last taken from `Activity`."""
    unknown_sharing_reads: int = 0
    """Reads in a row that did not say how the GPU is shared."""


@dataclass(slots=True)
class _Session:
    """Latest values from the first successful call to the next failure. Times in seconds of the exporter's clock."""

    record: GpuRecord
    sampler: UtilizationSampler
    state_read_at: float | None = None
    health_read_at: float | None = None
    fast_wraps: frozenset[str] = frozenset()
    """Fields of `counters` that wrap within seconds on a busy link."""
    reading: Reading = field(default_factory=Reading)
    counters: Counters | None = None
    health: Health | None = None
    activity: Activity | None = None
    holdings: dict[ServiceKey, Holding] = field(default_factory=dict)
    use: limits.Use | None = None
    absent: dict[str, str] = field(default_factory=dict)
    unlimited: Mapping[limits.Resource, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GpuOptions:
    """How the GPUs of a host are collected.

    Attributes:
        expected: lower bound of the number of GPUs, whether or not the driver lists them. Reads nothing.
        drivers_up: whether each of several drivers could list its GPUs at the last count, by name.
        health: whether to collect `Health`.
        unattributed: reason why no process can be attributed, as a label value, or "".
        observe: callback for each fast sample with services, called from any thread.
        pools: pool rules.
        aer_errors: PCIe errors of a GPU, counted by the kernel.
    """

    expected: Callable[[], int] = lambda: 0
    drivers_up: Callable[[], Mapping[str, bool]] = dict
    health: bool = True
    unattributed: str = ""
    observe: Observe | None = None
    pools: Pools = field(default_factory=Pools)
    aer_errors: AerErrors | None = None


class GpuCollector:
    """Collects one GPU at the times passed to `collect`. Has no thread and no clock.

    `state` is None while the GPU does not respond.
    """

    def __init__(
        self,
        index: int,
        driver: Driver,
        resolver: Resolver,
        records: dict[str, GpuRecord],
        problems: ProblemLog,
        options: GpuOptions,
    ) -> None:
        self._index = index
        self._driver = driver
        self._resolver = resolver
        self._records = records
        self._problems = problems
        self._options = options
        unattributed = _ATTRIBUTED_METRICS if options.unattributed else ()
        self._unattributed_metrics = dict.fromkeys(unattributed, options.unattributed)
        self._session: _Session | None = None
        self._retry_at = float("-inf")
        self._failing: set[str] = set()
        self._must_identify = False
        self.state: GpuState | None = None

    @property
    def failed(self) -> bool:
        """Whether any call has failed since its last success; see `_call_driver`."""
        return bool(self._failing)

    def reidentify(self) -> None:
        """Make the next pass identify the GPU before it counts anything. Thread-safe."""
        self._must_identify = True

    def fail(self, error: str) -> None:
        """Record an unexpected exception of a pass; `state` is None until a pass succeeds."""
        self._failing.add("pass")
        self._problems.report(f"GPU {self._index}", error)
        self._session, self.state = None, None

    def collect(self, time: float) -> None:
        """Collect the GPU at `time`, in seconds of a monotonic clock. Never raises `DeviceError`."""
        if time < self._retry_at:
            return
        try:
            session = self._identify(time)
            state_due = self._read(session, time)
            sample = session.sampler.sample(time, session.reading.utilization_ratio, state_due)
            if sample is not None:
                self._notify(session, sample, time)
            self._set_outcome("process utilization", not session.sampler.failed)
            if sample is not None or state_due:
                self.state = self._build_state(session, time)
        except DeviceError as error:
            self._problems.report(f"GPU {self._index}", f"{error}{self._description()}")
            self._mark_lost(time)
        else:
            self._failing -= {"GPU", "pass"}
            self._problems.resolve(f"GPU {self._index}")

    def _identify(self, time: float) -> _Session:
        """Session of the GPU now at this index. Runs before counting: indexes shift as GPUs come and go."""
        session = self._session
        if (
            session is not None
            and not self._must_identify
            and not _due(session.state_read_at, time, STATE_INTERVAL_SECONDS)
        ):
            return session
        self._must_identify = False
        identity = self._driver.identity(self._index)
        record = self._records.get(identity.uuid)
        if record is None:
            record = self._records[identity.uuid] = GpuRecord(identity, Tenants(self._resolver))
            log.info("GPU %d is %s", self._index, describe(identity))
        if session is None or record is not session.record:
            sampler = UtilizationSampler(self._index, self._driver, record.accumulated, record.tenants, self._problems)
            session, self._failing = _Session(record, sampler), set()
        if identity.sharing != "unknown":
            record.unknown_sharing_reads = 0
        elif record.unknown_sharing_reads < MAX_UNKNOWN_SHARING_READS:
            record.unknown_sharing_reads += 1
            identity = replace(identity, sharing=record.identity.sharing)
        _set_identity(session, identity, time)
        self._session = session
        return session

    def _mark_lost(self, time: float) -> None:
        """End the session and keep the counters. The next retry is immediate, later ones every second."""
        if self._session is None:
            self._retry_at = time + RETRY_AFTER_SECONDS
        else:
            self._session.record.tenants.clear()
        self._session, self.state = None, None
        self._failing.add("GPU")

    def _read(self, session: _Session, time: float) -> bool:
        """Read the values that are due. Return whether the GPU's state was among them."""
        state_due = _due(session.state_read_at, time, STATE_INTERVAL_SECONDS)
        if state_due:
            session.reading = self._driver.read(self._index)
            self._read_processes(session, time)
            session.activity = self._read_activity(session)
            session.state_read_at = time
        if session.fast_wraps and not state_due:
            self._follow_wraps(session)
        if state_due:
            counters = self._call_driver(self._driver.counters, "counters")
            if isinstance(counters, DeviceError):
                counters = Counters(absent=dict.fromkeys(_COUNTER_FIELDS, counters.reason))
            record = session.record
            counters = with_activity_bytes(
                record.counter_states, counters, session.activity, record.bytes_from_activity
            )
            session.fast_wraps = frozenset(name for name, wraps in counters.wraps.items() if wraps <= MAX_FAST_WRAP)
            session.counters = make_monotonic(record.counter_states, counters)
        if self._options.health and _due(session.health_read_at, time, HEALTH_INTERVAL_SECONDS):
            health = self._call_driver(self._driver.health, "health")
            if isinstance(health, DeviceError):
                health = Health(absent=dict.fromkeys(_HEALTH_FIELDS, health.reason))
            if self._options.aer_errors is not None:
                health = replace(health, pcie_aer_errors=self._options.aer_errors(session.record.identity.pci_bus_id))
            session.health = make_monotonic(session.record.counter_states, health)
            session.health_read_at = time
        if state_due:
            self._add_limits(session, time)
        return state_due

    def _follow_wraps(self, session: _Session) -> None:
        """Read the counters that wrap within seconds; their values change when the state is read."""
        counters = self._call_driver(lambda gpu: self._driver.counters(gpu, session.fast_wraps), "counters")
        if not isinstance(counters, DeviceError):
            follow(session.record.counter_states, counters, session.fast_wraps)

    def _add_limits(self, session: _Session, time: float) -> None:
        """Count the interval since the last reading for the resources that were at their limit."""
        record, sharing, before = session.record, session.record.identity.sharing, session.use
        totals, maximum = record.accumulated.totals, limits.maxima(session.health)
        session.use = limits.Use(
            time,
            limits.used_amounts(session.activity, session.counters),
            totals.busy,
            None if metrics.SERVICE_BUSY.name in session.sampler.absent else totals.service_busy,
            limits.slowdown(session.reading, session.health),
        )
        session.unlimited = limits.unknown_reasons(session.use, maximum, session.activity, session.counters, sharing)
        if before is not None and 0.0 < time - before.time <= MAX_GAP_SECONDS:
            totals = limits.add_interval(totals, before, session.use, maximum, sharing, record.tenants.pids)
            record.accumulated.totals = totals

    def _read_activity(self, session: _Session) -> Activity | None:
        instances = {instance.gpu_instance for instance in session.reading.instances}
        activity = self._call_driver(lambda gpu: self._driver.activity(gpu, instances), "activity")
        if isinstance(activity, DeviceError):
            absent = Activity(absent=dict.fromkeys(_ACTIVITY_FIELDS, activity.reason))
            return replace(absent, instances=dict.fromkeys(instances, absent))
        return activity and make_monotonic(session.record.counter_states, activity)

    def _read_processes(self, session: _Session, time: float) -> None:
        """Update tenants and holdings from the processes that use the GPU."""
        result = self._call_driver(self._driver.processes, "processes")
        processes = None if isinstance(result, DeviceError) else result
        names = (*_PROCESS_METRICS, *(_MPS_METRICS if session.record.tenants.used_mps else ()))
        session.absent = dict.fromkeys(names, result.reason) if isinstance(result, DeviceError) else {}
        session.record.tenants.update(processes, time)
        _set_identity(session, session.record.identity, time)
        session.sampler.match_tenants(time)
        session.holdings = session.record.tenants.holdings(processes.listed if processes else ())

    def _call_driver(self, call: Callable[[int], _T], subject: str) -> _T | DeviceError:
        """Result of the call, or its error. Errors other than "not_supported" and "suspended" are logged.

        A lack of permission lasts: it has its reason and one line in the log, but is no failure.
        """
        try:
            result = call(self._index)
        except DeviceError as error:
            self._set_outcome(subject, error.reason in ("not_supported", "suspended", "no_permission"))
            if error.reason not in ("not_supported", "suspended"):
                self._problems.report(f"{subject} of GPU {self._index}", f"{error}{self._description()}")
            return error
        self._set_outcome(subject, True)
        self._problems.resolve(f"{subject} of GPU {self._index}")
        return result

    def _set_outcome(self, subject: str, succeeded: bool) -> None:
        (self._failing.discard if succeeded else self._failing.add)(subject)

    def _description(self) -> str:
        """Identity of the GPU in parentheses for log messages; empty if unknown."""
        return f" ({describe(self._session.record.identity)})" if self._session else ""

    def _notify(self, session: _Session, sample: FastSample, time: float) -> None:
        observe, identity, pids = self._options.observe, session.record.identity, session.record.tenants.pids
        if observe is not None and sample.shares:
            observe(Observation(identity.uuid, identity.gpu, time - sample.seconds, time, sample.shares, pids))

    def _build_state(self, session: _Session, time: float) -> GpuState:
        record = session.record
        return GpuState(
            identity=record.identity,
            reading=session.reading,
            totals=record.accumulated.totals,
            busy_histogram=record.accumulated.busy_histogram,
            counters=session.counters,
            health=session.health,
            activity=session.activity,
            sources=dict(record.tenants.sources),
            holdings=session.holdings,
            jobs=record.tenants.jobs,
            mps=record.tenants.mps,
            absent={**self._unattributed_metrics, **session.absent, **session.sampler.absent},
            unlimited=session.unlimited,
            pids=record.tenants.pids,
            services_over_limit=record.tenants.over_limit,
            dropped=dict(record.accumulated.dropped),
            passed_at=time,
            read_at=time if session.state_read_at is None else session.state_read_at,
        )


def _set_identity(session: _Session, identity: Identity, time: float) -> None:
    """Set the identity. A GPU with an MPS server is shared by it, whether or not the driver lists clients."""
    if session.record.tenants.has_mps_server and identity.sharing in ("time-slicing", "unknown"):
        identity = replace(identity, sharing="mps")
    session.record.identity = identity
    session.sampler.set_sharing(identity.sharing, time)


def describe(identity: Identity) -> str:
    """UUID, model, and PCI address of a GPU for log messages."""
    parts = (identity.uuid, identity.model, identity.pci_bus_id and f"PCI {identity.pci_bus_id}")
    return ", ".join(label_value(part) for part in parts if part)


def _due(last: float | None, time: float, interval: float) -> bool:
    """Whether `interval` seconds have passed since `last`. True if the clock went backward."""
    return last is None or not 0.0 <= time - last < interval - 1e-3
