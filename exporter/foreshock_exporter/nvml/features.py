"""Health that only newer GPUs report: fabric, place in a rack, C2C links, repairs, and settings of power and security.

Each is absent where NVML does not support it. Structures, fields, and architectures: nvml.h of CUDA 13.3.
"""

from __future__ import annotations

import ctypes
import struct
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar, cast

from foreshock_exporter.model.device import (
    BitErrors,
    ConfidentialComputing,
    FabricCondition,
    FabricState,
    Health,
    LinkError,
    NewLinkError,
    PowerProfile,
    Repair,
)
from foreshock_exporter.nvml.device_query import DeviceQuery
from foreshock_exporter.nvml.field_values import FieldSource, Quantities
from foreshock_exporter.nvml.mig import to_text

_Kind = TypeVar("_Kind", bound=str)

MAX_C2C_LINKS = 14
"""Links that a GPM metric exists for (NVML_GPM_METRIC_C2C_LINK0… to 13)."""
_MEGA = 1e6
_PLATFORM = struct.Struct("=20x16s3Bx1B")
"""nvmlPlatformInfo_v2_t: serial number of the chassis, slot, tray, host, and module."""
_SMOOTHING_SINCE = (580, 82)
"""First driver with the present ids of power smoothing (`counters._THROTTLE_FIELDS`)."""
_FABRIC_STATES: Mapping[int, FabricState] = {1: "not_started", 2: "in_progress", 3: "completed"}
"""NVML_GPU_FABRIC_STATE_…; 0 is a GPU without a fabric."""


class _MaskField(NamedTuple):
    """Field of the health mask of the fabric, and its values that mean a problem."""

    condition: FabricCondition
    shift: int
    width: int
    problems: range


_TRUE, _SECOND, _WRONG = range(1, 2), range(2, 3), range(2, 16)
_FABRIC_MASK = (
    _MaskField("degraded_bandwidth", 0, 0x3, _TRUE),
    _MaskField("route_recovery", 2, 0x3, _TRUE),
    _MaskField("route_unhealthy", 4, 0x3, _TRUE),
    _MaskField("access_timeout_recovery", 6, 0x3, _TRUE),
    _MaskField("incorrect_configuration", 8, 0xF, _WRONG),
    _MaskField("no_partition", 12, 0x3, _SECOND),
    _MaskField("fabric_manager_disconnected", 14, 0x3, _SECOND),
)
"""NVML_GPU_FABRIC_HEALTH_MASK_…; a field of 0 is not supported."""
_MODES: Mapping[int, ConfidentialComputing] = {0: "off", 1: "on", 2: "bare_metal"}
_ENVIRONMENTS = {0: "unavailable", 1: "simulation", 2: "production"}
"""NVML_CC_SYSTEM_FEATURE_… and NVML_CC_SYSTEM_ENVIRONMENT_…."""
PROFILES = (
    *("max_p", "max_q", "compute", "memory_bound", "network", "balanced", "llm_inference", "llm_training", "rbm"),
    *("dcpcie", "hmma_sparse", "hmma_dense", "sync_balanced", "hpc", "mig", "max_q_1", "network_bound"),
    *("high_throughput_inference", "medium_throughput_inference", "low_latency_inference", "training", "inference"),
    *("max_q_2", "max_q_3", "low_priority_background"),
)
"""NVML_POWER_PROFILE_… in the order of their numbers."""
_REPAIRS: tuple[Repair, ...] = ("memory_channel", "tpc")
_C2C_ERRORS: Mapping[LinkError | NewLinkError, int] = {"crc": 231, "replay": 232, "replay_repeated": 233}
_BIT_ERRORS: Mapping[BitErrors, int] = {"effective": 220, "symbol": 222}


