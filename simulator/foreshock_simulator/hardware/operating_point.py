"""The operating point of a GPU: the shares of its contexts, and the highest clock that its power limit allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from foreshock_simulator.hardware.context import Group
from foreshock_simulator.hardware.models import GpuModel
from foreshock_simulator.hardware.power import IDLE, ChannelUse, clock_at_limit, power_watts
from foreshock_simulator.hardware.sharing import exclusive_share, share_channels

_MAX_ITERATIONS: Final = 12
"""Bounds the search for the clock; a few iterations suffice."""
_POWER_TOLERANCE_RATIO: Final = 1e-4


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
