"""Work for a GPU, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from foreshock_simulator.core.engine import (Engine, Signal)


class Work(NamedTuple):
    """A stretch of work: how long it takes alone on an idle GPU, and the channels it uses meanwhile.

    `sm`: the share of the time in which its kernels are resident; the others are shares of the GPU's peak: memory
    bandwidth, tensor cores, NVLink and PCIe in one direction. `kernels`: dispatches a second that it waits for. On
    several GPUs the same is used of each.
    """

    seconds: float
    sm: float
    dram: float = 0.0
    tensor: float = 0.0
    nvlink: float = 0.0
    pcie: float = 0.0
    kernels: float = 0.0


class Task(Signal):
    """Work under way. It fires with True when it is done, with False when it was cancelled or its process ended.

    `action` is called first when it is done, without any delay: a server begins its next step there.
    """

    __slots__ = ("action", "begun", "end", "work")

    def __init__(self, engine: Engine, work: Work, begun: float, action: Callable[[], None] | None) -> None:
        self._engine, self.waiter, self.fired = engine, None, False  # as `Signal` does, without the call
        self.work, self.begun, self.end, self.action = work, begun, begun + work.seconds, action
