"""What one pass over the host found: frozen values between the readers and the exposition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from foreshock_exporter.device import Identity, Reading
from foreshock_exporter.service import Source
from foreshock_exporter.sharing import ServiceKey, Totals


class Holding(NamedTuple):
    """What a service holds of a GPU. Memory in bytes; None where the driver does not say it for every process."""

    processes: int
    memory_used_bytes: float | None


@dataclass(frozen=True, slots=True)
class GpuState:
    """One GPU that answered.

    `absent` maps the names of metrics it does not give now to the reason; `services_over_limit` are not told apart.
    """

    identity: Identity
    reading: Reading
    totals: Totals
    sources: Mapping[ServiceKey, Source] = field(default_factory=dict)
    holdings: Mapping[ServiceKey, Holding] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    services_over_limit: int = 0


@dataclass(frozen=True, slots=True)
class GpuSnapshot:
    """The GPUs of the host. `lost` tells of every GPU ever seen, by uuid; `failed`: some call to the driver did."""

    time: float
    expected: int
    gpus: tuple[GpuState, ...]
    lost: Mapping[str, bool] = field(default_factory=dict)
    failed: bool = False


@dataclass(frozen=True, slots=True)
class InterfaceCounters:
    """Counters of a network interface since it came up; None where the system does not say."""

    device: str
    receive_bytes: float | None = None
    receive_packets: float | None = None
    receive_errors: float | None = None
    receive_drops: float | None = None
    transmit_bytes: float | None = None
    transmit_packets: float | None = None
    transmit_errors: float | None = None
    transmit_drops: float | None = None
    up: bool | None = None
    speed_bytes: float | None = None


class NetworkReader(Protocol):
    """Reads the interfaces of the host now. Raises OSError or ValueError with a message for people."""

    def __call__(self) -> tuple[InterfaceCounters, ...]:
        """One entry for each interface."""
        ...


@dataclass(frozen=True, slots=True)
class Pressure:
    """Pressure stall totals of the host in seconds since boot; None where the kernel does not keep one."""

    cpu_waiting: float | None = None
    io_waiting: float | None = None
    io_stalled: float | None = None
    memory_waiting: float | None = None
    memory_stalled: float | None = None
    irq_stalled: float | None = None


class PressureReader(Protocol):
    """Reads the pressure totals now. Raises OSError or ValueError with a message for people."""

    def __call__(self) -> Pressure:
        """The totals."""
        ...


@dataclass(frozen=True, slots=True)
class CollectorRun:
    """How a collector's last run went; times in seconds."""

    collector: str
    success: bool
    duration: float
    finished: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a scrape tells. A part that has not been read, or failed, is None or empty."""

    host_id: str
    host_name: str
    version: str
    python_version: str
    mock: bool
    gpus: GpuSnapshot | None = None
    network: tuple[InterfaceCounters, ...] = ()
    pressure: Pressure | None = None
    runs: tuple[CollectorRun, ...] = ()
