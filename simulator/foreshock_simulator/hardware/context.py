"""A process on one GPU (a CUDA context), and the interfaces that GPUs and processes have to each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from foreshock_simulator.hardware.sharing import ChannelCapacity, Load


class Device(Protocol):
    """A GPU as its processes and other GPUs see it."""

    groups: tuple[Group, ...]
    advanced_to: float

    def advance(self) -> None: ...

    def allocate(self) -> None: ...

    def recompute_use(self) -> None: ...

    def schedule_overheating(self) -> None: ...

    def update_membership(self, context: Context, /) -> None: ...


class GpuProcess(Load, Protocol):
    """A process as its GPUs see it."""

    pid: int
    memory_bytes: float
    tensor: float
    speed: float
    slowdown: float
    active: int
    resident: bool
    multi_gpu: bool

    @property
    def gpus(self) -> Sequence[Device]: ...

    @property
    def contexts(self) -> Sequence[Context]: ...

    def update_speed(self) -> bool: ...


class Context:
    """A process on one of its GPUs, in a MIG instance of it or (0) on the whole GPU.

    `sm_share` is the share of the GPU's SMs that it holds, `busy_seconds` the integral of it up to `Gpu.advanced_to`.
    `speed` is the progress that this GPU alone would allow.
    """

    __slots__ = ("busy_seconds", "gpu", "instance", "process", "sm_share", "speed")

    def __init__(self, process: GpuProcess, gpu: Device, instance: int) -> None:
        self.process, self.gpu, self.instance = process, gpu, instance
        self.sm_share = self.busy_seconds = 0.0
        self.speed = 1.0

    @property
    def waits_for_other_gpu(self) -> bool:
        """Whether the process is slower than this GPU would allow."""
        return self.process.speed * self.process.slowdown != self.speed


Group = tuple[ChannelCapacity, list[Context]]
"""The running contexts of a MIG instance or of a whole GPU, and the capacity that they share."""
