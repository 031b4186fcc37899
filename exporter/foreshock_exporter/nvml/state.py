"""State of a device at one instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from foreshock_exporter.model.device import Clock, DeviceError, Reading, Sensor
from foreshock_exporter.nvml.device_query import DeviceQuery
from foreshock_exporter.nvml.field_values import FieldSource, FieldValue
from foreshock_exporter.nvml.mig import memory_info, mig_instances, to_base_units

_MEMORY_TEMPERATURE = {"temperature": (FieldSource(82),)}
_MEMORY = ("memory_used_bytes", "memory_free_bytes", "memory_reserved_bytes", "memory_total_bytes")


def read_state(query: DeviceQuery) -> Reading:
    """Current state; unsupported fields are None. Raises DeviceError if none is supported."""
    rates = query.optional("nvmlDeviceGetUtilizationRates", fields=("utilization_ratio", "memory_busy_ratio"))
    memory = memory_info(query, _MEMORY)
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
        temperature_celsius=_temperatures(query),
        clock_hertz=clocks(query, "nvmlDeviceGetClockInfo", "clock_hertz"),
        instances=mig_instances(query),
    )
    if reading == Reading():
        raise DeviceError("driver", "NVML finds the GPU but answers none of its readings")
    return replace(reading, absent=query.absent)


def clocks(query: DeviceQuery, name: str, field: str) -> dict[Clock, float]:
    """SM and memory clock in Hz, by an NVML function that returns MHz."""
    nvml = query.library.nvml
    kinds: Mapping[Clock, Any] = {"sm": nvml.NVML_CLOCK_SM, "memory": nvml.NVML_CLOCK_MEM}
    values = {clock: query.optional(name, kind, fields=(field,)) for clock, kind in kinds.items()}
    return {clock: megahertz * 1e6 for clock, megahertz in values.items() if megahertz is not None}


def _temperatures(query: DeviceQuery) -> dict[Sensor, float]:
    """Temperatures in °C. A memory temperature of 0 °C means no sensor, as on a T4."""
    sensor = query.library.nvml.NVML_TEMPERATURE_GPU
    field = ("temperature_celsius",)
    gpu = query.optional("nvmlDeviceGetTemperature", sensor)
    if gpu is None:
        gpu = query.optional("nvmlDeviceGetTemperatureV", sensor, fields=field)
    memory = query.field_values("memory temperature", _MEMORY_TEMPERATURE).get("temperature")
    temperatures: dict[Sensor, float] = {} if gpu is None else {"gpu": float(gpu)}
    if isinstance(memory, FieldValue) and memory.value > 0.0:
        temperatures["memory"] = memory.value
    return temperatures


def _percent(value: int | None) -> float | None:
    """Ratio of a percentage; None outside 0 to 100, which some drivers return."""
    return value / 100.0 if value is not None and 0 <= value <= 100 else None
