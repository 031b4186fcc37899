"""Work for a GPU, and its execution."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from foreshock_simulator.core.engine import Engine, Signal


class GpuWork(NamedTuple):
    """A piece of work: its duration alone on an idle GPU, and its use of the channels meanwhile.

    `sm` is the share of time with a resident kernel. The other shares are relative to the GPU's peak: memory bandwidth,
    tensor cores, NVLink and PCIe in one direction. `kernels` counts blocking dispatches per second. On several GPUs,
    each is used like this.
    """

    seconds: float
    sm: float
    dram: float = 0.0
    tensor: float = 0.0
    nvlink: float = 0.0
    pcie: float = 0.0
    kernels: float = 0.0


class Task(Signal):
    """Work in progress. It fires with True when it is done, with False when it is cancelled or its process ends.

    `action` is called first when the work is done, in the same event.
    """

    __slots__ = ("action", "begun", "end", "work")

    def __init__(self, engine: Engine, work: GpuWork, begun: float, action: Callable[[], None] | None) -> None:
        self._engine, self.waiter, self.fired = engine, None, False  # as in `Signal`, without the call
        self.work, self.begun, self.end, self.action = work, begun, begun + work.seconds, action