def feature_quantities(links: int, driver_version: str) -> Quantities:
    """Fields of the features, for a GPU with this number of NVLinks.

    The bit error ratio is that of the worst link. A link that is down does not count as long as it is.
    """
    each = tuple(range(MAX_C2C_LINKS))
    quantities: dict[str, tuple[FieldSource, ...]] = {
        "c2c_links": (FieldSource(170),),
        "c2c_links_up": (FieldSource(171, 1.0, each),),
        "c2c_bytes_per_second": (FieldSource(172, 1.0 / _MEGA, each),),
        "bank_remaps": (FieldSource(303),),
        "bank_remap_pending": (FieldSource(307),),
    }
    quantities |= {f"c2c_errors/{kind}": (FieldSource(field, 1.0, each),) for kind, field in _C2C_ERRORS.items()}
    if tuple(int(part) for part in driver_version.split(".") if part.isdigit()) >= _SMOOTHING_SINCE:
        quantities["power_smoothing_enabled"] = (FieldSource(251),)
        quantities["power_smoothing_lifetime_ratio"] = (FieldSource(258, 100.0),)
    for kind, field in _BIT_ERRORS.items() if links else ():
        source = FieldSource(field, scopes=tuple(range(links)), decode=_bit_error_ratio)
        quantities[f"nvlink_bit_error_ratio/{kind}"] = (source,)
    return quantities


def with_features(health: Health, query: DeviceQuery, fields: Mapping[str, float]) -> Health:
    """Health with the features of the GPU; `fields` are values of `feature_quantities`.

    Raises:
        DeviceError: the GPU is lost, timed out, or the driver is gone.
    """
    fabric = _structure(query, "nvmlDeviceGetGpuFabricInfoV", "c_nvmlGpuFabricInfoV_t", "fabric_state")
    confidential = _confidential_computing(query)
    sram = _structure(
        query, "nvmlDeviceGetSramEccErrorStatus", "c_nvmlEccSramErrorStatus_v1_t", "sram_ecc_threshold_exceeded"
    )
    repairs = query.optional("nvmlDeviceGetRepairStatus", fields=("repair_pending",))
    has_c2c = bool(fields.get("c2c_links"))  # others may answer 0
    return replace(
        health,
        fabric_state=_fabric_state(fabric, query.library.codes.success),
        fabric_info=_fabric_info(fabric),
        fabric_health=_fabric_health(fabric),
        platform=_platform(query),
        confidential_computing=confidential,
        confidential_computing_ready=_is_ready(query) if confidential and not _is_off(confidential) else None,
        sram_ecc_threshold_exceeded=None if sram is None else bool(sram.bThresholdExceeded),
        repair_pending={} if repairs is None else dict(zip(_REPAIRS, map(float, repairs), strict=True)),
        temperature_margin_celsius=query.optional(
            "nvmlDeviceGetMarginTemperature", fields=("temperature_margin_celsius",)
        ),
        power_profiles=_power_profiles(query),
        power_smoothing_enabled=_flag(fields.get("power_smoothing_enabled")),
        power_smoothing_lifetime_ratio=fields.get("power_smoothing_lifetime_ratio"),
        c2c_links=fields["c2c_links"] if has_c2c else None,
        c2c_links_up=fields.get("c2c_links_up") if has_c2c else None,
        c2c_bytes_per_second=fields.get("c2c_bytes_per_second") if has_c2c else None,
        c2c_errors=_by_kind(fields, "c2c_errors", _C2C_ERRORS) if has_c2c else {},
        nvlink_bit_error_ratio=_by_kind(fields, "nvlink_bit_error_ratio", _BIT_ERRORS),
        bank_remaps=fields.get("bank_remaps"),
        bank_remap_pending=_flag(fields.get("bank_remap_pending")),
    )


def _structure(query: DeviceQuery, call: str, name: str, *fields: str) -> Any:  # noqa: ANN401 - pynvml's structure
    """Structure that a function fills in; None if the driver or nvidia-ml-py lacks it."""
    kind = getattr(query.library.nvml, name, None)
    if kind is None:
        return None
    structure = kind()
    return None if query.optional(call, ctypes.byref(structure), fields=fields) is None else structure


def _fabric_state(info: Any, success: int) -> dict[FabricState, float]:  # noqa: ANN401 - pynvml's structure, or None
    """State of the registration with the fabric manager; empty without a fabric."""
    state = _FABRIC_STATES.get(info.state) if info else None
    if state == "completed" and info.status != success:
        state = "failed"
    return {} if state is None else {state: 1.0}


