"""Power, clocks and temperature of a GPU.

With f the clock relative to its maximum, the power is

    P = idle + sm_watts · busy · f³ + tensor_watts · tensor · f² + dram_watts · dram

where busy is the share of SMs that are held, and tensor and dram are shares of the peaks (power of logic goes as f·V²,
and V about as f; `tensor` contains one f already, since matrix work slows down with the clock). Above the power limit,
the clock falls until P fits. The temperature settles at inlet + R · P with one time constant. At the maximum
temperature, the power limit falls to the value that holds it, until the GPU is `RELEASE_CELSIUS` cooler.
"""

from __future__ import annotations

import math
from typing import Literal

from foreshock_simulator.hardware.models import GpuModel

INLET_CELSIUS = 27.0
RELEASE_CELSIUS = 2.0
"""Distance below the maximum temperature at which thermal throttling ends."""
ThrottleReason = Literal["power", "thermal"]

ChannelUse = tuple[float, float, float, float, float]
"""Momentary use of a GPU's channels as shares of their capacity: busy, tensor, dram, nvlink, pcie."""
IDLE: ChannelUse = (0.0, 0.0, 0.0, 0.0, 0.0)


def power_watts(model: GpuModel, use: ChannelUse, clock: float) -> float:
    """Power at this use and clock ratio."""
    busy, tensor, dram, _, _ = use
    return (
        model.idle_watts
        + clock * clock * (model.sm_watts * busy * clock + model.tensor_watts * tensor)
        + model.dram_watts * dram
    )


def clock_at_limit(model: GpuModel, use: ChannelUse, clock: float, limit_watts: float) -> float:
    """Clock ratio at which a use, measured at `clock`, would draw `limit_watts`; from the model's minimum to 1."""
    _, _, dram, _, _ = use
    fixed = model.idle_watts + model.dram_watts * dram
    dynamic = power_watts(model, use, clock) - fixed
    if dynamic <= 0.0:
        return 1.0
    ratio = clock * math.cbrt(max(0.0, limit_watts - fixed) / dynamic)
    return min(1.0, max(model.clock_min_ratio, ratio))


class ThermalState:
    """The temperature of a GPU, and whether it throttles for it."""

    __slots__ = ("_model", "_target", "celsius", "inlet_celsius", "throttled")

    def __init__(self, model: GpuModel) -> None:
        self._model = model
        self.inlet_celsius = INLET_CELSIUS
        self.celsius = self._target = INLET_CELSIUS + model.celsius_per_watt * model.idle_watts
        self.throttled = False

    def celsius_after(self, seconds: float) -> float:
        """The temperature after a time at the present power."""
        if self.celsius == self._target:
            return self.celsius
        return self._target + (self.celsius - self._target) * math.exp(-seconds / self._model.thermal_seconds)

    def advance(self, seconds: float) -> None:
        """Move on by a time at the present power."""
        self.celsius = self.celsius_after(seconds)

    def limit_watts(self) -> float:
        """The power that holds the maximum temperature; infinite unless throttled."""
        if self.throttled and self.celsius < self._model.max_celsius - RELEASE_CELSIUS:
            self.throttled = False
        if not self.throttled:
            return math.inf
        return max(0.0, self._model.max_celsius - self.inlet_celsius) / self._model.celsius_per_watt

    def set_power(self, watts: float) -> float | None:
        """Set the present power; returns the seconds until the maximum temperature, None if it is never reached."""
        self._target = self.inlet_celsius + self._model.celsius_per_watt * watts
        if self.throttled or self._target <= self._model.max_celsius:
            return None
        over = (self._target - self.celsius) / (self._target - self._model.max_celsius)
        return self._model.thermal_seconds * math.log(max(1.0, over))
