"""Events of a device script and the readers of their keys. Documented in docs/internals/device-scripts.md."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar, get_args

from foreshock_exporter.model.device import (
    Activity,
    Counters,
    ErrorType,
    Health,
    Instance,
    LinkError,
    Reading,
    Sharing,
    Throttle,
)
from foreshock_exporter.script.readers import (
    Reader,
    ReadError,
    fields_reader,
    flag,
    key,
    list_of,
    number,
    one_of,
    or_null,
    quoted,
    some_of,
    text,
    wave,
    whole,
)
from foreshock_exporter.script.wave import Wave

GIB = float(1 << 30)
MAX_BYTES, MAX_RATE, MAX_WATTS, MAX_HERTZ = 1e15, 1e13, 1e5, 1e11
MAX_COUNT = 10**9
MAX_INSTANCES = 56
MAX_LINKS = 32
MAX_PID = 2**31 - 1

Fault = Literal["", "hang", "lost", "late"]
"""Fault of a GPU: calls hang, lost from the bus, or not yet present."""
METHODS = ("utilization", "process_utilization", "read", "counters", "activity", "health", "processes", "xids")
"""Driver calls that a GPU can refuse."""
_NOT_VALUES = {
    Reading: {"absent"},
    Counters: {"absent", "wraps"},
    Activity: {"absent", "instances", "pcie_transmit_bytes", "pcie_receive_bytes"},
    Health: {"absent"},
}
FIELDS = tuple(
    dict.fromkeys(
        field.name
        for record, others in _NOT_VALUES.items()
        for field in dataclasses.fields(record)
        if field.name not in others
    )
)
"""Single values that a GPU can refuse."""
WRAPPING = ("energy_joules", *(f"{bus}_{way}_bytes" for bus in ("pcie", "nvlink") for way in ("transmit", "receive")))
"""Counters that can wrap."""

_T = TypeVar("_T")


def dataclass_reader(record: type[_T]) -> Reader[_T]:
    """Reader of an object with the fields of a dataclass made with `key`."""
    readers = {field.name: field.metadata["read"] for field in dataclasses.fields(record)}  # type: ignore[arg-type] # only used with dataclasses

    def read(value: object) -> _T:
        return record(**(fields_reader(readers)(value) if value != {} else {}))

    return read


def _service(value: object) -> tuple[str, str]:
    namespace, _, name = text(value).rpartition("/")
    if not name:
        raise ReadError(f"{quoted(value)} is not a valid service; use a name such as assistant/chat-model")
    return namespace, name


def _memory(value: object) -> float | Literal["unknown"]:
    return "unknown" if value == "unknown" else number(0, MAX_BYTES, 'a number of bytes (or "unknown")')(value)


_bytes = number(0, MAX_BYTES, "a number of bytes")
_positive_bytes = number(1, MAX_BYTES, "a number of bytes")
_watts = number(0, MAX_WATTS, "a number of watts")
_hertz = number(1, MAX_HERTZ, "a number of hertz")
_share = wave(0, 1, "a share")
_count = whole(1, MAX_COUNT)
_index = whole(0, 255)


@dataclass(frozen=True, slots=True)
class MigInstance:
    """MIG instance of a device."""

    uuid: str = key(text, "", "UUID of the instance, MIG-…")
    gpu_instance: int = key(_index, 0, "GPU instance; MIG instances of one GPU instance share its memory")
    compute_instance: int = key(_index, 0, "compute instance")
    profile: str = key(text, "", "such as 1g.10gb")
    memory_total_bytes: float = key(_positive_bytes, 10 * GIB, "memory of the GPU instance")
    placement_start: int | None = key(_index, None, "first memory slice of the GPU instance")
    placement_size: int | None = key(_index, None, "memory slices of the GPU instance")

    @property
    def slices(self) -> int:
        """Compute slices of the GPU instance by its profile, such as 3 of 1c.3g.40gb; 1 if unknown."""
        found = re.search(r"(\d+)g\b", self.profile)
        return int(found[1]) if found else 1

    def now(self, used: float) -> Instance:
        """Instance as driver value."""
        return Instance(
            self.uuid,
            self.gpu_instance,
            self.compute_instance,
            self.profile,
            used,
            self.memory_total_bytes,
            self.placement_start,
            self.placement_size,
        )


@dataclass(frozen=True, slots=True)
class Device:
    """Properties of a GPU. It starts without processes, settings, and faults; the same UUID keeps its counters."""

    model: str = key(text, "Mock H100 80GB", "model name")
    uuid: str = key(text, "", "GPU-…; default: derived from host and index")
    pci_bus_id: str = key(text, "", "such as 00000000:10:00.0; default: derived from the index")
    driver_version: str = key(text, "0.0", "driver version")
    cuda_version: str = key(text, "0.0", "highest CUDA version that the driver supports")
    sharing: Sharing | Literal[""] = key(
        one_of(get_args(Sharing)), "", "default: mig with instances, mps with an MPS client, else time-slicing"
    )
    memory_bytes: float = key(_positive_bytes, 80 * GIB, "total memory")
    memory_reserved_bytes: float = key(_bytes, 0.6 * GIB, "memory reserved by the driver")
    power_limit_watts: float = key(_watts, 700.0, "power limit; full load draws 97% of it")
    idle_watts: float = key(_watts, 70.0, "idle power")
    sm_clock_max_hertz: float = key(_hertz, 1.98e9, "highest SM clock")
    memory_clock_max_hertz: float = key(_hertz, 2.619e9, "highest memory clock")
    nvlinks: int = key(whole(0, MAX_LINKS), 18, "number of NVLinks; 0: none, and NVLink metrics are absent")
    pcie_link_width_max: int = key(whole(1, 32), 16, "PCIe lanes of the slot")
    pcie_link_generation_max: int = key(whole(1, 9), 5, "PCIe generation of the slot")
    sample_period: float = key(number(0.05, 1.0, "seconds"), 1 / 6, "seconds per utilization sample of the driver")
    idle_samples: bool = key(flag, True, "whether the driver also keeps samples of idle periods")
    instances: tuple[MigInstance, ...] = key(list_of(dataclass_reader(MigInstance), MAX_INSTANCES), (), "MIG instances")
    refuses: frozenset[str] = key(some_of((*METHODS, *FIELDS)), frozenset(), "unsupported driver calls or values")
    wraps: Mapping[str, float] = key(
        fields_reader(dict.fromkeys(WRAPPING, number(1, 2.0**64))),
        {},
        "value at which a counter wraps to 0, in its unit",
    )


@dataclass(frozen=True, slots=True)
class Process:
    """Process that uses the GPU. Omitted values stay unchanged."""

    pid: int = key(whole(1, MAX_PID), 0, "process ID; required")
    service: tuple[str, str] | None = key(_service, None, "namespace/name, or name; default: unknown")
    memory_bytes: float | Literal["unknown"] | None = key(_memory, None, 'memory in use; initially "unknown"')
    sm: Wave | None = key(_share, None, "share of SM time that it requests, 0 to 1; initially 0")
    mps: bool | None = key(flag, None, "whether it is an MPS client; initially false")
    instance: str | None = key(text, None, "UUID of the MIG instance that it runs on")
    ends: bool = key(flag, False, "true: the process ends")


SETTINGS: Mapping[str, tuple[Reader[Wave], str]] = {
    "power_watts": (
        wave(0, MAX_WATTS, "a number of watts"),
        "default: from idle_watts to 97% of the limit, in proportion to the load",
    ),
    "temperature_celsius": (wave(0, 200, "a temperature"), "default: 34 °C idle, 76 °C at full load"),
    "memory_temperature_celsius": (wave(0, 200, "a temperature"), "default: 40 °C idle, 84 °C at full load"),
    "sm_clock_hertz": (
        wave(0, MAX_HERTZ, "a number of hertz"),
        "default: the maximum under load, 65% of it while throttled, 345 MHz while idle",
    ),
    "memory_clock_hertz": (wave(0, MAX_HERTZ, "a number of hertz"), "default: the maximum"),
    "memory_busy_ratio": (_share, "default: 60% of the busy share"),
    "sm_active_ratio": (_share, "SMs with work; default: 75% of the busy share"),
    "sm_occupancy_ratio": (_share, "resident warps of the maximum; default: 35% of the busy share"),
    "tensor_active_ratio": (_share, "activity of the tensor pipe, all of it HMMA; default: 40% of the busy share"),
    "dram_active_ratio": (_share, "DRAM bandwidth in use of the maximum; default: 50% of the busy share"),
    "context_switch_ratio": (_share, "time in context switches; default: 0"),
    "decoder_active_ratio": (_share, "activity of the video decoders; default: 0"),
    "unattributed": (_share, "share of GPU time without a process; default: 0"),
    "pcie_transmit_bytes_per_second": (wave(0, MAX_RATE, "bytes per second"), "sent over PCIe; default: 0"),
    "pcie_receive_bytes_per_second": (wave(0, MAX_RATE, "bytes per second"), "received over PCIe; default: 0"),
    "nvlink_transmit_bytes_per_second": (
        wave(0, MAX_RATE, "bytes per second"),
        "sent over all NVLinks, split evenly; default: 0",
    ),
    "nvlink_receive_bytes_per_second": (
        wave(0, MAX_RATE, "bytes per second"),
        "received over all NVLinks, split evenly; default: 0",
    ),
    "nvlinks_up": (
        lambda value: Wave(float(whole(0, MAX_LINKS)(value))),
        "number of NVLinks that are up; default: all",
    ),
    "pcie_link_width": (
        lambda value: Wave(float(whole(1, 32)(value))),
        "PCIe lanes in use; default: those of the slot",
    ),
    "pcie_link_generation": (
        lambda value: Wave(float(whole(1, 9)(value))),
        "PCIe generation in use; default: that of the slot",
    ),
}
"""Keys of `set`: reader, and default. null restores the default."""


class Set(NamedTuple):
    """Changed settings; None restores the default."""

    values: Mapping[str, Wave | None]


class Throttling(NamedTuple):
    """Throttle reasons that start (True) or end (False)."""

    reasons: Mapping[Throttle, bool]


class Errors(NamedTuple):
    """Increments of error counters. `kind` is the script key; `by` has increments by name, or "" if there is one."""

    kind: Literal["ecc", "nvlink_error", "pcie_replay"]
    by: Mapping[str, int]


class Remap(NamedTuple):
    """Row remapping: increments by `error_type`, and the flags pending and failed."""

    values: Mapping[str, int | bool]


class XidError(NamedTuple):
    """XID error reported by the driver."""

    xid: int


class FaultChange(NamedTuple):
    """The GPU stops responding, or responds again ("")."""

    fault: Fault


class CountersRestart(NamedTuple):
    """All counters restart at zero, as after a reload of the driver."""


Action = Device | Process | Set | Throttling | Errors | Remap | XidError | FaultChange | CountersRestart


class Event(NamedTuple):
    """Event of a GPU, `at` seconds after the start of the script. `once`: not repeated when the script loops."""

    at: float
    gpu: int
    action: Action
    once: bool = False


def _when_true(action: Action) -> Reader[Action]:
    def read(value: object) -> Action:
        if value is not True:
            raise ReadError(f"{quoted(value)} is not true")
        return action

    return read


def _throttling(value: object) -> Throttling:
    reasons: dict[Throttle, bool] = fields_reader(dict.fromkeys(get_args(Throttle), flag))(value)
    return Throttling(reasons)


_error_types = get_args(ErrorType)
ACTIONS: Mapping[str, Reader[Action]] = {
    "device": dataclass_reader(Device),
    "process": dataclass_reader(Process),
    "set": lambda value: Set(fields_reader({name: or_null(read) for name, (read, _) in SETTINGS.items()})(value)),
    "throttle": _throttling,
    "ecc": lambda value: Errors("ecc", fields_reader(dict.fromkeys(_error_types, _count))(value)),
    "nvlink_error": lambda value: Errors(
        "nvlink_error", fields_reader(dict.fromkeys(get_args(LinkError), _count))(value)
    ),
    "pcie_replay": lambda value: Errors("pcie_replay", {"": _count(value)}),
    "remap": lambda value: Remap(
        fields_reader({**dict.fromkeys(_error_types, _count), "pending": flag, "failed": flag})(value)
    ),
    "xid": lambda value: XidError(whole(1, 10_000)(value)),
    "fault": lambda value: FaultChange(one_of(("hang", "lost", "late"))(value)),
    "clear": _when_true(FaultChange("")),
    "restart": _when_true(CountersRestart()),
}
"""Reader of each action by its key; a line has exactly one."""
