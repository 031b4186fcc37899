"""Processes on GPUs, and their work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from heapq import heappop, heappush
from typing import NamedTuple

from foreshock_simulator.core.engine import Engine, Signal
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.hardware.gpu import Gpu
from foreshock_simulator.hardware.sharing import Context

SM_ACTIVITY_RATIOS = 0.5, 0.9
"""Share of the SMs that have work while a kernel of a service runs, from the least to the most: kernels rarely fill
all."""
_DONE_SECONDS = 1e-9
"""Remaining work below which a task is done: above rounding errors of the clock."""


@cache
def sm_activity(service: ServiceName) -> float:
    """Share of the SMs that have work while a kernel of the service runs: constant, and drawn from its name alone."""
    return random_stream(0, f"sm activity of {service}").uniform(*SM_ACTIVITY_RATIOS)


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


class Worker:
    """A process on one GPU, or on several GPUs in lockstep (tensor parallel) at the speed of the slowest.

    While it waits for the slowest GPU it holds its SMs on the others, like a collective operation that spins.
    Concurrent tasks are streams of one process and progress at the same speed.

    It takes `memory_bytes` of each GPU, or of the MIG instance `slice` of each.

    Raises:
        ValueError: not enough memory; `slice` is unknown, missing, or given for a whole GPU.
    """

    def __init__(
        self,
        gpus: Sequence[Gpu],
        pid: int,
        service: ServiceName,
        memory_bytes: float,
        slice: int | None = None,  # noqa: A002
    ) -> None:
        self.gpus, self.pid, self.service, self.memory_bytes = tuple(gpus), pid, service, memory_bytes
        self.sm_activity = sm_activity(service)
        self._engine = gpus[0].engine
        for gpu in gpus:
            free_bytes = gpu.free_bytes(slice)
            if memory_bytes > free_bytes:
                raise ValueError(
                    f"{gpu}: a process needs {memory_bytes:.3g} bytes of memory and {free_bytes:.3g} are free"
                )
        self.contexts = tuple(Context(self, gpu, slice or 0) for gpu in gpus)
        self.multi_gpu = len(self.gpus) > 1
        for gpu in gpus:
            gpu.workers.append(self)
        self.sm = self.dram = self.tensor = self.nvlink = self.pcie = self.kernels = 0.0
        self.speed, self._slowdown, self.stopped = 1.0, 1.0, False
        self.resident = False
        """Whether its contexts are in the groups of their GPUs."""
        # (end, sequence, task). The end is in seconds of work since the process began (`_completed`), which progresses
        # equally for all tasks, so the start or end of a task leaves the other entries unchanged.
        self._tasks: list[tuple[float, int, Task]] = []
        self.active = 0
        """Running tasks."""
        self._sequence = self._plan_id = 0
        self._completed = self._completed_at = 0.0
        self._planned = -1.0
        self._plan_outdated = False
        self._in_actions = False

    @property
    def slowdown(self) -> float:
        """Factor on the duration of its work and on its use of the channels; 1 is normal."""
        return self._slowdown

    @slowdown.setter
    def slowdown(self, factor: float) -> None:
        if factor < 1.0:
            raise ValueError(f"work may take 1 time as long or more, not {factor:g}")
        self._slowdown = factor
        self.update_speed()

    def run(self, work: GpuWork, action: Callable[[], None] | None = None) -> Task:
        """Start a task. On a stopped process it fires with False at once."""
        if self.stopped:
            task = Task(self._engine, work, 0.0, action)
            task.fire(False)
            return task
        if not self._in_actions:
            self._advance()
        task = Task(self._engine, work, self._completed, action)
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
        self._rebalance()
        return task

    def cancel(self, signal: Signal) -> None:
        """Cancel a task and free its share of the GPU; no effect on one that is done."""
        if not isinstance(signal, Task) or signal.fired:
            return
        self._advance()
        self._remove(signal)
        signal.fire(False)
        self._rebalance()

    def shorten(self, task: Task, seconds: float) -> None:
        """Reduce the total work of a task to `seconds`, which is not less than its completed part."""
        self._advance()
        task.end = task.begun + seconds
        self._push(task)
        self._plan()

    def completed_seconds(self, task: Task) -> float:
        """Completed seconds of work of a running task."""
        return self._completed + self.speed * (self._engine.now - self._completed_at) - task.begun

    def busy_seconds_at(self, now: float) -> float:
        """Integral of the SM shares on all its GPUs."""
        return sum(
            context.busy_seconds + context.sm_share * (now - context.gpu.advanced_to) for context in self.contexts
        )

    def stop(self) -> None:
        """End the process: its tasks fire with False, its memory is free."""
        if self.stopped:
            return
        self._advance()
        self.stopped = True
        for _, _, task in sorted(self._tasks, key=lambda entry: entry[1]):
            if not task.fired:
                self._remove(task)
                task.fire(False)
        self._tasks.clear()
        self._rebalance()
        for context in self.contexts:
            context.gpu.ended_sm_seconds += self.sm_activity * context.busy_seconds
        for gpu in self.gpus:
            gpu.workers.remove(self)

    def update_speed(self) -> bool:
        """Take over the speed of the slowest GPU; returns whether the speed has changed."""
        speed = min(context.speed for context in self.contexts) if self.multi_gpu else self.contexts[0].speed
        if self._slowdown != 1.0:
            speed /= self._slowdown
        if speed != self.speed:
            self._advance()
            self.speed = speed
            self._plan()
            return True
        if self._plan_outdated:
            self._plan()
        return False

    def _push(self, task: Task) -> None:
        self._plan_outdated = True
        self._sequence += 1
        heappush(self._tasks, (task.end, self._sequence, task))

    def _advance(self) -> None:
        now = self._engine.now
        self._completed += self.speed * (now - self._completed_at)
        self._completed_at = now

    def _remove(self, task: Task) -> None:
        self._plan_outdated = True
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

    def _rebalance(self) -> None:
        if not self._in_actions:
            self.gpus[0].rebalance(self)

    def _plan(self) -> None:
        """Schedule the end of the next task; an earlier plan for another time becomes void."""
        self._plan_outdated = False
        tasks = self._tasks
        while tasks:
            end, _, task = tasks[0]
            if task.end == end and not task.fired:
                break
            heappop(tasks)
        else:
            self._plan_id += 1
            self._planned = -1.0
            return
        now = self._engine.now
        remaining = (end - self._completed) / self.speed
        time = self._completed_at + remaining if remaining > 0.0 else now
        if time != self._planned:
            self._planned = time
            self._plan_id += 1
            if time < now:  # by rounding
                time = now
            self._engine.schedule(time, self._complete, self._plan_id)

    def _complete(self, plan_id: int) -> None:
        if plan_id != self._plan_id:
            return
        self._advance()
        self._planned = -1.0
        tasks, completed = self._tasks, self._completed
        done = []
        while tasks and tasks[0][0] - completed <= _DONE_SECONDS:
            end, _, task = heappop(tasks)
            if not task.fired and end == task.end:
                self._remove(task)
                task.fire(True)
                done.append(task)
        # Tasks that the actions start belong to this change: the GPUs rebalance once, after all actions.
        self._in_actions = True
        for task in done:
            if task.action is not None:
                task.action()
        self._in_actions = False
        self.gpus[0].rebalance(self)
