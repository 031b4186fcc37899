"""How processes that run on a GPU at once share its channels, and how much that slows each of them down.

A process alone on an idle GPU does one second of work per second. During that second it holds the SMs for `sm`
(time-slicing: the share of time with a resident kernel), of which `dram` is bound by memory and the rest by clocks; the
remainder is time of its host. It makes `kernels` dispatches per second and waits for each of them, so pipelined
launches and CUDA graphs count once. With neighbors j, a second of work takes

    E = max(1, sm) + (P − sm) + kernels · (Δgap(n) + Σⱼ smⱼ · min(slice, smⱼ / kernelsⱼ) / 2)

    P = dram · (1 + κ · Σⱼ dramⱼ) + (sm − dram) / clock        SM seconds per second of work

where Δgap is the part of the gap before each dispatch that n processes add (iGniter, TPDS 2023: 1.4 µs alone to 17 µs
with five). The sum is the rest of a neighbor's time slice that a dispatch waits for (time-slicing only). κ is the cost
of caches that neighbors have emptied, for memory-bound work. So the demand is P / E of the SMs. Where demands exceed a
channel (SMs, memory bandwidth, NVLink, PCIe), it is divided max-min fairly, as by round-robin: no process gets more
than its demand, and capacity stays idle only when all demands are met.

MPS runs processes side by side: no slices, but the same channels. A MIG instance is a separate GPU with part of the
SMs and of the memory bandwidth, so processes on different instances share only the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

TIME_SLICE_SECONDS = 2e-3
"""Default time slice of NVIDIA's drivers."""
CACHE_INTERFERENCE = 0.5
"""κ above; the value that fits Gavel's measurements on all three of its GPUs best."""


class Load(Protocol):
    """Use of the channels by a process that runs alone, as shares of the whole GPU. NVLink and PCIe in one direction.

    `sm` is above 1 with several concurrent tasks. `kernels` are dispatches per second.
    """

    sm: float
    dram: float
    nvlink: float
    pcie: float
    kernels: float


class ChannelCapacity(NamedTuple):
    """The part of a GPU that a group of processes shares: 1 for the whole GPU, less for a MIG instance."""

    sm: float = 1.0
    dram: float = 1.0


WHOLE_GPU = ChannelCapacity()


class Share(NamedTuple):
    """The share of a process: progress relative to running alone, and the share of the GPU's SMs that it holds."""

    speed: float
    sm_share: float


def dispatch_gap(processes: int) -> float:
    """Seconds before each dispatch with `processes` on the GPU.

    iGniter (Xu et al., TPDS 2023) measured 1.4, 1.7, 6.8, 11.9 and 17.0 µs for one to five on a V100.
    """
    return 1.4e-6 if processes <= 1 else 1.7e-6 + 5.1e-6 * (processes - 2)


def fair_shares(demands: Sequence[float], capacity: float) -> Sequence[float]:
    """Divide a capacity max-min fairly among demands. Returns `demands` itself when they fit."""
    if sum(demands) <= capacity:
        return demands
    shares = [0.0] * len(demands)
    available, remaining = capacity, len(demands)
    for index in sorted(range(len(demands)), key=demands.__getitem__):
        shares[index] = min(demands[index], available / remaining)
        available -= shares[index]
        remaining -= 1
    return shares


