"""How processes share a GPU's time.

A process asks for a share of the GPU, its demand: d = 1 − exp(−I), where I is the sum of the intensities of the
segments of work that it runs at once; so a batch costs less than its parts. While the demands of all processes on a GPU
sum to D ≤ 1, each gets what it asks for; beyond, time-slicing gives each d/D. Progress of a segment, relative to
running alone on an idle GPU, is

    (1 / max(1, D)) · 1 / (1 + b·(n − 1)) · 1 / (1 + k·min(1, D − d))

with n segments in the process (b: what a batch costs its members) and k for caches and memory bandwidth, which suffer
from neighbours even where time does not: slow-downs of measured pairs have a median near 1.5 (Gavel, OSDI 2020), most
of it time.
"""

from __future__ import annotations

import heapq
import math

from foreshock_simulator.engine import Engine, Signal
from foreshock_simulator.names import ServiceName

INTERFERENCE = 0.12
"""k above."""
MEMORY_BYTES = 80 * 1024**3
RESERVED_BYTES = 0.5 * 1024**3
"""What the driver keeps for itself."""
_DONE = 1e-9
"""Seconds of work below which a segment counts as finished: above the rounding of the clock, below what matters."""


class Worker:
    """A process on one GPU. `busy` integrates its share of SM time, in seconds, up to the GPU's `settled`."""

    __slots__ = (
        "_batch_cost",
        "_efficiency",
        "_intensity",
        "_progress",
        "_segments",
        "_sequence",
        "busy",
        "demand",
        "gpu",
        "memory_bytes",
        "memory_intensity",
        "pid",
        "service",
        "share",
        "speed",
    )  # fmt: skip

    def __init__(
        self, gpu: Gpu, pid: int, service: ServiceName, memory_bytes: float, memory_intensity: float, batch_cost: float
    ) -> None:
        self.gpu, self.pid, self.service = gpu, pid, service
        self.memory_bytes, self.memory_intensity = memory_bytes, memory_intensity
        self._batch_cost = batch_cost
        # (progress at which it is finished, order, intensity, signal). Progress is the seconds of work done for every
        # segment since the worker began: starting or ending one leaves the others' entries as they are.
        self._segments: list[tuple[float, int, float, Signal]] = []
        self._sequence = 0
        self._progress = 0.0
        self._intensity = 0.0
        self._efficiency = 1.0
        self.demand = self.share = self.speed = self.busy = 0.0
        gpu.workers.append(self)

    def run(self, seconds: float, intensity: float) -> Signal:
        """Start a segment that would take `seconds` alone; the signal fires when it is finished."""
        self.gpu.settle()
        signal = Signal(self.gpu.engine)
        self._sequence += 1
        heapq.heappush(self._segments, (self._progress + seconds, self._sequence, intensity, signal))
        if len(self._segments) == 1:
            self.gpu.running.append(self)
        self._reckon(intensity)
        self.gpu.rebalance()
        return signal

    @property
    def active(self) -> int:
        """How many segments it runs."""
        return len(self._segments)

    def busy_at(self, now: float) -> float:
        """`busy` carried forward to now, without touching the model."""
        return self.busy + self.share * (now - self.gpu.settled)

    def settle(self, seconds: float) -> None:
        """Account for time that passed at the present speed."""
        self._progress += self.speed * seconds
        self.busy += self.share * seconds

    def finish(self) -> bool:
        """Fire the segments that are done; whether there were any."""
        segments, before = self._segments, len(self._segments)
        while segments and segments[0][0] - self._progress <= _DONE:
            _, _, intensity, signal = heapq.heappop(segments)
            self._reckon(-intensity)
            signal.fire()
        return len(segments) != before

    def rest(self) -> float:
        """Seconds until the next segment is finished at the present speed."""
        return max(0.0, (self._segments[0][0] - self._progress) / self.speed)

    def apply(self, scale: float, total: float) -> None:
        """Take the share and speed that follow from the demand `total` of all on the GPU."""
        self.share = self.demand * scale
        neighbours = total - self.demand
        self.speed = scale * self._efficiency / (1.0 + INTERFERENCE * (min(1.0, neighbours)))

    def stop(self) -> None:
        """It runs nothing any more."""
        self.share = self.speed = 0.0

    def _reckon(self, intensity: float) -> None:
        count = len(self._segments)
        self._intensity = self._intensity + intensity if count else 0.0
        self.demand = 1.0 - math.exp(-self._intensity)
        self._efficiency = 1.0 / (1.0 + self._batch_cost * max(0, count - 1))


class Gpu:
    """One GPU: the workers that hold it and the time it was busy, in seconds, up to `settled`."""

    __slots__ = ("_epoch", "busy", "engine", "host", "index", "load", "running", "settled", "workers")

    def __init__(self, engine: Engine, host: str, index: int) -> None:
        self.engine, self.host, self.index = engine, host, index
        self.workers: list[Worker] = []
        self.running: list[Worker] = []
        self.busy = self.load = self.settled = 0.0
        self._epoch = 0

    def busy_at(self, now: float) -> float:
        """`busy` carried forward to now, without touching the model."""
        return self.busy + self.load * (now - self.settled)

    def reserve(self, memory_bytes: float) -> None:
        """Make sure that a new worker's memory fits.

        Raises:
            ValueError: it does not.
        """
        held = RESERVED_BYTES + sum(worker.memory_bytes for worker in self.workers)
        if held + memory_bytes > MEMORY_BYTES:
            raise ValueError(f"{self.host}/gpu-{self.index} holds {held:.3g} of {MEMORY_BYTES:.3g} bytes; no room")

    def settle(self) -> None:
        """Account for the time since the last change."""
        seconds = self.engine.now - self.settled
        if seconds <= 0.0:
            return
        for worker in self.running:
            worker.settle(seconds)
        self.busy += self.load * seconds
        self.settled = self.engine.now

    def rebalance(self) -> None:
        """Divide the time anew and find the next segment to finish; earlier plans are void."""
        self._epoch += 1
        running = self.running
        total = 0.0
        for worker in running:
            total += worker.demand
        scale = 1.0 / total if total > 1.0 else 1.0
        self.load = total * scale
        soonest = math.inf
        for worker in running:
            worker.apply(scale, total)
            rest = worker.rest()
            soonest = min(soonest, rest)
        if running:
            self.engine.at(self.engine.now + soonest, self._finish, self._epoch)

    def _finish(self, epoch: int) -> None:
        if epoch != self._epoch:
            return
        self.settle()
        for worker in tuple(self.running):
            if worker.finish() and not worker.active:
                worker.stop()
                self.running.remove(worker)
        self.rebalance()
