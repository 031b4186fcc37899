"""MIG: a GPU partitioned into instances with SMs and memory of their own."""

from __future__ import annotations

from collections.abc import Sequence

from foreshock_simulator.hardware.models import GpuModel
from foreshock_simulator.hardware.sharing import ChannelCapacity

COMPUTE_SLICES = 7
MEMORY_SLICES = 8
_MEMORY_SLICES_OF = {1: 1, 2: 2, 3: 4, 4: 4, 7: 8}
"""Memory slices by compute slices of an instance (NVIDIA's MIG user guide: 1g.10gb, 2g.20gb, 3g.40gb …)."""


class MigInstance:
    """A MIG instance: its share of the GPU's SMs and bandwidth, and its memory in bytes."""

    __slots__ = ("capacity", "memory_bytes", "slices")

    def __init__(self, model: GpuModel, slices: int) -> None:
        self.slices = slices
        memory_slices = _MEMORY_SLICES_OF[slices]
        self.capacity = ChannelCapacity(slices / COMPUTE_SLICES, memory_slices / MEMORY_SLICES)
        self.memory_bytes = (model.memory_bytes - model.reserved_bytes) * memory_slices / MEMORY_SLICES


def mig_instances(model: GpuModel, slices: tuple[int, ...]) -> tuple[MigInstance, ...]:
    """Partition a GPU into instances with these numbers of compute slices.

    Raises:
        ValueError: the GPU has no MIG, an instance of that size does not exist, or the instances do not fit.
    """
    if not model.mig:
        raise ValueError(f"{model.name} has no MIG; share it by time-slicing or mps")
    if not slices or any(size not in _MEMORY_SLICES_OF for size in slices):
        raise ValueError(f"MIG instances have 1, 2, 3, 4 or 7 sevenths of a GPU, not {list(slices)}")
    if sum(slices) > COMPUTE_SLICES or sum(_MEMORY_SLICES_OF[size] for size in slices) > MEMORY_SLICES:
        raise ValueError(f"MIG instances {list(slices)} do not fit on one GPU: 7 sevenths of SMs, 8 eighths of memory")
    return tuple(MigInstance(model, size) for size in slices)


def least_used_instance(processes: Sequence[int], fits: Sequence[bool]) -> int:
    """Index of the instance for a new process: among those with room, the first with the fewest processes.

    0 when no instance has room; starting the process there then fails with the reason.
    """
    return min((index for index, fit in enumerate(fits) if fit), key=lambda index: processes[index], default=0)
