"""The driver protocol and its values. Implementations: NVML, the kernel's DRM drivers, and device scripts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

Reason = Literal["not_supported", "no_permission", "lost", "not_found", "driver", "timeout", "suspended"]
Sharing = Literal["time-slicing", "mps", "mig", "concurrent", "partitioned", "unknown"]
"""How processes share a GPU. "concurrent" runs kernels of several at once; "partitioned" is for partitions of AMD."""
Clock = Literal["sm", "memory"]
Sensor = Literal["gpu", "memory", "junction"]
Throttle = Literal[
    "power", "thermal", "sync_boost", "board_limit", "low_utilization", "reliability", "hw_thermal", "power_brake"
]
"""Reasons for throttled clocks: NVML's performance policies, without the two that repeat others."""
ErrorType = Literal["corrected", "uncorrected"]
LinkError = Literal["crc", "replay", "recovery"]
NewLinkError = Literal["recovery_failed", "overrun", "integrity", "discard", "effective", "symbol", "replay_repeated"]
"""Errors that only NVLink 5 counts, and the last one, which only C2C links have."""
BitErrors = Literal["effective", "symbol"]
"""Bit errors after and before forward error correction."""
MemoryLocation = Literal["dram", "sram", "l1", "l2", "register_file", "texture", "cbu"]
"""Memories with ECC. On Ampere and newer, "sram" contains all others but "dram"."""
RecoveryAction = Literal[
    "none",
    "gpu_reset",
    "node_reboot",
    "drain_p2p",
    "drain_and_reset",
    "recover_imex_domain",
    "bus_reset",
    "system_reboot",
    "other",
]
"""NVML_GPU_RECOVERY_ACTION_… in the order of their numbers, and any later one."""
FabricState = Literal["not_started", "in_progress", "completed", "failed"]
"""Registration of the GPU with the NVLink fabric; "failed" is completed with an error."""
FabricCondition = Literal[
    "healthy",
    "degraded_bandwidth",
    "route_recovery",
    "route_unhealthy",
    "access_timeout_recovery",
    "incorrect_configuration",
    "no_partition",
    "fabric_manager_disconnected",
]
ConfidentialComputing = Literal["off", "on", "devtools", "bare_metal"]
Repair = Literal["memory_channel", "tpc"]
PowerProfile = Literal["requested", "enforced"]
AerErrorType = Literal["correctable", "nonfatal", "fatal"]
"""Types of errors in PCIe Advanced Error Reporting."""
Pipe = Literal["tensor_hmma", "tensor_imma", "tensor_dfma", "tensor_dmma", "fp64", "fp32", "fp16", "integer"]
"""Execution pipes of the SMs."""
Engine = Literal["graphics", "nvdec", "nvenc", "nvjpg", "nvofa"]
"""Engines of the GPU; "graphics" also runs compute work."""


class DeviceError(Exception):
    """Failed driver call. `reason` is a label value; the message is for the log."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity of a GPU; constant while it is present.

    gpu: its index as in nvidia-smi, which those of other vendors follow. minor: the number of its device file
    /dev/nvidiaN, "" where unknown.
    """

    gpu: str
    uuid: str
    model: str
    pci_bus_id: str
    driver_version: str
    cuda_version: str
    sharing: Sharing = "unknown"
    minor: str = ""
    vendor: str = "NVIDIA"


@dataclass(frozen=True, slots=True)
class Instance:
    """MIG compute instance. Memory in bytes and placement belong to the GPU instance, which siblings share.

    placement_start: index of its first memory slice. placement_size: number of its memory slices.
    """

    uuid: str
    gpu_instance: int
    compute_instance: int
    profile: str
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    placement_start: int | None = None
    placement_size: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """State of a GPU at one instant in base units; None if the device does not report a value.

    `absent` has the reason of a field that is None or empty, here or in `instances`, unless it is "not_supported".
    """

    utilization_ratio: float | None = None
    memory_busy_ratio: float | None = None
    memory_used_bytes: float | None = None
    memory_free_bytes: float | None = None
    memory_reserved_bytes: float | None = None
    memory_total_bytes: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    module_power_watts: float | None = None
    """Of a module with a CPU of NVIDIA and the GPU."""
    module_power_limit_watts: float | None = None
    temperature_celsius: Mapping[Sensor, float] = field(default_factory=dict)
    clock_hertz: Mapping[Clock, float] = field(default_factory=dict)
    instances: tuple[Instance, ...] = ()
    absent: Mapping[str, Reason] = field(default_factory=dict)