def _fabric_info(info: Any) -> dict[tuple[str, str], float]:  # noqa: ANN401
    """Cluster and clique of a registered GPU: GPUs that have both in common reach each other over NVLink.

    A fabric within one host has no cluster: its UUID is 0.
    """
    if not info or _FABRIC_STATES.get(info.state) != "completed" or not any(info.clusterUuid):
        return {}
    return {(str(uuid.UUID(bytes=bytes(info.clusterUuid))), str(info.cliqueId)): 1.0}


def _fabric_health(info: Any) -> dict[FabricCondition, float]:  # noqa: ANN401
    """Problems of the fabric, or "healthy"; empty if the driver reports none of them."""
    if not info or not info.healthMask or _FABRIC_STATES.get(info.state) != "completed":
        return {}
    found = [part.condition for part in _FABRIC_MASK if info.healthMask >> part.shift & part.width in part.problems]
    return dict.fromkeys(found or cast("list[FabricCondition]", ["healthy"]), 1.0)


def _platform(query: DeviceQuery) -> dict[tuple[str, str, str, str, str], float]:
    """Serial number of the chassis, slot, tray, host, and module of the GPU.

    Outside a rack the serial number is empty, and the slot and tray of no chassis are 0: they are left empty, too.
    """
    info = _structure(query, "nvmlDeviceGetPlatformInfo", "c_nvmlPlatformInfo_v2_t", "platform")
    if info is None:
        return {}
    raw, slot, tray, host, module = _PLATFORM.unpack_from(bytes(info))  # pynvml takes the numbers for text
    serial = to_text(raw.partition(b"\0")[0]).strip()
    place = (serial, str(slot), str(tray)) if serial else ("", "", "")
    return {(*place, str(host), str(module)): 1.0}


def _confidential_computing(query: DeviceQuery) -> dict[tuple[ConfidentialComputing, str], float]:
    """Mode and environment of confidential computing, which all GPUs of a host have in common."""
    state = query.system_value("nvmlSystemGetConfComputeState")
    mode = _MODES.get(state.ccFeature) if state else None
    if mode is None:
        return {}
    is_devtools = mode == "on" and state.devToolsMode
    return {("devtools" if is_devtools else mode, _ENVIRONMENTS.get(state.environment, "unavailable")): 1.0}


def _is_off(confidential: Mapping[tuple[ConfidentialComputing, str], float]) -> bool:
    return all(mode == "off" for mode, _ in confidential)


def _is_ready(query: DeviceQuery) -> bool | None:
    """Whether the GPUs accept work after their attestation."""
    return _flag(query.system_value("nvmlSystemGetConfComputeGpusReadyState"))


def _power_profiles(query: DeviceQuery) -> dict[tuple[str, PowerProfile], float]:
    """Workload power profiles that are requested or enforced; those in conflict with others are not enforced."""
    name = "c_nvmlWorkloadPowerProfileCurrentProfiles_v1_t"
    current = _structure(query, "nvmlDeviceWorkloadPowerProfileGetCurrentProfiles", name, "power_profiles")
    if current is None:
        return {}
    masks: Mapping[PowerProfile, Any] = {
        "requested": current.requestedProfilesMask.mask,
        "enforced": current.enforcedProfilesMask.mask,
    }
    return {
        (profile, state): 1.0
        for state, mask in masks.items()
        for number, profile in enumerate(PROFILES)
        if mask[number // 32] >> number % 32 & 1
    }


def _bit_error_ratio(raw: float) -> float:
    """Ratio of NVML's form: bits 0 to 7 are the negative exponent, bits 8 to 11 the mantissa."""
    value = int(raw)
    return (value >> 8 & 0xF) * 10.0 ** -(value & 0xFF)


def _by_kind(fields: Mapping[str, float], quantity: str, kinds: Iterable[_Kind]) -> dict[_Kind, float]:
    return {kind: fields[name] for kind in kinds if (name := f"{quantity}/{kind}") in fields}


def _flag(value: float | None) -> bool | None:
    return None if value is None else bool(value)
