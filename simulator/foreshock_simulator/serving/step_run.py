"""A run of steps of a language model server that execute as one piece of GPU work."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from foreshock_simulator.core.engine import Engine
from foreshock_simulator.hardware.work import Task
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.serving.steps import StepTimes, run_seconds, steps_within


class StepRun:
    """The current work of a server: one step with parts of prompts, or a run of decode steps.

    While the set of requests does not change, each decode step takes requests · kv_seconds longer than the one before.
    So the end of any number of steps, and the step at any time, have a closed form.

    `steps` and `begun` are the number of steps and the start of the current run, or of the last one.
    """

    __slots__ = ("_engine", "_first", "_increment", "_task", "_times", "_worker", "begun", "steps")

    def __init__(self, engine: Engine, worker: Worker, times: StepTimes) -> None:
        self._engine, self._worker, self._times = engine, worker, times
        self._task: Task | None = None
        self._first = self._increment = 0.0
        self.steps, self.begun = 0, 0.0

    @property
    def idle(self) -> bool:
        """Whether no work is in progress."""
        return self._task is None

    def prefill(self, count: int, context: int, parts: Sequence[tuple[int, int]], end: Callable[[], None]) -> None:
        """Run one step that gives `count` requests a token and computes parts of prompts: (tokens, earlier tokens).

        `context`: tokens that the requests hold. `end` is called at the end of the step, and calls `finish`.
        """
        self._first = seconds = self._times.seconds(count, context, parts)
        tokens = count
        for part_tokens, earlier in parts:
            tokens += part_tokens
            context += earlier
        self._run(1, seconds, tokens, context, end)

    def decode(self, count: int, context: int, steps: int, end: Callable[[], None]) -> None:
        """Run a number of steps, each of which gives `count` requests a token."""
        self._first = self._times.decode_seconds(count, context)
        self._increment = count * self._times.kv_seconds
        self._run(steps, run_seconds(self._first, self._increment, steps), count, context + count * steps // 2, end)

    def finish(self) -> None:
        """Mark the run as finished, or its process as ended."""
        self._task = None

    def completed(self) -> int:
        """Completed whole steps; never the last, which ends the run."""
        if self._task is None or self.steps == 1:
            return 0
        seconds = self._worker.completed_seconds(self._task)
        return min(self.steps - 1, steps_within(self._first, self._increment, seconds))

    def end_with_current_step(self) -> None:
        """Shorten the run to its current step."""
        task = self._task
        if task is None or self.steps == 1:
            return
        steps = self.completed() + 1
        if steps < self.steps:
            self.steps = steps
            self._worker.shorten(task, run_seconds(self._first, self._increment, steps))

    def _run(self, steps: int, seconds: float, tokens: int, context: int, end: Callable[[], None]) -> None:
        self.steps, self.begun = steps, self._engine.now
        self._task = self._worker.run(self._times.work(seconds, steps, tokens, context), end)
