"""Power, clocks and heat of a GPU.

Power follows use. With f the clock relative to its highest,

    P = idle + sm_watts · busy · f³ + tensor_watts · tensor · f² + dram_watts · dram

where busy is the share of the SMs that is held, and tensor and dram are the shares of the peaks that are reached (power
of logic goes as f·V², and V about as f; `tensor` has one f in it already, since matrix work slows down with the clock).
Where P would exceed the limit, the clock falls until it does not. The temperature settles at inlet + R · P with one
time constant; where it reaches the highest allowed, the limit becomes what holds it there until it is 2 °C below.
"""

from __future__ import annotations

import math
from typing import Literal

from foreshock_simulator.hardware.models import GpuModel

INLET_CELSIUS = 27.0
RELEASE_CELSIUS = 2.0
"""Below the highest temperature by so much, a GPU that was held down for heat is let go."""
Reason = Literal["power", "thermal"]
"""Why a clock is held down, in the words of the exporter."""


Use = tuple[float, float, float, float, float]
"""The use of a GPU's channels at one moment, as shares of what it has: busy, tensor, dram, nvlink, pcie."""
IDLE: Use = (0.0, 0.0, 0.0, 0.0, 0.0)


def watts(model: GpuModel, use: Use, clock: float) -> float:
    """Power at this use and clock ratio."""
    busy, tensor, dram, _, _ = use
    return (
        model.idle_watts
        + clock * clock * (model.sm_watts * busy * clock + model.tensor_watts * tensor)
        + model.dram_watts * dram
    )


def clock_within(model: GpuModel, use: Use, clock: float, limit: float) -> float:
    """The clock ratio at which this use, seen at `clock`, would draw `limit` watts; from the model's lowest to 1."""
    _, _, dram, _, _ = use
    fixed = model.idle_watts + model.dram_watts * dram
    moving = watts(model, use, clock) - fixed
    if moving <= 0.0:
        return 1.0
    ratio = clock * math.cbrt(max(0.0, limit - fixed) / moving)
    return min(1.0, max(model.clock_min_ratio, ratio))


class Heat:
    """The temperature of a GPU, and whether its clocks are held down for it."""

    __slots__ = ("_model", "celsius", "held", "inlet_celsius", "target")

    def __init__(self, model: GpuModel) -> None:
        self._model = model
        self.inlet_celsius = INLET_CELSIUS
        self.celsius = self.target = INLET_CELSIUS + model.celsius_per_watt * model.idle_watts
        self.held = False

    def after(self, seconds: float) -> float:
        """The temperature after so long at the present power."""
        if self.celsius == self.target:
            return self.celsius
        return self.target + (self.celsius - self.target) * math.exp(-seconds / self._model.thermal_seconds)

    def wait(self, seconds: float) -> None:
        """So long it has been at the present power."""
        self.celsius = self.after(seconds)

    def limit_watts(self) -> float:
        """What may be drawn without getting hotter than allowed; unlimited until it has been that hot."""
        if self.held and self.celsius < self._model.max_celsius - RELEASE_CELSIUS:
            self.held = False
        if not self.held:
            return math.inf
        return max(0.0, self._model.max_celsius - self.inlet_celsius) / self._model.celsius_per_watt

    def draw(self, power: float) -> float | None:
        """Head for where this power leads; seconds until the highest temperature is reached, None: never."""
        self.target = self.inlet_celsius + self._model.celsius_per_watt * power
        if self.held or self.target <= self._model.max_celsius:
            return None
        over = (self.target - self.celsius) / (self.target - self._model.max_celsius)
        return self._model.thermal_seconds * math.log(max(1.0, over))
