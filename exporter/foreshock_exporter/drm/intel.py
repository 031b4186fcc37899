"""State of an Intel GPU from the attributes of i915 and xe in sysfs.

Energy and limits: Linux, Documentation/ABI/testing/sysfs-driver-intel-{i915,xe}-hwmon. How busy the whole GPU is, only
privileged performance events report. By process, time and memory are in fdinfo.
"""

from __future__ import annotations

from foreshock_exporter.drm.attributes import Attributes
from foreshock_exporter.model.device import Counters, Reading

MICRO, MILLI, MEGA = 1e-6, 1e-3, 1e6
_CLOCKS = ("tile0/gt0/freq0/act_freq", "../gt/gt0/rps_act_freq_mhz")
"""Actual frequency of the first tile in MHz: of xe, and of i915, below the card itself."""


class MeanPower:
    """Mean power between two readings of the energy: the drivers report no power."""

    def __init__(self) -> None:
        self._before: tuple[float, float] | None = None

    def watts(self, joules: float | None, now: float) -> float | None:
        """Power since the last call; None at first, or after the energy fell."""
        before, self._before = self._before, None if joules is None else (now, joules)
        if before is None or joules is None or now <= before[0] or joules < before[1]:
            return None
        return (joules - before[1]) / (now - before[0])


def read_state(attributes: Attributes, power: MeanPower, now: float) -> Reading:
    """Current state. Raises DeviceError if the GPU is lost."""
    energy = _first(attributes, ("energy1_input", "energy2_input"), "power_watts", MICRO)
    limit = _first(attributes, ("power1_max", "power2_max"), "power_limit_watts", MICRO)
    package = _first(attributes, ("temp2_input", "temp1_input"), "temperature_celsius", MILLI)
    memory = attributes.sensor("temp3_input", "temperature_celsius", scale=MILLI)
    clocks = (attributes.number(name, scale=MEGA) for name in _CLOCKS)
    clock = next((hertz for hertz in clocks if hertz is not None), None)
    return Reading(
        power_watts=power.watts(energy, now),
        power_limit_watts=limit or None,  # 0 is a limit that is off
        temperature_celsius={
            **({"gpu": package} if package is not None else {}),
            **({"memory": memory} if memory is not None else {}),
        },
        clock_hertz={} if clock is None else {"sm": clock},
        absent=attributes.absent,
    )


def read_counters(attributes: Attributes) -> Counters:
    """Current counters. Raises DeviceError if the GPU is lost."""
    energy = _first(attributes, ("energy1_input", "energy2_input"), "energy_joules", MICRO)
    return Counters(energy_joules=energy, absent=attributes.absent)


def _first(attributes: Attributes, names: tuple[str, ...], field: str, scale: float) -> float | None:
    """First sensor that the GPU has: of the card, else of the package (xe); temp1 is the package's of i915.

    A sensor that fails is not replaced by another one, whose counter would differ.
    """
    for name in names:
        value = attributes.sensor(name, field, scale=scale)
        if value is not None or field in attributes.absent:
            return value
    return None
