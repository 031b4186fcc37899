"""The operating point of a GPU: how its channels are divided among those who run, and the clock that power allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from foreshock_simulator.hardware.models import GpuModel
from foreshock_simulator.hardware.power import IDLE, Use, clock_within, watts
from foreshock_simulator.hardware.sharing import Capacity, alone, divide

if TYPE_CHECKING:
    from foreshock_simulator.hardware.worker import Part

Group = tuple[Capacity, "list[Part]"]
"""Who runs on a MIG instance, or on a whole GPU, and what they share."""

_ROUNDS: Final = 12
"""Of looking for the clock at which use and power agree; a few suffice."""
_CLOSE: Final = 1e-4
"""Relative difference of power at which they do."""


def operate(model: GpuModel, groups: Sequence[Group], slices: bool, limit: float) -> tuple[Use, float, float]:
    """Divide the channels at the highest clock at which the GPU draws no more than `limit` watts.

    Gives use, clock ratio and watts, and tells every part the speed and the SMs that it gets. `slices`: time-slicing.
    """
    if len(groups) == 1 and len(groups[0][1]) < 2:  # the frequent case needs no search
        capacity, parts = groups[0]
        if not parts:
            return IDLE, 1.0, model.idle_watts
        part = parts[0]
        worker = part.worker
        part.speed, part.held = speed, held = alone(worker, 1.0, capacity)
        tensor, dram = worker.tensor * speed, worker.dram * speed
        # `watts` at the highest clock
        power = model.idle_watts + (model.sm_watts * held + model.tensor_watts * tensor) + model.dram_watts * dram
        if power <= limit:
            return (held, tensor, dram, worker.nvlink * speed, worker.pcie * speed), 1.0, power
    return _search(model, groups, slices, limit)


def _search(model: GpuModel, groups: Sequence[Group], slices: bool, limit: float) -> tuple[Use, float, float]:
    """The clock decides how processes share, and their use decides what the clock may be: look for where both agree."""
    clock = 1.0
    for _ in range(_ROUNDS):
        for capacity, parts in groups:
            if parts:
                portions = divide([part.worker for part in parts], slices, clock, capacity)
                for part, portion in zip(parts, portions, strict=True):
                    part.speed, part.held = portion
        use = used(groups, actual=False)
        power = watts(model, use, clock)
        if (power <= limit and clock == 1.0) or abs(power - limit) <= _CLOSE * limit:
            break
        wanted = clock_within(model, use, clock, limit)
        if wanted == clock:
            break
        clock = wanted
    return use, clock, power


def used(groups: Sequence[Group], actual: bool) -> Use:
    """The channels that those who run use: at the speed that this GPU allows them, or at their actual one."""
    busy = tensor = dram = nvlink = pcie = 0.0
    for _, parts in groups:
        for part in parts:
            worker = part.worker
            # A process that is slow by itself uses the channels as one that is not, for longer.
            speed = worker.speed * worker.slow if actual else part.speed
            busy += part.held
            tensor += worker.tensor * speed
            dram += worker.dram * speed
            nvlink += worker.nvlink * speed
            pcie += worker.pcie * speed
    return busy, tensor, dram, nvlink, pcie
