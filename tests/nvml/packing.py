"""A scripted host as NVML functions, fields, and return codes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args
from uuid import UUID

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
from tests.nvml import layout
from tests.nvml.dialect import Dialect
from tests.nvml.packing_activity import pack_activity
from tests.nvml.packing_fields import pack_fields, remapped
from tests.nvml.scripted import ScriptedGpu, ScriptedHost, ScriptedProcess

from foreshock_exporter.model.device import ErrorType, FabricCondition, Health, MemoryLocation, Reason, Repair

NO_INSTANCE = 0xFFFFFFFF
XID_EVENT = 8
CODES: Mapping[Reason, int] = {
    "not_supported": pynvml.NVML_ERROR_NOT_SUPPORTED,
    "no_permission": pynvml.NVML_ERROR_NO_PERMISSION,
    "lost": pynvml.NVML_ERROR_GPU_IS_LOST,
    "not_found": pynvml.NVML_ERROR_NOT_FOUND,
    "driver": pynvml.NVML_ERROR_UNKNOWN,
    "timeout": pynvml.NVML_ERROR_TIMEOUT,
}
UTILIZATION_CALLS = ("nvmlDeviceGetProcessUtilization", "nvmlDeviceGetProcessesUtilizationInfo")
PROCESS_CALLS = tuple(call for call in layout.CALLS if call.endswith("RunningProcesses_v3"))
MIG_LACKS = (
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetSamples",
    *UTILIZATION_CALLS,
    "nvmlDeviceGetRemappedRows",
    "nvmlDeviceGetEncoderUtilization",
    "nvmlDeviceGetDecoderUtilization",
)
"""What no GPU with MIG enabled supports (nvml.h, and remapped rows while instances are active)."""
REFUSED: Mapping[str, tuple[str, ...]] = {
    "identity": ("nvmlDeviceGetUUID",),
    "utilization": ("nvmlDeviceGetSamples",),
    "process_utilization": UTILIZATION_CALLS,
    "processes": PROCESS_CALLS,
    "xids": ("nvmlDeviceRegisterEvents",),
    "read": (
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetMemoryInfo",
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetEnforcedPowerLimit",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetTemperatureV",
        "nvmlDeviceGetClockInfo",
    ),
    "activity": ("nvmlGpmSampleGet", "nvmlGpmMigSampleGet"),
    "counters": ("nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetFieldValues"),
    "health": (
        "nvmlDeviceGetMaxClockInfo",
        "nvmlDeviceGetApplicationsClock",
        "nvmlDeviceGetTotalEccErrors",
        "nvmlDeviceGetMemoryErrorCounter",
        "nvmlDeviceGetGpuFabricInfoV",
        "nvmlDeviceGetRemappedRows",
        "nvmlDeviceGetNvLinkState",
        "nvmlDeviceGetNvLinkErrorCounter",
        "nvmlDeviceGetPcieReplayCounter",
        "nvmlDeviceGetCurrPcieLinkWidth",
        "nvmlDeviceGetMaxPcieLinkWidth",
        "nvmlDeviceGetCurrPcieLinkGeneration",
        "nvmlDeviceGetMaxPcieLinkGeneration",
    ),
}
"""The functions behind each method of `Driver` that a script may refuse; a single value that it refuses is None."""


class Loading(NamedTuple):
    """State of the driver. `init` is the code of nvmlInit, `call` that of all other functions.

    A new `generation` means that the driver was reloaded.
    """

    init: int = 0
    call: int = 0
    generation: int = 1
    hangs: bool = False
    enumerates_once: bool = False


FABRIC_MASKS: Mapping[FabricCondition, int] = {
    "healthy": 2,
    "degraded_bandwidth": 1,
    "route_recovery": 1 << 2,
    "route_unhealthy": 1 << 4,
    "access_timeout_recovery": 1 << 6,
    "incorrect_configuration": 5 << 8,
    "no_partition": 2 << 12,
    "fabric_manager_disconnected": 2 << 14,
}
"""Bits of the health mask (NVML_GPU_FABRIC_HEALTH_MASK_…); "healthy" is full bandwidth, without other fields."""
LOADED = Loading()
UNLOADED = Loading(init=pynvml.NVML_ERROR_DRIVER_NOT_LOADED, call=pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
UPGRADED = Loading(init=pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, call=pynvml.NVML_ERROR_UNINITIALIZED)
DEFAULT = Dialect()
_AT = {call: at for at, call in enumerate(layout.CALLS)}
_SILENT = (layout.Answer * len(layout.CALLS))(
    *[layout.Answer(0, 0, (layout.ABSENT,) * layout.MAX_VALUES) for _ in layout.CALLS]
)
"""Every function succeeds, without values."""


class Said(NamedTuple):
    """A function's answer."""

    code: int
    values: tuple[int, ...] = ()


