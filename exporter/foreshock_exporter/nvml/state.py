"""The state of a device at one instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from foreshock_exporter.model.device import Clock, DeviceError, Reading, Sensor
from foreshock_exporter.nvml.device_query import DeviceQuery
from foreshock_exporter.nvml.fields import FieldSource, FieldValue
from foreshock_exporter.nvml.mig import memory_info, mig_instances, scaled

_MEMORY_TEMPERATURE = {"temperature": (FieldSource(82),)}
_MEMORY = ("memory_used_bytes", "memory_free_bytes", "memory_reserved_bytes", "memory_total_bytes")


def read_state(asked: DeviceQuery) -> Reading:
    """The state now; a field that the device does not give is None. Raises DeviceError where it gives none."""
    rates = asked.may("nvmlDeviceGetUtilizationRates", of=("utilization_ratio", "memory_busy_ratio"))
    memory = memory_info(asked, _MEMORY)
    reading = Reading(
        utilization_ratio=_percent(getattr(rates, "gpu", None)),
        memory_busy_ratio=_percent(getattr(rates, "memory", None)),
        memory_used_bytes=scaled(getattr(memory, "used", None)),
        memory_free_bytes=scaled(getattr(memory, "free", None)),
        memory_reserved_bytes=scaled(getattr(memory, "reserved", None)),
        memory_total_bytes=scaled(getattr(memory, "total", None)),
        power_watts=scaled(asked.may("nvmlDeviceGetPowerUsage", of=("power_watts",)), 1e3),
        power_limit_watts=scaled(asked.may("nvmlDeviceGetEnforcedPowerLimit", of=("power_limit_watts",)), 1e3),
        temperature_celsius=_temperatures(asked),
        clock_hertz=clocks(asked, "nvmlDeviceGetClockInfo", "clock_hertz"),
        instances=mig_instances(asked),
    )
    if reading == Reading():
        raise DeviceError("driver", "NVML finds the GPU but answers none of its readings")
    return replace(reading, absent=asked.absent)


def clocks(asked: DeviceQuery, name: str, field: str) -> dict[Clock, float]:
    """The clocks of the SMs and of the memory by one of NVML's functions, which say MHz. Hz."""
    nvml = asked.library.nvml
    kinds: Mapping[Clock, Any] = {"sm": nvml.NVML_CLOCK_SM, "memory": nvml.NVML_CLOCK_MEM}
    said = {clock: asked.may(name, kind, of=(field,)) for clock, kind in kinds.items()}
    return {clock: megahertz * 1e6 for clock, megahertz in said.items() if megahertz is not None}


def _temperatures(asked: DeviceQuery) -> dict[Sensor, float]:
    """°C. A memory at 0 °C is one without a sensor: T4 and others answer 0 rather than "not supported"."""
    sensor = asked.library.nvml.NVML_TEMPERATURE_GPU
    field = ("temperature_celsius",)
    gpu = asked.may("nvmlDeviceGetTemperature", sensor)
    if gpu is None:
        gpu = asked.may("nvmlDeviceGetTemperatureV", sensor, of=field)
    memory = asked.fields("memory temperature", _MEMORY_TEMPERATURE).get("temperature")
    temperatures: dict[Sensor, float] = {} if gpu is None else {"gpu": float(gpu)}
    if isinstance(memory, FieldValue) and memory.value > 0.0:
        temperatures["memory"] = memory.value
    return temperatures


def _percent(value: int | None) -> float | None:
    """A ratio; None for the garbage beyond 100 % that some drivers give."""
    return value / 100.0 if value is not None and 0 <= value <= 100 else None
