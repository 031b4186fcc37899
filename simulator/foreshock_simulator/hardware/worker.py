"""Processes on GPUs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from foreshock_simulator.core.engine import Signal
from foreshock_simulator.hardware.work import Task, Work
from foreshock_simulator.core.names import ServiceName

if TYPE_CHECKING:
    from foreshock_simulator.hardware.gpu import Gpu

_DONE = 1e-9
"""Seconds of work below which a task counts as finished: above the rounding of the clock, below what matters."""


class Part:
    """A process on one of its GPUs: the SMs it holds there, `busy` seconds up to the GPU's `settled`."""

    __slots__ = ("busy", "gpu", "held", "instance", "speed", "worker")

    def __init__(self, worker: Worker, gpu: Gpu, instance: int) -> None:
        self.worker, self.gpu, self.instance = worker, gpu, instance
        self.held = self.busy = 0.0
        self.speed = 1.0
        """The progress that this GPU alone would allow."""

    @property
    def held_up(self) -> bool:
        """Whether the process is slower than this GPU would allow."""
        return self.worker.speed * self.worker.slow != self.speed


class Worker:
    """A process on one GPU, or on several that work in step (tensor parallel): then the slowest decides.

    While it waits for the slowest it holds the SMs it was given on the others, as a collective operation does that
    spins. Tasks that run at once are streams of one process: they progress alike.

    Args:
        gpus: that it runs on; on each it takes `memory_bytes`.
        pid: of the process.
        service: it belongs to.
        slice: index of the MIG instance on each GPU, where they have some.

    Raises:
        ValueError: the memory does not fit; no such MIG instance, or none named where there are some.
    """

    __slots__ = (
        "_calling", "_engine", "_epoch", "_planned", "_progress", "_sequence", "_settled", "_slow", "_stale", "_tasks",
        "active", "dram", "gpus", "kernels", "memory_bytes", "nvlink", "parts", "pcie", "pid", "resident", "service",
        "sm", "speed", "spread", "stopped", "tensor",
    )  # fmt: skip

    def __init__(
        self,
        gpus: Sequence[Gpu],
        pid: int,
        service: ServiceName,
        memory_bytes: float,
        slice: int | None = None,  # noqa: A002
    ) -> None:
        self.gpus, self.pid, self.service, self.memory_bytes = tuple(gpus), pid, service, memory_bytes
        self._engine = gpus[0].engine
        for gpu in gpus:
            room = gpu.room(slice)
            if memory_bytes > room:
                raise ValueError(f"{gpu}: a process needs {memory_bytes:.3g} bytes of memory and {room:.3g} are free")
        self.parts = tuple(Part(self, gpu, slice or 0) for gpu in gpus)
        self.spread = len(self.gpus) > 1
        """Whether it runs on several GPUs."""
        for gpu in gpus:
            gpu.workers.append(self)
        self.sm = self.dram = self.tensor = self.nvlink = self.pcie = self.kernels = 0.0
        self.speed, self._slow, self.stopped = 1.0, 1.0, False
        self.resident = False
        """Whether its GPUs know that it runs something."""
        # (progress at its end, order, task). Progress is the seconds of work done for every task since the process
        # began: beginning or ending one leaves the others' entries as they are.
        self._tasks: list[tuple[float, int, Task]] = []
        self.active = 0
        """How many tasks it runs."""
        self._sequence = self._epoch = 0
        self._progress = self._settled = 0.0
        self._planned = -1.0
        self._stale = False  # whether the plan is to be made anew, whatever the speed
        self._calling = False

    @property
    def slow(self) -> float:
        """Its own work takes so many times as long (a bad deploy), and uses the channels for as long."""
        return self._slow

    @slow.setter
    def slow(self, factor: float) -> None:
        if factor < 1.0:
            raise ValueError(f"work may take 1 time as long or more, not {factor:g}")
        self._slow = factor
        self.follow()

    def run(self, work: Work, action: Callable[[], None] | None = None) -> Task:
        """Begin some work. On a process that has ended, the task fires with False at once."""
        if self.stopped:
            task = Task(self._engine, work, 0.0, action)
            task.fire(False)
            return task
        if not self._calling:
            self._settle()
        task = Task(self._engine, work, self._progress, action)
        self._push(task)
        self.active += 1
        if self.active == 1:
            _, self.sm, self.dram, self.tensor, self.nvlink, self.pcie, self.kernels = work
        else:
            self.sm += work.sm
            self.dram += work.dram
            self.tensor += work.tensor
            self.nvlink += work.nvlink
            self.pcie += work.pcie
            self.kernels += work.kernels
        self._changed()
        return task

    def cancel(self, signal: Signal) -> None:
        """Give a task up; its part of the GPU is free at once. Nothing happens where it is done already."""
        if not isinstance(signal, Task) or signal.fired:
            return
        self._settle()
        self._leave(signal)
        signal.fire(False)
        self._changed()

    def shorten(self, task: Task, seconds: float) -> None:
        """Let a task end after so many seconds of work in all, of which no more than that may be done."""
        self._settle()
        task.end = task.begun + seconds
        self._push(task)
        self._plan()

    def done_seconds(self, task: Task) -> float:
        """Seconds of work of a running task that are done by now."""
        return self._progress + self.speed * (self._engine.now - self._settled) - task.begun

    def busy_at(self, now: float) -> float:
        """Seconds of SM time that it has held on all its GPUs together."""
        return sum(part.busy + part.held * (now - part.gpu.settled) for part in self.parts)

    def stop(self) -> None:
        """End the process: its tasks fire with False, its memory is free."""
        if self.stopped:
            return
        self._settle()
        self.stopped = True
        for _, _, task in sorted(self._tasks, key=lambda entry: entry[1]):
            if not task.fired:
                self._leave(task)
                task.fire(False)
        self._tasks.clear()
        self._changed()
        for gpu in self.gpus:
            gpu.workers.remove(self)

    def follow(self) -> bool:
        """Take the speed that the slowest of its GPUs allows; whether that changed it."""
        speed = min(part.speed for part in self.parts) if self.spread else self.parts[0].speed
        if self._slow != 1.0:
            speed /= self._slow
        if speed != self.speed:
            self._settle()
            self.speed = speed
            self._plan()
            return True
        if self._stale:
            self._plan()
        return False

    def _push(self, task: Task) -> None:
        self._stale = True
        self._sequence += 1
        heappush(self._tasks, (task.end, self._sequence, task))

    def _settle(self) -> None:
        now = self._engine.now
        self._progress += self.speed * (now - self._settled)
        self._settled = now

    def _leave(self, task: Task) -> None:
        self._stale = True
        self.active -= 1
        if not self.active:
            self.sm = self.dram = self.tensor = self.nvlink = self.pcie = self.kernels = 0.0
            return
        work = task.work
        self.sm -= work.sm
        self.dram -= work.dram
        self.tensor -= work.tensor
        self.nvlink -= work.nvlink
        self.pcie -= work.pcie
        self.kernels -= work.kernels

    def _changed(self) -> None:
        if not self._calling:
            self.parts[0].gpu.rebalance(self)

    def _plan(self) -> None:
        """Find when the next task is done; an earlier plan for another time is void."""
        self._stale = False
        tasks = self._tasks
        while tasks:
            end, _, task = tasks[0]
            if task.end == end and not task.fired:
                break
            heappop(tasks)
        else:
            self._epoch += 1
            self._planned = -1.0
            return
        now = self._engine.now
        rest = (end - self._progress) / self.speed
        time = self._settled + rest if rest > 0.0 else now
        if time != self._planned:
            self._planned = time
            self._epoch += 1
            if time < now:  # by rounding
                time = now
            self._engine.at(time, self._due, self._epoch)

    def _due(self, epoch: int) -> None:
        if epoch != self._epoch:
            return
        self._settle()
        self._planned = -1.0
        tasks, reached = self._tasks, self._progress
        done = []
        while tasks and tasks[0][0] - reached <= _DONE:
            end, _, task = heappop(tasks)
            if not task.fired and end == task.end:
                self._leave(task)
                task.fire(True)
                done.append(task)
        # What an action begins is part of this change: the GPUs are divided anew once, afterwards.
        self._calling = True
        for task in done:
            if task.action is not None:
                task.action()
        self._calling = False
        self.parts[0].gpu.rebalance(self)