def state(host: ScriptedHost, dialects: Sequence[Dialect] = (), loading: Loading = LOADED) -> layout.State:
    """The host as the library's state; a GPU without a special dialect has the default one.

    Raises:
        ValueError: for more GPUs, processes or fields than the library has room for.
    """
    _fits("GPUs", len(host.gpus), layout.MAX_GPUS)
    packed = layout.State()
    _pack_host(packed.host, host, loading)
    for index, gpu in enumerate(host.gpus):
        dialect = dialects[index] if index < len(dialects) else DEFAULT
        _pack_gpu(packed.gpus[index], gpu, index, dialect, host.time)
    return packed


def _fits(what: str, number: int, limit: int) -> None:
    if number > limit:
        raise ValueError(f"{number} {what} in the script; the library has room for {limit}")


def _pack_host(to: layout.Host, host: ScriptedHost, loading: Loading) -> None:
    first = host.gpus[0].identity if host.gpus else None
    to.gpus, to.init_code, to.call_code = len(host.gpus), loading.init, loading.call
    to.generation, to.hangs, to.enumerates_once = loading.generation, loading.hangs, loading.enumerates_once
    to.driver_version = (first.driver_version if first else "0").encode()
    to.cuda_version = _cuda(first.cuda_version if first else "0.0")
    _pack_confidential(to, host.gpus[0].health if host.gpus else Health())
    to.event_count = host.xids_before + len(host.xids)
    for number, xid in list(enumerate(host.xids, start=host.xids_before))[-layout.MAX_EVENTS :]:
        event = to.events[number % layout.MAX_EVENTS]
        event.type, event.data, event.gpu = XID_EVENT, xid.xid, xid.gpu


def _pack_confidential(to: layout.Host, health: Health) -> None:
    """Confidential computing of the host, as its first GPU has it."""
    modes = {"off": (0, 0), "on": (1, 0), "devtools": (1, 1), "bare_metal": (2, 0)}
    for mode, environment in health.confidential_computing:
        feature, devtools = modes[mode]
        number = ("unavailable", "simulation", "production").index(environment)
        to.confidential = (1, number, feature, devtools)
    to.accepts_work = bool(health.confidential_computing_ready)


def _cuda(version: str) -> int:
    """12.4 is 12040."""
    major, _, minor = version.partition(".")
    return int(major or 0) * 1000 + int(minor or 0) * 10


def _pack_gpu(to: layout.Gpu, gpu: ScriptedGpu, index: int, dialect: Dialect, time: float) -> None:
    identity, device = gpu.identity, to.device
    device.late, device.lost, device.hangs = gpu.fault == "late", gpu.fault == "lost", gpu.fault == "hang"
    device.mig, device.quirks = identity.sharing == "mig", dialect.quirks
    device.uuid, device.name = identity.uuid.encode(), identity.model.encode()
    device.bus_id, device.serial = identity.pci_bus_id.encode(), f"{index:013d}".encode()
    said = _answers(gpu, index)
    said["nvmlDeviceGetGpuInstanceById"] = _placements(gpu)
    said["nvmlGpmQueryDeviceSupport"] = Said(0, (int(dialect.gpm),))
    said["nvmlGpmMetricsGet"] = Said(0, () if dialect.gpm_max is None else (dialect.gpm_max,))
    said.update({call: Said(code) for call, code in _refusals(gpu, dialect).items()})
    to.answers = _SILENT
    for call, (code, values) in said.items():
        answer = to.answers[_AT[call]]
        answer.code = code
        answer.value[: len(values)] = values
    for call, seconds in dialect.delays.items():
        to.answers[_AT[call]].delay_us = round(seconds * 1e6)
    _pack_instances(to, gpu)
    _pack_processes(to, gpu)
    _pack_samples(to, gpu)
    pack_fields(to, gpu, dialect)
    pack_activity(to, gpu, dialect, time)