def share_channels(
    loads: Sequence[Load], time_sliced: bool, clock: float = 1.0, capacity: ChannelCapacity = WHOLE_GPU
) -> list[Share]:
    """The share of each process that runs; `clock` relative to the maximum. The formulas of the module docstring."""
    if len(loads) == 1:
        return [Share(*exclusive_share(loads[0], clock, capacity))]
    costs, speeds, drams, slice_waits = [], [], [], []
    gap = dispatch_gap(len(loads)) - dispatch_gap(1)
    for load in loads:
        drams.append(min(1.0, load.dram))
        slice_waits.append(_slice_wait(load) if time_sliced else 0.0)
    dram, slice_wait = sum(drams), sum(slice_waits)
    sm_use = dram_use = nvlink_use = pcie_use = 0.0
    for load, own_dram, own_slice_wait in zip(loads, drams, slice_waits, strict=True):
        sm = load.sm
        memory_bound = min(load.dram, sm)
        cost = memory_bound * (1.0 + CACHE_INTERFERENCE * (dram - own_dram)) + (sm - memory_bound) / clock
        speed = 1.0 / (max(1.0, sm) + cost - sm + load.kernels * (gap + slice_wait - own_slice_wait))
        costs.append(cost)
        speeds.append(speed)
        sm_use += cost * speed
        dram_use += load.dram * speed
        nvlink_use += load.nvlink * speed
        pcie_use += load.pcie * speed
    fits = sm_use <= capacity.sm and dram_use <= capacity.dram and nvlink_use <= 1.0 and pcie_use <= 1.0
    granted = speeds if fits else _limited_speeds(loads, costs, speeds, capacity)
    return [Share(speed, cost * speed) for speed, cost in zip(granted, costs, strict=True)]


def _limited_speeds(
    loads: Sequence[Load], costs: Sequence[float], speeds: list[float], capacity: ChannelCapacity
) -> list[float]:
    """The speeds after dividing each channel in turn, so that no channel exceeds its capacity."""
    demands = [cost * speed for speed, cost in zip(speeds, costs, strict=True)]
    shares = fair_shares(demands, capacity.sm)
    if shares is not demands:
        speeds = [
            min(speed, share / cost) if cost else speed
            for speed, share, cost in zip(speeds, shares, costs, strict=True)
        ]
    drams, nvlinks, pcies = zip(*[(load.dram, load.nvlink, load.pcie) for load in loads], strict=True)
    for uses, available in ((drams, capacity.dram), (nvlinks, 1.0), (pcies, 1.0)):
        if sum(uses) > available:  # speeds are at most 1, so otherwise the channel suffices
            demands = [use * speed for use, speed in zip(uses, speeds, strict=True)]
            shares = fair_shares(demands, available)
            if shares is not demands:
                speeds = [share / use if use else speed for speed, share, use in zip(speeds, shares, uses, strict=True)]
    return speeds


def exclusive_share(load: Load, clock: float, capacity: ChannelCapacity) -> tuple[float, float]:
    """Speed and SM share of a process without neighbors; the most frequent case."""
    sm, dram = load.sm, load.dram
    memory_bound = dram
    if memory_bound > sm:
        memory_bound = sm
    cost = memory_bound + (sm - memory_bound) / clock
    seconds = 1.0
    if sm > seconds:
        seconds = sm
    speed = 1.0 / (seconds + cost - sm)
    sm_capacity, dram_capacity = capacity
    if cost * speed > sm_capacity:
        speed = sm_capacity / cost
    if dram * speed > dram_capacity:
        speed = dram_capacity / dram
    if load.nvlink * speed > 1.0:
        speed = 1.0 / load.nvlink
    if load.pcie * speed > 1.0:
        speed = 1.0 / load.pcie
    return speed, cost * speed


def _slice_wait(load: Load) -> float:
    """Mean seconds that a neighbor's dispatch waits for the time slices of this process."""
    sm, kernels, slice_seconds = load.sm, load.kernels, TIME_SLICE_SECONDS
    if sm > 1.0:
        sm = 1.0
    if kernels > 0.0:
        kernel = sm / kernels
        if kernel < slice_seconds:
            slice_seconds = kernel
    return 0.5 * sm * slice_seconds


class Device(Protocol):
    """A GPU as its processes and other GPUs see it."""

    groups: tuple[Group, ...]
    advanced_to: float
    ended_sm_seconds: float

    def advance(self) -> None: ...

    def allocate(self) -> None: ...

    def recompute_use(self) -> None: ...

    def schedule_overheating(self) -> None: ...

    def update_membership(self, context: Context, /) -> None: ...


class GpuProcess(Load, Protocol):
    """A process as its GPUs see it."""

    pid: int
    memory_bytes: float
    sm_activity: float
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
