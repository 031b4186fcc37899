"""What the exporter asks of a driver. NVML answers it for real, a mock or a simulator for show; nobody above knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

Reason = Literal["not_supported", "no_permission", "lost", "not_found", "driver", "timeout"]
Sharing = Literal["time-slicing", "mps", "mig", "unknown"]


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
class Reading:
    """State of a GPU at one instant in base units; `None` where the device does not say (absent is never zero)."""

    utilization_ratio: float | None = None
    memory_busy_ratio: float | None = None
    memory_used_bytes: float | None = None
    memory_free_bytes: float | None = None
    memory_reserved_bytes: float | None = None
    memory_total_bytes: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    energy_joules: float | None = None
    temperature_celsius: float | None = None


class GpuProcess(NamedTuple):
    """A process that holds a GPU. Memory in bytes, None where the driver does not say."""

    pid: int
    memory_used_bytes: float | None


class ProcessUtilization(NamedTuple):
    """The share 0…1 of SM time a process had in the sample ending at `timestamp_us` (the driver's CPU clock, µs)."""

    pid: int
    timestamp_us: int
    sm_ratio: float


class Driver(Protocol):
    """The GPUs of one host. Every method may raise `DeviceError`; one GPU's failure says nothing of the others.

    `gpu` is the index below `count()`.
    """

    def count(self) -> int:
        """How many GPUs the driver expects, lost ones included; 0 where there is no driver."""
        ...

    def identity(self, gpu: int) -> Identity:
        """What the GPU is."""
        ...

    def read(self, gpu: int) -> Reading:
        """Its state now."""
        ...

    def processes(self, gpu: int) -> Sequence[GpuProcess]:
        """The processes that hold it, compute, graphics and MPS."""
        ...

    def process_utilization(self, gpu: int, since_us: int) -> Sequence[ProcessUtilization]:
        """Samples newer than `since_us` of processes that were active; empty when all were idle.

        Pass the largest timestamp already seen (NVML: the argument is a time, not a pid); 0 at first.
        """
        ...

    def close(self) -> None:
        """Let go of the driver."""
        ...