def _refusals(gpu: ScriptedGpu, dialect: Dialect) -> dict[str, int]:
    refused = {call: CODES["not_supported"] for method in gpu.refused for call in REFUSED.get(method, ())}
    if gpu.identity.sharing == "mig":
        refused.update(dict.fromkeys(MIG_LACKS, CODES["not_supported"]))
    return {**refused, **dialect.codes}


def _answers(gpu: ScriptedGpu, index: int) -> dict[str, Said]:
    """By function; one that is missing succeeds without values."""
    return {**_state_of(gpu), **_health_of(gpu), **_trifles(gpu, index)}


def _state_of(gpu: ScriptedGpu) -> dict[str, Said]:
    reading, absent = gpu.reading, gpu.reading.absent
    memory = (
        reading.memory_total_bytes,
        reading.memory_reserved_bytes,
        reading.memory_free_bytes,
        reading.memory_used_bytes,
    )
    temperature = _pack_values([reading.temperature_celsius.get("gpu")], absent, "temperature_celsius")
    power = _pack_values([reading.power_watts], absent, "power_watts", 1e3)
    limit = _pack_values([reading.power_limit_watts], absent, "power_limit_watts", 1e3)
    memory_info = _pack_values(memory, absent, "memory_used_bytes")
    return {
        "nvmlDeviceGetUtilizationRates": _pack_values(
            [reading.utilization_ratio, reading.memory_busy_ratio], absent, "utilization_ratio", 100
        ),
        "nvmlDeviceGetMemoryInfo": memory_info,
        "nvmlDeviceGetMemoryInfo_v2": memory_info,
        "nvmlDeviceGetPowerUsage": power,
        "nvmlDeviceGetPowerManagementLimit": limit,
        "nvmlDeviceGetEnforcedPowerLimit": limit,
        "nvmlDeviceGetTemperature": temperature,
        "nvmlDeviceGetTemperatureV": temperature,
        "nvmlDeviceGetClockInfo": _clocks(reading.clock_hertz, absent, "clock_hertz"),
        "nvmlDeviceGetTotalEnergyConsumption": _pack_values(
            [gpu.counters.energy_joules], gpu.counters.absent, "energy_joules", 1e3
        ),
    }


