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
from collections.abc import Sequence
from typing import Final, Literal

from foreshock_simulator.hardware.models import GpuModel
from foreshock_simulator.hardware.sharing import Group, exclusive_share, share_channels

INLET_CELSIUS = 27.0
RELEASE_CELSIUS = 2.0
"""Distance below the maximum temperature at which thermal throttling ends."""
ThrottleReason = Literal["power", "thermal"]

ChannelUse = tuple[float, float, float, float, float]
"""Momentary use of a GPU's channels as shares of their capacity: busy, tensor, dram, nvlink, pcie."""
IDLE: ChannelUse = (0.0, 0.0, 0.0, 0.0, 0.0)

_MAX_ITERATIONS: Final = 12
"""Bounds the search for the clock; a few iterations suffice."""
_POWER_TOLERANCE_RATIO: Final = 1e-4


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


def operating_point(
    model: GpuModel, groups: Sequence[Group], time_sliced: bool, limit_watts: float
) -> tuple[ChannelUse, float, float]:
    """Share the channels at the highest clock at which the GPU draws up to `limit_watts`.

    Sets `speed` and `sm_share` of each context.

    Returns:
        Use of the channels, clock ratio, and power in watts.
    """
    if len(groups) == 1 and len(groups[0][1]) < 2:  # the most frequent case needs no search
        capacity, contexts = groups[0]
        if not contexts:
            return IDLE, 1.0, model.idle_watts
        context = contexts[0]
        process = context.process
        context.speed, context.sm_share = speed, sm_share = exclusive_share(process, 1.0, capacity)
        tensor, dram = process.tensor * speed, process.dram * speed
        # `power_watts` at the highest clock
        power = model.idle_watts + (model.sm_watts * sm_share + model.tensor_watts * tensor) + model.dram_watts * dram
        if power <= limit_watts:
            return (sm_share, tensor, dram, process.nvlink * speed, process.pcie * speed), 1.0, power
    return _search_clock(model, groups, time_sliced, limit_watts)


def _search_clock(
    model: GpuModel, groups: Sequence[Group], time_sliced: bool, limit_watts: float
) -> tuple[ChannelUse, float, float]:
    """Fixed-point iteration: the clock determines the shares, and their use of power determines the clock."""
    clock = 1.0
    for _ in range(_MAX_ITERATIONS):
        for capacity, contexts in groups:
            if contexts:
                shares = share_channels([context.process for context in contexts], time_sliced, clock, capacity)
                for context, share in zip(contexts, shares, strict=True):
                    context.speed, context.sm_share = share
        use = channel_use(groups, actual=False)
        power = power_watts(model, use, clock)
        if (power <= limit_watts and clock == 1.0) or abs(power - limit_watts) <= _POWER_TOLERANCE_RATIO * limit_watts:
            break
        next_clock = clock_at_limit(model, use, clock, limit_watts)
        if next_clock == clock:
            break
        clock = next_clock
    return use, clock, power


def channel_use(groups: Sequence[Group], actual: bool) -> ChannelUse:
    """Use of the channels: at the actual speed of the processes, or at the speed that this GPU allows."""
    busy = tensor = dram = nvlink = pcie = 0.0
    for _, contexts in groups:
        for context in contexts:
            process = context.process
            # A slowed-down process uses the channels as strongly as a normal one, only for longer.
            speed = process.speed * process.slowdown if actual else context.speed
            busy += context.sm_share
            tensor += process.tensor * speed
            dram += process.dram * speed
            nvlink += process.nvlink * speed
            pcie += process.pcie * speed
    return busy, tensor, dram, nvlink, pcie
