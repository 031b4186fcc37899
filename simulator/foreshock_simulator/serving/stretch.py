"""Steps of a language model's server that run as one piece of work."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from foreshock_simulator.core.engine import Engine
from foreshock_simulator.hardware.work import Task
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.serving.steps import Steps, steps_within, stretch_seconds


class Stretch:
    """What a process has under way: one step with parts of prompts, or many without, each longer than the one before.

    As long as nobody comes or goes, a step takes requests · kv_seconds longer than the last, so the end of any number
    of steps, and the step at any moment, are known in closed form.

    `span`: steps of the stretch under way, or of the last one; `begun`: when it began. `idle`: nothing is under way.
    """

    __slots__ = ("_engine", "_first", "_later", "_steps", "_task", "_worker", "begun", "span")

    def __init__(self, engine: Engine, worker: Worker, steps: Steps) -> None:
        self._engine, self._worker, self._steps = engine, worker, steps
        self._task: Task | None = None
        self._first = self._later = 0.0
        self.span, self.begun = 0, 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return self._task is None

    def prefill(self, count: int, context: int, parts: Sequence[tuple[int, int]], end: Callable[[], None]) -> None:
        """One step that gives `count` requests a token and computes parts of prompts: (tokens, tokens before them).

        `context`: tokens that the requests hold. `end` is called when it is done, and is to call `over`.
        """
        self._first = seconds = self._steps.seconds(count, context, parts)
        tokens = count
        for take, earlier in parts:
            tokens += take
            context += earlier
        self._run(1, seconds, tokens, context, end)

    def decode(self, count: int, context: int, span: int, end: Callable[[], None]) -> None:
        """So many steps, each of which gives `count` requests a token."""
        self._first = self._steps.decode_seconds(count, context)
        self._later = count * self._steps.kv_seconds
        self._run(span, stretch_seconds(self._first, self._later, span), count, context + count * span // 2, end)

    def over(self) -> None:
        """It has ended, or its process has."""
        self._task = None

    def done(self) -> int:
        """Whole steps that are done by now; never the last, which ends the stretch."""
        if self._task is None or self.span == 1:
            return 0
        seconds = self._worker.completed_seconds(self._task)
        return min(self.span - 1, steps_within(self._first, self._later, seconds))

    def cut(self) -> None:
        """Let it end with its present step."""
        task = self._task
        if task is None or self.span == 1:
            return
        span = self.done() + 1
        if span < self.span:
            self.span = span
            self._worker.shorten(task, stretch_seconds(self._first, self._later, span))

    def _run(self, span: int, seconds: float, tokens: int, context: int, end: Callable[[], None]) -> None:
        self.span, self.begun = span, self._engine.now
        self._task = self._worker.run(self._steps.work(seconds, span, tokens, context), end)
