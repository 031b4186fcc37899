"""What the exporter asks of a driver. NVML answers it for real, a device script for show; nobody above knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

Reason = Literal["not_supported", "no_permission", "lost", "not_found", "driver", "timeout"]
Sharing = Literal["time-slicing", "mps", "mig", "unknown"]
Clock = Literal["sm", "memory"]
Sensor = Literal["gpu", "memory"]
Throttle = Literal[
    "power", "thermal", "sync_boost", "board_limit", "low_utilization", "reliability", "hw_thermal", "power_brake"
]
"""Why a clock is held below what was asked: NVML's performance policies, without the two that repeat others."""
Severity = Literal["corrected", "uncorrected"]
LinkError = Literal["crc", "replay", "recovery"]


class DeviceError(Exception):
    """A driver call failed. `reason` is one of a few words fit for a label; the message is for people."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Identity:
    """What a GPU is; constant while it is present. `gpu` is its index as text, as in nvidia-smi."""

    gpu: str
    uuid: str
    model: str
    pci_bus_id: str
    driver_version: str
    cuda_version: str
    sharing: Sharing = "unknown"


@dataclass(frozen=True, slots=True)
class Instance:
    """A MIG compute instance. Its memory belongs to the GPU instance, which siblings share. Sizes in bytes."""

    uuid: str
    gpu_instance: int
    compute_instance: int
    profile: str
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """State of a GPU at one instant in base units; `None` where the device does not say (absent is never zero).

    `absent` gives the reason for a field that is None or empty, where it is another than `not_supported`.
    """

    utilization_ratio: float | None = None
    memory_busy_ratio: float | None = None
    memory_used_bytes: float | None = None
    memory_free_bytes: float | None = None
    memory_reserved_bytes: float | None = None
    memory_total_bytes: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    temperature_celsius: Mapping[Sensor, float] = field(default_factory=dict)
    clock_hertz: Mapping[Clock, float] = field(default_factory=dict)
    instances: tuple[Instance, ...] = ()
    absent: Mapping[str, Reason] = field(default_factory=dict)


class LinkBytes(NamedTuple):
    """What an NVLink carried. Bytes."""

    transmit: float
    receive: float


@dataclass(frozen=True, slots=True)
class Counters:
    """The device's own counters, as it gives them: they may wrap at 2**32 or 2**64 of their unit and start again.

    Seconds, bytes, joules. `wraps` gives for a field the value at which it wraps, where that is known; `absent` as in
    `Reading`.
    """

    energy_joules: float | None = None
    throttled_seconds: Mapping[Throttle, float] = field(default_factory=dict)
    pcie_transmit_bytes: float | None = None
    pcie_receive_bytes: float | None = None
    nvlink_transmit_bytes: float | None = None
    nvlink_receive_bytes: float | None = None
    nvlink_links: Mapping[int, LinkBytes] = field(default_factory=dict)
    """By link; only where the driver was asked for each link."""
    wraps: Mapping[str, float] = field(default_factory=dict)
    absent: Mapping[str, Reason] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """What tells a sick GPU from a busy one. Counts are the device's own, and may start again; `absent`: as above."""

    clock_max_hertz: Mapping[Clock, float] = field(default_factory=dict)
    ecc_errors: Mapping[Severity, float] = field(default_factory=dict)
    remapped_rows: Mapping[Severity, float] = field(default_factory=dict)
    row_remap_pending: bool | None = None
    row_remap_failed: bool | None = None
    nvlink_errors: Mapping[LinkError, float] = field(default_factory=dict)
    nvlink_links: int | None = None
    """Links the device has."""
    nvlink_links_up: int | None = None
    pcie_replays: float | None = None
    pcie_link_width: int | None = None
    pcie_link_width_max: int | None = None
    pcie_link_generation: int | None = None
    pcie_link_generation_max: int | None = None
    absent: Mapping[str, Reason] = field(default_factory=dict)


class GpuProcess(NamedTuple):
    """A process that holds a GPU. Memory in bytes, None where the driver does not say."""

    pid: int
    memory_used_bytes: float | None


class UtilizationSample(NamedTuple):
    """The share 0…1 of the time before `timestamp_us` (the driver's CPU clock, µs) during which a kernel ran."""

    timestamp_us: int
    ratio: float


class ProcessUtilization(NamedTuple):
    """The share 0…1 of SM time a process had in the sample ending at `timestamp_us` (the driver's CPU clock, µs)."""

    pid: int
    timestamp_us: int
    sm_ratio: float


class Xid(NamedTuple):
    """An error that the driver reported of a GPU, by NVIDIA's XID number."""

    uuid: str
    xid: int


class Driver(Protocol):
    """The GPUs of one host. Every method may raise `DeviceError`; one GPU's failure says nothing of the others.

    `gpu` is the index below `count()`. Calls for different GPUs may come from different threads at once.
    """

    def count(self) -> int:
        """How many GPUs the driver expects, lost ones included; 0 where there is no driver."""
        ...

    def identity(self, gpu: int) -> Identity:
        """What the GPU is."""
        ...

    def utilization(self, gpu: int, since_us: int) -> Sequence[UtilizationSample]:
        """The samples that the driver keeps, those newer than `since_us`, oldest first; empty while there are none.

        Cheap. An idle GPU may have none. DeviceError "not_supported" where the driver keeps no samples.
        """
        ...

    def process_utilization(self, gpu: int, since_us: int) -> Sequence[ProcessUtilization]:
        """Samples newer than `since_us` of processes that were active; empty when all were idle. Cheap.

        Pass the largest timestamp already seen (NVML: the argument is a time, not a pid); 0 at first.
        """
        ...

    def read(self, gpu: int) -> Reading:
        """Its state now."""
        ...

    def counters(self, gpu: int) -> Counters:
        """Its counters now."""
        ...

    def health(self, gpu: int) -> Health:
        """Its health now. Dear; asked for every ten seconds."""
        ...

    def processes(self, gpu: int) -> Sequence[GpuProcess]:
        """The processes that hold it, compute, graphics and MPS."""
        ...

    def xids(self, timeout: float) -> Sequence[Xid]:
        """The errors reported since the last call; waits up to `timeout` seconds for the first. Never from two threads.

        DeviceError "not_supported" where the driver reports none.
        """
        ...

    def close(self) -> None:
        """Let go of the driver. Returns without doing so while a call hangs."""
        ...