def _health_of(gpu: ScriptedGpu) -> dict[str, Said]:
    health, absent = gpu.health, gpu.health.absent
    links = health.nvlink_links or 0
    up = (1 << (health.nvlink_links_up or 0)) - 1
    corrected, uncorrected = health.ecc_errors.get("corrected"), health.ecc_errors.get("uncorrected")
    errors = health.nvlink_errors
    return {
        "nvmlDeviceGetMaxClockInfo": _clocks(health.clock_max_hertz, absent, "clock_max_hertz"),
        "nvmlDeviceGetApplicationsClock": _clocks(health.clock_application_hertz, absent, "clock_application_hertz"),
        "nvmlDeviceGetTotalEccErrors": _pack_values(
            [corrected, corrected, uncorrected, uncorrected], absent, "ecc_errors"
        ),
        "nvmlDeviceGetMemoryErrorCounter": _pack_values(
            [
                health.ecc_location_errors.get((location, error_type))
                for location in get_args(MemoryLocation)[:2]
                for error_type in get_args(ErrorType)
            ],
            absent,
            "ecc_location_errors",
        ),
        "nvmlDeviceGetGpuFabricInfoV": _fabric(health),
        "nvmlDeviceGetPlatformInfo": _pack_values(
            [float(text) for place in health.platform for text in place] or [None], absent, "platform"
        ),
        "nvmlDeviceGetSramEccErrorStatus": _pack_values(
            [health.sram_ecc_threshold_exceeded], absent, "sram_ecc_threshold_exceeded"
        ),
        "nvmlDeviceGetRepairStatus": _pack_values(
            [health.repair_pending.get(unit) for unit in get_args(Repair)], absent, "repair_pending"
        ),
        "nvmlDeviceGetMarginTemperature": _pack_values(
            [health.temperature_margin_celsius], absent, "temperature_margin_celsius"
        ),
        "nvmlDeviceWorkloadPowerProfileGetCurrentProfiles": _profiles(health),
        "nvmlDeviceGetEccMode": Said(0, (1, 1)) if health.ecc_errors else Said(CODES["not_supported"]),
        "nvmlDeviceGetRemappedRows": _pack_values(remapped(gpu), absent, "remapped_rows"),
        "nvmlDeviceGetNvLinkState": Said(0, (links, up)) if links else Said(CODES["not_supported"]),
        "nvmlDeviceGetNvLinkErrorCounter": _pack_values(
            [errors.get("replay"), errors.get("recovery"), errors.get("crc")], absent, "nvlink_errors"
        ),
        "nvmlDeviceGetPcieReplayCounter": _pack_values([health.pcie_replays], absent, "pcie_replays"),
        "nvmlDeviceGetCurrPcieLinkWidth": _pack_values([health.pcie_link_width], absent, "pcie_link_width"),
        "nvmlDeviceGetMaxPcieLinkWidth": _pack_values([health.pcie_link_width_max], absent, "pcie_link_width_max"),
        "nvmlDeviceGetCurrPcieLinkGeneration": _pack_values(
            [health.pcie_link_generation], absent, "pcie_link_generation"
        ),
        "nvmlDeviceGetMaxPcieLinkGeneration": _pack_values(
            [health.pcie_link_generation_max], absent, "pcie_link_generation_max"
        ),
    }


def _trifles(gpu: ScriptedGpu, index: int) -> dict[str, Said]:
    """Values outside of scripts that only other programs read."""
    mig = int(gpu.identity.sharing == "mig")
    return {
        "nvmlDeviceGetMigMode": Said(0, (mig, mig)),
        "nvmlDeviceGetSupportedEventTypes": Said(0, (XID_EVENT,)),
        "nvmlDeviceRegisterEvents": Said(0, (XID_EVENT,)),
        "nvmlDeviceGetMinorNumber": Said(0, (index,)),
        "nvmlDeviceGetArchitecture": Said(0, (pynvml.NVML_DEVICE_ARCH_HOPPER,)),
        "nvmlDeviceGetCudaComputeCapability": Said(0, (9, 0)),
        "nvmlDeviceGetComputeMode": Said(0, (0,)),
        "nvmlDeviceGetPersistenceMode": Said(0, (1,)),
        "nvmlDeviceGetPerformanceState": Said(0, (0,)),
        "nvmlDeviceGetDisplayMode": Said(0, (0,)),
        "nvmlDeviceGetDisplayActive": Said(0, (0,)),
        "nvmlDeviceGetEncoderUtilization": Said(0, (0, 166_666)),
        "nvmlDeviceGetDecoderUtilization": Said(0, (30, 166_666)),
        "nvmlDeviceGetBAR1MemoryInfo": Said(0, (128 << 30, 1 << 20)),
        "nvmlDeviceGetPcieThroughput": Said(0, (1000, 2000)),
        "nvmlDeviceGetCurrentClocksEventReasons": Said(0, (0,)),
        "nvmlDeviceGetFanSpeed": Said(CODES["not_supported"]),
    }


def _pack_values(values: Iterable[float | None], absent: Mapping[str, Reason], name: str, scale: float = 1.0) -> Said:
    """Values in NVML's unit; where none of them is there, the code of the reason."""
    known = tuple(layout.ABSENT if value is None else round(value * scale) for value in values)
    if all(value == layout.ABSENT for value in known):
        return Said(CODES[absent.get(name, "not_supported")])
    return Said(0, known)