class LinkBytes(NamedTuple):
    """Bytes over one NVLink."""

    transmit: float
    receive: float


@dataclass(frozen=True, slots=True)
class Counters:
    """Raw counters of the device in seconds, bytes, and joules. They may wrap or reset.

    `wraps` has the value at which a field wraps, if known. `absent` as in `Reading`; "throttled_seconds/REASON" is one
    reason for throttled clocks that is missing among others, also if it is "not_supported".
    """

    energy_joules: float | None = None
    throttled_seconds: Mapping[Throttle, float] = field(default_factory=dict)
    pcie_transmit_bytes: float | None = None
    pcie_receive_bytes: float | None = None
    nvlink_transmit_bytes: float | None = None
    nvlink_receive_bytes: float | None = None
    nvlink_links: Mapping[int, LinkBytes] = field(default_factory=dict)
    """Bytes by link; empty unless requested per link."""
    xgmi_transmit_bytes: float | None = None
    """Over all XGMI links of an AMD GPU."""
    xgmi_receive_bytes: float | None = None
    wraps: Mapping[str, float] = field(default_factory=dict)
    absent: Mapping[str, Reason] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Activity:
    """Activity of a GPU or GPU instance as integrals over time, which may reset. `absent` as in `Reading`.

    Seconds are shares of 0 to 1, integrated over time: of SMs with work, of warps resident on them, of any tensor
    operations, of peak DRAM bandwidth, of time in context switches, and of busy pipes and engines, averaged over the
    units of a kind.
    """

    sm_seconds: float | None = None
    occupancy_seconds: float | None = None
    tensor_seconds: float | None = None
    dram_seconds: float | None = None
    context_switch_seconds: float | None = None
    pipe_seconds: Mapping[Pipe, float] = field(default_factory=dict)
    engine_seconds: Mapping[Engine, float] = field(default_factory=dict)
    pcie_transmit_bytes: float | None = None
    """Bytes since the first reading; used where `Counters.pcie_transmit_bytes` is missing or has 32 bits."""
    pcie_receive_bytes: float | None = None
    c2c_transmit_bytes: float | None = None
    """Bytes to the CPU of the module since the first reading."""
    c2c_receive_bytes: float | None = None
    instances: Mapping[int, Activity] = field(default_factory=dict)
    """Activity of MIG GPU instances by ID, as shares of the instance."""
    absent: Mapping[str, Reason] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """Slowly changing state that distinguishes a failing GPU from a busy one. Counts may reset. `absent` as in
    `Reading`.
    """

    clock_max_hertz: Mapping[Clock, float] = field(default_factory=dict)
    clock_application_hertz: Mapping[Clock, float] = field(default_factory=dict)
    ecc_errors: Mapping[ErrorType, float] = field(default_factory=dict)
    ecc_location_errors: Mapping[tuple[MemoryLocation, ErrorType], float] = field(default_factory=dict)
    retired_pages: Mapping[ErrorType, float] = field(default_factory=dict)
    """Retired memory pages; before Ampere."""
    page_retirement_pending: bool | None = None
    recovery_action: Mapping[RecoveryAction, float] = field(default_factory=dict)
    """The action that the driver requests, with the value 1."""
    fabric_state: Mapping[FabricState, float] = field(default_factory=dict)
    """The present state, with the value 1."""
    fabric_info: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """UUID of the cluster and clique, with the value 1."""
    fabric_health: Mapping[FabricCondition, float] = field(default_factory=dict)
    """Present conditions, with the value 1."""
    platform: Mapping[tuple[str, str, str, str, str], float] = field(default_factory=dict)
    """Serial number of the chassis, slot, tray, host, and module, with the value 1."""
    confidential_computing: Mapping[tuple[ConfidentialComputing, str], float] = field(default_factory=dict)
    """Mode and environment, with the value 1."""
    confidential_computing_ready: bool | None = None
    sram_ecc_threshold_exceeded: bool | None = None
    repair_pending: Mapping[Repair, float] = field(default_factory=dict)
    temperature_margin_celsius: float | None = None
    """Degrees until the nearest threshold at which the GPU slows down."""
    power_profiles: Mapping[tuple[str, PowerProfile], float] = field(default_factory=dict)
    power_smoothing_enabled: bool | None = None
    power_smoothing_lifetime_ratio: float | None = None
    """Remaining lifetime of the circuit, 0 to 1."""
    c2c_links: float | None = None
    c2c_links_up: float | None = None
    c2c_bytes_per_second: float | None = None
    """Largest rate of all active C2C links together."""
    c2c_errors: Mapping[LinkError | NewLinkError, float] = field(default_factory=dict)
    nvlink_bit_error_ratio: Mapping[BitErrors, float] = field(default_factory=dict)
    """The largest of all links."""
    bank_remaps: float | None = None
    bank_remap_pending: bool | None = None
    pcie_aer_errors: Mapping[AerErrorType, float] = field(default_factory=dict)
    remapped_rows: Mapping[ErrorType, float] = field(default_factory=dict)
    row_remap_pending: bool | None = None
    row_remap_failed: bool | None = None
    nvlink_errors: Mapping[LinkError | NewLinkError, float] = field(default_factory=dict)
    nvlink_links: int | None = None
    """Number of NVLinks of the device."""
    nvlink_links_up: int | None = None
    nvlink_bytes_per_second: float | None = None
    """Largest rate of all NVLinks that are up together, in one direction."""
    xgmi_links_up: int | None = None
    """Number of active XGMI links of an AMD GPU."""
    xgmi_link_bytes_per_second: float | None = None
    """Speed of one of them."""
    pcie_replays: float | None = None
    pcie_link_width: int | None = None
    pcie_link_width_max: int | None = None
    pcie_link_generation: int | None = None
    pcie_link_generation_max: int | None = None
    absent: Mapping[str, Reason] = field(default_factory=dict)


