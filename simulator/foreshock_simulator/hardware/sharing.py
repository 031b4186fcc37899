"""How processes that run on a GPU at once share its channels, and how much that slows each of them.

A process alone on an idle GPU progresses by one second of its work a second. Of that second it holds the SMs for `sm`
(time-slicing: the share of time in which one of its kernels is resident), of which `dram` is bound by memory and the
rest by clocks; the remainder is its own host. It dispatches `kernels` times a second and waits for each dispatch, so
pipelined launches and CUDA graphs count once. With neighbours j, a second of its work takes

    E = max(1, sm) + (P − sm) + kernels · (Δgap(n) + Σⱼ smⱼ · min(slice, smⱼ / kernelsⱼ) / 2)

    P = dram · (1 + κ · Σⱼ dramⱼ) + (sm − dram) / clock        SM seconds that a second of work costs

where Δgap is what n processes add to the gap before each dispatch (iGniter, TPDS 2023: 1.4 µs alone to 17 µs with
five), the sum is the rest of a neighbour's time slice that a dispatch finds in its way (time-slicing only), and κ is
what caches emptied by neighbours cost memory-bound work. So it asks for P / E of the SMs. Where the demands exceed a
channel (SMs, memory bandwidth, NVLink, PCIe), the channel is divided max-min fairly, as round-robin does; nobody gets
more than it asks for, and nothing is left idle that somebody asks for.

MPS runs processes side by side: no slices, but the same channels. A MIG instance is a GPU of its own with part of the
SMs and of the memory bandwidth, so processes on different instances share only the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

SLICE_SECONDS = 2e-3
"""A context's turn where others wait (the default time slice of NVIDIA's drivers)."""
CACHE_INTERFERENCE = 0.5
"""κ above; of the values tried, the one with which all three of Gavel's GPUs can be matched best."""


class Load(Protocol):
    """The channels that a process uses while alone, as shares of the whole GPU; kernels in dispatches a second."""

    @property
    def sm(self) -> float:
        """SMs; above 1 where a process runs several things at once."""
        ...

    @property
    def dram(self) -> float:
        """Memory bandwidth."""
        ...

    @property
    def nvlink(self) -> float:
        """NVLink in one direction."""
        ...

    @property
    def pcie(self) -> float:
        """PCIe in one direction."""
        ...

    @property
    def kernels(self) -> float:
        """Dispatches a second."""
        ...


class Capacity(NamedTuple):
    """The part of a GPU that its processes share: 1 for all of it, less for a MIG instance."""

    sm: float = 1.0
    dram: float = 1.0


WHOLE = Capacity()


class Portion(NamedTuple):
    """What a process gets: progress relative to running alone, and the share of the GPU's SMs it holds meanwhile."""

    speed: float
    held: float


def dispatch_gap(processes: int) -> float:
    """Seconds before a dispatch with so many processes on the GPU.

    iGniter (Xu et al., TPDS 2023) measured 1.4, 1.7, 6.8, 11.9 and 17.0 µs for one to five on a V100.
    """
    return 1.4e-6 if processes <= 1 else 1.7e-6 + 5.1e-6 * (processes - 2)


def fair_shares(demands: Sequence[float], capacity: float) -> Sequence[float]:
    """Divide a capacity max-min fairly: who asks for less than an equal part gets it, the others share the rest."""
    if sum(demands) <= capacity:
        return demands
    shares = [0.0] * len(demands)
    left, waiting = capacity, len(demands)
    for index in sorted(range(len(demands)), key=demands.__getitem__):
        shares[index] = min(demands[index], left / waiting)
        left -= shares[index]
        waiting -= 1
    return shares


def divide(loads: Sequence[Load], slices: bool, clock: float = 1.0, capacity: Capacity = WHOLE) -> list[Portion]:
    """What each of some processes gets that run at once; `clock` relative to the highest, `slices`: time-slicing."""
    if len(loads) == 1:
        return [Portion(*alone(loads[0], clock, capacity))]
    costs, speeds, drams, turns = [], [], [], []
    gap = dispatch_gap(len(loads)) - dispatch_gap(1)
    for load in loads:
        drams.append(min(1.0, load.dram))
        turns.append(_turn(load) if slices else 0.0)
    dram, turn = sum(drams), sum(turns)
    held = read = linked = copied = 0.0
    for load, own_dram, own_turn in zip(loads, drams, turns, strict=True):
        sm = load.sm
        bound = min(load.dram, sm)
        cost = bound * (1.0 + CACHE_INTERFERENCE * (dram - own_dram)) + (sm - bound) / clock
        speed = 1.0 / (max(1.0, sm) + cost - sm + load.kernels * (gap + turn - own_turn))
        costs.append(cost)
        speeds.append(speed)
        held += cost * speed
        read += load.dram * speed
        linked += load.nvlink * speed
        copied += load.pcie * speed
    fits = held <= capacity.sm and read <= capacity.dram and linked <= 1.0 and copied <= 1.0
    granted = speeds if fits else _within(loads, costs, speeds, capacity)
    return [Portion(speed, cost * speed) for speed, cost in zip(granted, costs, strict=True)]


def _within(loads: Sequence[Load], costs: Sequence[float], speeds: list[float], capacity: Capacity) -> list[float]:
    """The speeds at which no channel is asked for more than it has; one after another is divided."""
    demands = [cost * speed for speed, cost in zip(speeds, costs, strict=True)]
    shares = fair_shares(demands, capacity.sm)
    if shares is not demands:
        speeds = [
            min(speed, share / cost) if cost else speed
            for speed, share, cost in zip(speeds, shares, costs, strict=True)
        ]
    drams, nvlinks, pcies = zip(*[(load.dram, load.nvlink, load.pcie) for load in loads], strict=True)
    for uses, room in ((drams, capacity.dram), (nvlinks, 1.0), (pcies, 1.0)):
        if sum(uses) > room:  # nobody is faster than alone, so otherwise it suffices
            demands = [use * speed for use, speed in zip(uses, speeds, strict=True)]
            shares = fair_shares(demands, room)
            if shares is not demands:
                speeds = [share / use if use else speed for speed, share, use in zip(speeds, shares, uses, strict=True)]
    return speeds


def alone(load: Load, clock: float, capacity: Capacity) -> tuple[float, float]:
    """What one process gets without neighbours, which is the frequent case: speed and SMs held, as a `Portion` has."""
    sm, dram = load.sm, load.dram
    bound = dram
    if bound > sm:
        bound = sm
    cost = bound + (sm - bound) / clock
    seconds = 1.0
    if sm > seconds:
        seconds = sm
    speed = 1.0 / (seconds + cost - sm)
    sm_room, dram_room = capacity
    if cost * speed > sm_room:
        speed = sm_room / cost
    if dram * speed > dram_room:
        speed = dram_room / dram
    if load.nvlink * speed > 1.0:
        speed = 1.0 / load.nvlink
    if load.pcie * speed > 1.0:
        speed = 1.0 / load.pcie
    return speed, cost * speed


def _turn(load: Load) -> float:
    """Seconds of this process's turns that a neighbour's dispatch has to wait for on average."""
    sm, kernels, turn = load.sm, load.kernels, SLICE_SECONDS
    if sm > 1.0:
        sm = 1.0
    if kernels > 0.0:
        kernel = sm / kernels
        if kernel < turn:
            turn = kernel
    return 0.5 * sm * turn