def _fabric(health: Health) -> Said:
    """State and result of the registration; state 0 where the GPU has no fabric."""
    states = {
        "not_started": (1, 0),
        "in_progress": (2, 0),
        "completed": (3, 0),
        "failed": (3, pynvml.NVML_ERROR_UNKNOWN),
    }
    state = next((states[state] for state in health.fabric_state), (0, 0))
    cluster, clique = next(iter(health.fabric_info), (str(UUID(int=0)), "0"))
    number = UUID(cluster).int
    masks = (FABRIC_MASKS[condition] for condition in health.fabric_health)
    return Said(0, (*state, int(clique), sum(masks), number >> 64, number & 2**64 - 1))


def _profiles(health: Health) -> Said:
    """Masks of the profiles requested and enforced."""
    if not health.power_profiles:
        return Said(CODES["not_supported"])
    masks = {"requested": 0, "enforced": 0}
    for profile, state in health.power_profiles:
        masks[state] |= 1 << getattr(pynvml, f"NVML_POWER_PROFILE_{profile.upper()}")
    return Said(0, tuple(masks.values()))


def _clocks(hertz: Mapping[Literal["sm", "memory"], float], absent: Mapping[str, Reason], name: str) -> Said:
    """Graphics, SM, memory and video clock in MHz; the first and the last follow the SM's."""
    sm, memory = hertz.get("sm"), hertz.get("memory")
    return _pack_values([sm, sm, memory, sm], absent, name, 1e-6)


def _pack_instances(to: layout.Gpu, gpu: ScriptedGpu) -> None:
    """From the last slot down, so that the first are empty, as where instances were removed."""
    instances = gpu.reading.instances
    _fits("MIG instances", len(instances), layout.MAX_INSTANCES)
    for slot, instance in enumerate(instances, start=layout.MAX_INSTANCES - len(instances)):
        packed = to.instances[slot]
        packed.present, packed.gpu_instance, packed.compute_instance = (
            1,
            instance.gpu_instance,
            instance.compute_instance,
        )
        packed.slices = int(instance.profile.partition("g")[0].rpartition(".")[2].rpartition("c")[2] or 1)
        packed.total, packed.used = round(instance.memory_total_bytes or 0), round(instance.memory_used_bytes or 0)
        packed.placement_start, packed.placement_size = instance.placement_start or 0, instance.placement_size or 0
        packed.uuid, packed.profile = instance.uuid.encode(), instance.profile.encode()


def _placements(gpu: ScriptedGpu) -> Said:
    """Whether NVML gives access to GPU instances, whose placement it has."""
    reading = gpu.reading
    known = all(part.placement_start is not None and part.placement_size is not None for part in reading.instances)
    return Said(0 if known else CODES[reading.absent.get("placement_start", "not_supported")])


def _pack_processes(to: layout.Gpu, gpu: ScriptedGpu) -> None:
    places = {i.uuid: (i.gpu_instance, i.compute_instance) for i in gpu.reading.instances}
    _fits("processes", len(gpu.processes), layout.MAX_PROCESSES)
    to.processes.count = len(gpu.processes)
    for at, process in enumerate(gpu.processes):
        packed = to.processes.at[at]
        packed.pid, packed.kinds = process.pid, _kinds(process)
        packed.memory = layout.ABSENT if process.memory_bytes is None else round(process.memory_bytes)
        packed.gpu_instance, packed.compute_instance = places.get(process.instance, (NO_INSTANCE, NO_INSTANCE))


def _kinds(process: ScriptedProcess) -> int:
    """A client of MPS is in the list of compute processes as well (nvidia-smi shows its type as M+C)."""
    return layout.KIND_COMPUTE | (layout.KIND_MPS if process.mps else 0)


def _pack_samples(to: layout.Gpu, gpu: ScriptedGpu) -> None:
    """The newest, as many as the driver's buffer keeps."""
    samples = gpu.samples[-layout.MAX_SAMPLES :]
    used = gpu.process_samples[-layout.MAX_PROCESS_SAMPLES :]
    to.samples.count, to.process_samples.count = len(samples), len(used)
    for packed, sample in zip(to.samples.at, samples, strict=False):
        packed.time_us, packed.percent = sample.timestamp_us, round(sample.ratio * 100)
    for taken, share in zip(to.process_samples.at, used, strict=False):
        taken.time_us, taken.pid, taken.percent = share.timestamp_us, share.pid, round(share.sm_ratio * 100)
