"""MIG: a GPU cut into instances that have their SMs and their memory for themselves."""

from __future__ import annotations

from collections.abc import Sequence

from foreshock_simulator.hardware.models import GpuModel
from foreshock_simulator.hardware.sharing import Capacity

SM_PARTS = 7
MEMORY_PARTS = 8
_MEMORY_OF = {1: 1, 2: 2, 3: 4, 4: 4, 7: 8}
"""Eighths of memory and its bandwidth by sevenths of SMs (NVIDIA's MIG user guide: 1g.10gb, 2g.20gb, 3g.40gb …)."""


class Instance:
    """One MIG instance: its part of the GPU's SMs and bandwidth, and of its memory in bytes."""

    __slots__ = ("capacity", "memory_bytes", "slices")

    def __init__(self, model: GpuModel, slices: int) -> None:
        self.slices = slices
        parts = _MEMORY_OF[slices]
        self.capacity = Capacity(slices / SM_PARTS, parts / MEMORY_PARTS)
        self.memory_bytes = (model.memory_bytes - model.reserved_bytes) * parts / MEMORY_PARTS


def instances(model: GpuModel, slices: tuple[int, ...]) -> tuple[Instance, ...]:
    """Cut a GPU into instances of so many sevenths of its SMs each.

    Raises:
        ValueError: the GPU has no MIG, there is no such instance, or they do not fit together.
    """
    if not model.mig:
        raise ValueError(f"{model.name} has no MIG; share it by time-slicing or mps")
    if not slices or any(size not in _MEMORY_OF for size in slices):
        raise ValueError(f"MIG instances have 1, 2, 3, 4 or 7 sevenths of a GPU, not {list(slices)}")
    if sum(slices) > SM_PARTS or sum(_MEMORY_OF[size] for size in slices) > MEMORY_PARTS:
        raise ValueError(f"MIG instances {list(slices)} do not fit on one GPU: 7 sevenths of SMs, 8 eighths of memory")
    return tuple(Instance(model, size) for size in slices)


def least_used(processes: Sequence[int], fits: Sequence[bool]) -> int:
    """The instance that a new process goes into: of those where it fits, the first with the fewest processes.

    Where it fits nowhere, the first, so that whoever starts it there says what is wrong.
    """
    return min((number for number, fit in enumerate(fits) if fit), key=lambda number: processes[number], default=0)
