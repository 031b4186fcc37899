"""What is known of the host at one moment: frozen values between the readers and the exposition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from foreshock_exporter.gpu.contention import ServiceKey, Totals
from foreshock_exporter.gpu.driver_samples import BusyHistogram
from foreshock_exporter.gpu.pools import UnmatchedRule
from foreshock_exporter.gpu.tenants import Holding
from foreshock_exporter.gpu.watchdog import CallKey
from foreshock_exporter.model.device import Counters, Health, Identity, Reading
from foreshock_exporter.model.family import Families
from foreshock_exporter.model.service import Source


@dataclass(frozen=True, slots=True)
class GpuState:
    """One GPU that answered. Its counters never go back.

    A part that has not been read, or could not be, is None. `absent` maps the names of metrics that it does not give
    now to the reason, besides what the parts themselves say; `services_over_limit` are not told apart. `dropped` counts
    fast samples left out, by reason.
    """

    identity: Identity
    reading: Reading
    totals: Totals
    bursts: BusyHistogram
    counters: Counters | None = None
    health: Health | None = None
    sources: Mapping[ServiceKey, Source] = field(default_factory=dict)
    holdings: Mapping[ServiceKey, Holding] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    services_over_limit: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)


class XidCount(NamedTuple):
    """How many times an XID was reported of a GPU, and when last (Unix seconds)."""

    gpu: str
    uuid: str
    xid: str
    times: int
    last: float


@dataclass(frozen=True, slots=True)
class GpuSnapshot:
    """The GPUs of the host. `lost` tells of every GPU ever seen, by uuid, what it is and whether it no longer answers;
    `calls` are seconds of calls in flight. `pools` are by UUID of a GPU or MIG instance; `vain` is what else was said
    of pools.
    """

    expected: int
    gpus: tuple[GpuState, ...]
    lost: Mapping[str, tuple[Identity, bool]] = field(default_factory=dict)
    xids: tuple[XidCount, ...] = ()
    calls: Mapping[CallKey, float] = field(default_factory=dict)
    pools: Mapping[str, str] = field(default_factory=dict)
    vain: tuple[UnmatchedRule, ...] = ()


@dataclass(frozen=True, slots=True)
class CollectorRun:
    """How a collector's last run went; times in seconds."""

    collector: str
    success: bool
    duration: float
    finished: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a scrape tells. A part that has not been read, or failed, is None or missing.

    `host` has the families of each collector of the host, by its name.
    """

    host_id: str
    host_name: str
    version: str
    python_version: str
    mock: bool
    gpus: GpuSnapshot | None = None
    host: Mapping[str, Families] = field(default_factory=dict)
    runs: tuple[CollectorRun, ...] = ()
