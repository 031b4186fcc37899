"""State of a device at one instant, and its health: memory errors, links, and clocks by model and by configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast, get_args

from foreshock_exporter.model.device import (
    Clock,
    DeviceError,
    ErrorType,
    Health,
    LinkError,
    MemoryLocation,
    NewLinkError,
    Reading,
    Reason,
    RecoveryAction,
    Sensor,
)
from foreshock_exporter.nvml.counters import (
    absent_fields,
    count_links_up,
    link_count,
    per_link_source,
    total_or_per_link_sources,
)
from foreshock_exporter.nvml.device_query import DeviceQuery
from foreshock_exporter.nvml.features import feature_quantities, with_features
from foreshock_exporter.nvml.field_values import FieldSource, FieldValue, Quantities
from foreshock_exporter.nvml.mig import memory_info, mig_instances, to_base_units, to_text

_MEGA = 1e6
_STATE_FIELDS: Quantities = {
    "memory_temperature": (FieldSource(82),),
    "module_power_watts": (FieldSource(186, 1e3, (1,)),),
    "module_power_limit_watts": (FieldSource(190, 1e3, (1,)),),
}
"""Fields of the state; scope 1 of the power is a module of CPU and GPU."""
_MEMORY = ("memory_used_bytes", "memory_free_bytes", "memory_reserved_bytes", "memory_total_bytes")

_LINK_ERRORS: Mapping[LinkError | NewLinkError, tuple[int | None, int | None]] = {
    "crc": (163, 208),
    "replay": (161, None),
    "recovery": (162, 215),
    "recovery_failed": (None, 214),
    "overrun": (None, 207),
    "integrity": (None, 211),
    "discard": (None, 212),
    "effective": (None, 219),
    "symbol": (None, 221),
}
"""Field up to Hopper, then that of NVLink 5. Its "crc" are all received packets with errors, of which fields 206, 209,
and 210 are parts. Blocks resent by the physical layer (field 295) are normal and not counted.
"""

_ECC_FIELDS: Mapping[MemoryLocation, Mapping[ErrorType, int]] = {
    "l1": {"corrected": 7, "uncorrected": 8},
    "l2": {"corrected": 9, "uncorrected": 10},
    "dram": {"corrected": 11, "uncorrected": 12},
    "register_file": {"corrected": 13, "uncorrected": 14},
    "texture": {"corrected": 15, "uncorrected": 16},
    "cbu": {"uncorrected": 17},
}


def read_state(query: DeviceQuery) -> Reading:
    """Current state; unsupported fields are None. Raises DeviceError if none is supported."""
    rates = query.optional("nvmlDeviceGetUtilizationRates", fields=("utilization_ratio", "memory_busy_ratio"))
    memory = memory_info(query, _MEMORY)
    values = query.field_values("state", lambda: _STATE_FIELDS)
    module = {name: value.value for name, value in values.items() if isinstance(value, FieldValue)}
    reading = Reading(
        utilization_ratio=_percent(getattr(rates, "gpu", None)),
        memory_busy_ratio=_percent(getattr(rates, "memory", None)),
        memory_used_bytes=to_base_units(getattr(memory, "used", None)),
        memory_free_bytes=to_base_units(getattr(memory, "free", None)),
        memory_reserved_bytes=to_base_units(getattr(memory, "reserved", None)),
        memory_total_bytes=to_base_units(getattr(memory, "total", None)),
        power_watts=to_base_units(query.optional("nvmlDeviceGetPowerUsage", fields=("power_watts",)), 1e3),
        power_limit_watts=to_base_units(
            query.optional("nvmlDeviceGetEnforcedPowerLimit", fields=("power_limit_watts",)), 1e3
        ),
        module_power_watts=module.get("module_power_watts") or None,  # 0 is no module
        module_power_limit_watts=module.get("module_power_limit_watts") or None,
        temperature_celsius=_temperatures(query, values.get("memory_temperature")),
        clock_hertz=_clocks(query),
        instances=mig_instances(query),
    )
    if reading == Reading():
        raise DeviceError("driver", "NVML lists the GPU but returns none of its readings")
    return replace(reading, absent=query.absent)


def _clocks(query: DeviceQuery) -> dict[Clock, float]:
    """Current SM and memory clock in Hz."""
    nvml = query.library.nvml
    kinds: Mapping[Clock, Any] = {"sm": nvml.NVML_CLOCK_SM, "memory": nvml.NVML_CLOCK_MEM}
    values = {
        clock: query.optional("nvmlDeviceGetClockInfo", kind, fields=("clock_hertz",)) for clock, kind in kinds.items()
    }
    return {clock: megahertz * 1e6 for clock, megahertz in values.items() if megahertz is not None}


def _max_clock(query: DeviceQuery) -> dict[Clock, float]:
    """Maximum SM clock in Hz."""
    megahertz = query.optional(
        "nvmlDeviceGetMaxClockInfo", query.library.nvml.NVML_CLOCK_SM, fields=("clock_max_hertz",)
    )
    return {} if megahertz is None else {"sm": megahertz * 1e6}


def _application_clock(query: DeviceQuery) -> dict[Clock, float]:
    """Configured SM clock in Hz. NVML deprecates it: that it is not supported is normal."""
    megahertz = query.optional("nvmlDeviceGetApplicationsClock", query.library.nvml.NVML_CLOCK_SM)
    return {} if megahertz is None else {"sm": megahertz * 1e6}


def _temperatures(query: DeviceQuery, memory: FieldValue | Reason | None) -> dict[Sensor, float]:
    """Temperatures in °C. A memory temperature of 0 °C means no sensor, as on a T4."""
    sensor = query.library.nvml.NVML_TEMPERATURE_GPU
    field = ("temperature_celsius",)
    gpu = query.optional("nvmlDeviceGetTemperature", sensor)
    if gpu is None:
        gpu = query.optional("nvmlDeviceGetTemperatureV", sensor, fields=field)
    temperatures: dict[Sensor, float] = {} if gpu is None else {"gpu": float(gpu)}
    if isinstance(memory, FieldValue) and memory.value > 0.0:
        temperatures["memory"] = memory.value
    return temperatures


def _percent(value: int | None) -> float | None:
    """Ratio of a percentage; None outside 0 to 100, which some drivers return."""
    return value / 100.0 if value is not None and 0 <= value <= 100 else None


def read_health(query: DeviceQuery) -> Health:
    """Current health; unsupported values are None or missing.

    Raises:
        DeviceError: the GPU is lost, or the driver's version, on which the fields depend, is unknown.
    """
    links = link_count(query)
    values = {**query.field_values("health", partial(_quantities, links))}
    features = query.field_values("features", partial(_feature_quantities, query, links))
    if not isinstance(values.get("pcie_replays"), FieldValue):
        replays = query.optional("nvmlDeviceGetPcieReplayCounter", fields=("pcie_replays",))
        values |= {} if replays is None else {"pcie_replays": FieldValue(float(replays), 2.0**32)}
    rows = (
        query.optional("nvmlDeviceGetRemappedRows", fields=("remapped_rows", "row_remap_pending", "row_remap_failed"))
        or (None,) * 4
    )
    present_values = {name: value.value for name, value in values.items() if isinstance(value, FieldValue)}
    links_up = count_links_up(query, links)
    pending = present_values.get("page_retirement_pending")
    health = Health(
        clock_max_hertz=_max_clock(query),
        clock_application_hertz=_application_clock(query),
        ecc_errors=_ecc_errors(query),
        ecc_location_errors=_ecc_location_errors(query, present_values),
        retired_pages={
            error_type: present_values[name]
            for error_type in _error_types()
            if (name := f"retired_pages/{error_type}") in present_values
        },
        page_retirement_pending=None if pending is None else bool(pending),
        recovery_action=_recovery_action(present_values.get("recovery_action")),
        remapped_rows=_without_none(dict(zip(_error_types(), rows[:2], strict=True))),
        row_remap_pending=None if rows[2] is None else bool(rows[2]),
        row_remap_failed=None if rows[3] is None else bool(rows[3]),
        nvlink_errors={
            kind: present_values[name] for kind in _LINK_ERRORS if (name := f"nvlink_errors/{kind}") in present_values
        },
        nvlink_links=links or None,
        nvlink_links_up=links_up,
        nvlink_bytes_per_second=_nvlink_rate(present_values, links_up),
        pcie_replays=present_values.get("pcie_replays"),
        pcie_link_width=query.optional("nvmlDeviceGetCurrPcieLinkWidth", fields=("pcie_link_width",)),
        pcie_link_width_max=query.optional("nvmlDeviceGetMaxPcieLinkWidth", fields=("pcie_link_width_max",)),
        pcie_link_generation=query.optional("nvmlDeviceGetCurrPcieLinkGeneration", fields=("pcie_link_generation",)),
        pcie_link_generation_max=query.optional(
            "nvmlDeviceGetMaxPcieLinkGeneration", fields=("pcie_link_generation_max",)
        ),
    )
    known = {name: value.value for name, value in features.items() if isinstance(value, FieldValue)}
    health = with_features(health, query, known)
    return replace(health, absent={**query.absent, **absent_fields(values), **absent_fields(features)})


def _quantities(links: int) -> Quantities:
    quantities: dict[str, tuple[FieldSource, ...]] = {
        "pcie_replays": (FieldSource(94),),
        "retired_pages/corrected": (FieldSource(29),),
        "retired_pages/uncorrected": (FieldSource(30),),
        "page_retirement_pending": (FieldSource(31),),
        "recovery_action": (FieldSource(230),),
    }
    for location, fields in _ECC_FIELDS.items():
        for error_type, field in fields.items():
            quantities[f"ecc_location_errors/{location}/{error_type}"] = (FieldSource(field),)
    for kind, (older, newer) in _LINK_ERRORS.items() if links else ():
        quantities[f"nvlink_errors/{kind}"] = (
            *(() if older is None else per_link_source(older, links)),
            *(() if newer is None else total_or_per_link_sources(newer, links)),
        )
    if links:
        quantities["nvlink_bytes_per_second/all"] = per_link_source(164, links, 1.0 / _MEGA)
        quantities["nvlink_bytes_per_second/each"] = (FieldSource(90, 1.0 / _MEGA),)
    return quantities


def _feature_quantities(query: DeviceQuery, links: int) -> Quantities:
    return feature_quantities(links, to_text(query.library.call("nvmlSystemGetDriverVersion")))


def _nvlink_rate(fields: Mapping[str, float], links_up: int | None) -> float | None:
    """Bytes per second and direction of all links: the sum of their speeds, else the common speed of those up."""
    common = fields.get("nvlink_bytes_per_second/each", 0.0) * (links_up or 0)
    return fields.get("nvlink_bytes_per_second/all") or common or None


def _ecc_errors(query: DeviceQuery) -> dict[ErrorType, float]:
    """Errors of all memories since the driver was loaded."""
    nvml = query.library.nvml
    kinds = (nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED)
    counts = [
        query.optional("nvmlDeviceGetTotalEccErrors", kind, nvml.NVML_VOLATILE_ECC, fields=("ecc_errors",))
        for kind in kinds
    ]
    return _without_none(dict(zip(_error_types(), counts, strict=True)))


def _ecc_location_errors(
    query: DeviceQuery, fields: Mapping[str, float]
) -> dict[tuple[MemoryLocation, ErrorType], float]:
    """Errors by memory since the driver was loaded: by field, and for SRAM, which has no field, by a call."""
    nvml = query.library.nvml
    counts: dict[tuple[MemoryLocation, ErrorType], float] = {
        (location, error_type): fields[name]
        for location, error_types in _ECC_FIELDS.items()
        for error_type in error_types
        if (name := f"ecc_location_errors/{location}/{error_type}") in fields
    }
    locations: Mapping[MemoryLocation, int] = {"dram": 2, "sram": 7}  # NVML_MEMORY_LOCATION_…
    kinds = (nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED)
    for location, number in locations.items():
        for error_type, kind in zip(_error_types(), kinds, strict=True):
            if (location, error_type) not in counts:
                count = query.optional(
                    "nvmlDeviceGetMemoryErrorCounter",
                    kind,
                    nvml.NVML_VOLATILE_ECC,
                    number,
                    expected_code=query.library.codes.invalid_argument,
                )
                if count is not None:
                    counts[location, error_type] = float(count)
    return counts


def _recovery_action(number: float | None) -> dict[RecoveryAction, float]:
    if number is None:
        return {}
    actions = cast("tuple[RecoveryAction, ...]", get_args(RecoveryAction))
    return {actions[min(int(number), len(actions) - 1)]: 1.0}


def _error_types() -> tuple[ErrorType, ...]:
    return cast("tuple[ErrorType, ...]", get_args(ErrorType))


def _without_none(counts: Mapping[ErrorType, int | None]) -> dict[ErrorType, float]:
    return {error_type: float(count) for error_type, count in counts.items() if count is not None}
