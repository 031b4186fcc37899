"""Snapshot of the host at one moment: immutable values between collection and exposition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from foreshock_exporter.gpu.contention import ServiceKey, Totals
from foreshock_exporter.gpu.driver_samples import BusyHistogram
from foreshock_exporter.gpu.limits import Resource
from foreshock_exporter.gpu.pools import UnmatchedRule
from foreshock_exporter.gpu.tenants import Holding, MpsState
from foreshock_exporter.gpu.watchdog import CallKey
from foreshock_exporter.model.device import Activity, Counters, Health, Identity, Reading
from foreshock_exporter.model.family import Families
from foreshock_exporter.model.service import AttributedService, Source


@dataclass(frozen=True, slots=True)
class GpuState:
    """State of one GPU that responds.

    A part that was not read or failed is None. `absent` maps missing metrics to the reason, in addition to the `absent`
    of each part; `unlimited` maps resources without time at their limit to the reason. `pids` are the processes of each
    service. `services_over_limit` counts services beyond the limit. `dropped` counts fast samples left out, by reason.
    `passed_at` is the time of the last fast sample, `read_at` that of reading, counters, and activity, in seconds of
    the exporter's clock.
    """

    identity: Identity
    reading: Reading
    totals: Totals
    busy_histogram: BusyHistogram
    counters: Counters | None = None
    health: Health | None = None
    activity: Activity | None = None
    sources: Mapping[ServiceKey, Source] = field(default_factory=dict)
    holdings: Mapping[ServiceKey, Holding] = field(default_factory=dict)
    jobs: Mapping[ServiceKey, tuple[str, ...]] = field(default_factory=dict)
    mps: MpsState | None = None
    absent: Mapping[str, str] = field(default_factory=dict)
    unlimited: Mapping[Resource, str] = field(default_factory=dict)
    pids: Mapping[ServiceKey, tuple[int, ...]] = field(default_factory=dict)
    services_over_limit: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    passed_at: float = 0.0
    read_at: float = 0.0


class XidCount(NamedTuple):
    """Number of reports of an XID and Unix time of the last one."""

    gpu: str
    uuid: str
    xid: str
    times: int
    last: float


class ServiceXidCount(NamedTuple):
    """Number of errors with an XID that a process of the service reported."""

    gpu: str
    uuid: str
    service: AttributedService
    xid: str
    times: int


@dataclass(frozen=True, slots=True)
class GpuSnapshot:
    """GPUs of the host.

    `lost` has, by UUID, the identity of every GPU ever seen and whether it is lost. `call_ages` are seconds of calls in
    flight. `pools` are by UUID of a GPU or MIG instance. `sxids` are numbers of errors of NVSwitches by PCI address,
    SXID, and `error_type`. `drivers_up` is by name of a driver.
    """

    expected: int
    gpus: tuple[GpuState, ...]
    lost: Mapping[str, tuple[Identity, bool]] = field(default_factory=dict)
    xids: tuple[XidCount, ...] = ()
    service_xids: tuple[ServiceXidCount, ...] = ()
    sxids: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    call_ages: Mapping[CallKey, float] = field(default_factory=dict)
    pools: Mapping[str, str] = field(default_factory=dict)
    unmatched_rules: tuple[UnmatchedRule, ...] = ()
    drivers_up: Mapping[str, bool] = field(default_factory=dict)


class CollectorRun(NamedTuple):
    """Result of a collector's last run. Duration in seconds, `finished` in Unix seconds."""

    collector: str
    success: bool
    duration: float
    finished: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that one scrape exposes. A part that was not read or failed is None or missing.

    `first_calls` are seconds of calls in flight while `gpus` is None, because the first count has not returned.
    `host` has the metric families of each host collector by its name.
    """

    host_id: str
    host_name: str
    version: str
    python_version: str
    mock: bool
    gpus: GpuSnapshot | None = None
    host: Mapping[str, Families] = field(default_factory=dict)
    runs: tuple[CollectorRun, ...] = ()
    first_calls: Mapping[CallKey, float] = field(default_factory=dict)