class GpuProcess(NamedTuple):
    """Process that uses a GPU. Memory in bytes, None if not reported. `is_mps_client`: whether by way of MPS."""

    pid: int
    memory_used_bytes: float | None
    is_mps_client: bool = False


class Processes(NamedTuple):
    """Processes that use a GPU. `mps_unknown`: why the driver does not say which of them are clients of MPS."""

    listed: tuple[GpuProcess, ...]
    mps_unknown: Reason | None = None


class UtilizationSample(NamedTuple):
    """Busy ratio 0 to 1 of the time before `timestamp_us` (µs of the driver's CPU clock)."""

    timestamp_us: int
    ratio: float


class ProcessUtilization(NamedTuple):
    """SM time ratio 0 to 1 of a process in the sample ending at `timestamp_us` (µs of the driver's CPU clock)."""

    pid: int
    timestamp_us: int
    sm_ratio: float


class Xid(NamedTuple):
    """Error reported by the driver, with NVIDIA's XID number."""

    uuid: str
    xid: int


class Driver(Protocol):
    """GPUs of one host. Every method may raise `DeviceError`; a failure of one GPU does not affect the others.

    `gpu` is an index below `count()`. Calls for different GPUs may run in parallel.
    """

    def count(self) -> int:
        """Number of GPUs the driver expects, including lost ones; 0 without a driver."""

    def identity(self, gpu: int) -> Identity:
        """Identity of the GPU."""

    def utilization(self, gpu: int, since_us: int) -> Sequence[UtilizationSample]:
        """Samples newer than `since_us`, oldest first; may be empty for an idle GPU. Cheap.

        Raises:
            DeviceError: "not_supported" if the driver keeps no samples.
        """

    def process_utilization(self, gpu: int, since_us: int) -> Sequence[ProcessUtilization]:
        """Samples newer than `since_us` of active processes; empty if all were idle. Cheap.

        `since_us` is the largest timestamp already seen, 0 at first (in NVML the argument is a time, not a PID).
        """

    def read(self, gpu: int) -> Reading:
        """Current state."""

    def counters(self, gpu: int, only: Collection[str] = ()) -> Counters:
        """Current counters. If there are names in `only`, these fields suffice, and others may be missing."""

    def activity(self, gpu: int, instances: Collection[int]) -> Activity | None:
        """Activity until now, with that of these MIG GPU instances; None before the first interval.

        At most ten calls per second.

        Raises:
            DeviceError: "not_supported" if neither the GPU nor an instance reports activity.
        """

    def health(self, gpu: int) -> Health:
        """Current health. Expensive; called every ten seconds."""

    def processes(self, gpu: int) -> Processes:
        """Compute, graphics, and MPS processes that use the GPU."""

    def xids(self, timeout: float) -> Sequence[Xid]:
        """XIDs since the last call; waits up to `timeout` seconds for the first. Not thread-safe.

        Raises:
            DeviceError: "not_supported" if the driver does not report XIDs.
        """

    def close(self) -> None:
        """Release the driver. Returns immediately while a call hangs."""
