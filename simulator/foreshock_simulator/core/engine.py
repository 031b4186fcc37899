"""Discrete-event engine: an event queue, and processes written as generators."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any


class Signal:
    """A one-shot event that one process waits for. Calls of `fire` after the first have no effect."""

    __slots__ = ("_engine", "fired", "value", "waiter")

    value: object
    """The argument of `fire`; unset before."""

    def __init__(self, engine: Engine) -> None:
        # `Request` and `Task` repeat these lines to save a call for each attempt and each step.
        self._engine = engine
        self.waiter: Process | None = None
        """The process that resumes when the signal fires; see `attach`."""
        self.fired = False

    def fire(self, value: object = None) -> None:
        """Resume the waiting process, or the process that attaches later."""
        if self.fired:
            return
        self.fired = True
        self.value = value
        if self.waiter is not None:
            self._engine.ready.append((self.waiter, value))

    def attach(self, process: Process) -> None:
        """Let a process wait for this signal.

        Raises:
            RuntimeError: another process waits already.
        """
        if self.waiter is not None:
            raise RuntimeError("a signal has one waiter")
        self.waiter = process
        if self.fired:
            self._engine.ready.append((process, self.value))


Process = Generator[float | Signal, Any, Any]
"""A generator that takes simulated time. It yields seconds to sleep, or a `Signal`, and is sent the signal's value."""


class Engine:
    """Runs actions in order of time; actions of one instant run in the order in which they were scheduled.

    `now` is in seconds since the start of the simulation. Splitting a run into several calls of `run` changes nothing.
    """

    __slots__ = ("_queue", "_sequence", "now", "ready")

    def __init__(self) -> None:
        self.now = 0.0
        # (time, sequence, action, argument); without an action, the argument is a sleeping process.
        self._queue: list[tuple[float, float, Callable[[Any], None] | None, Any]] = []
        self.ready: deque[tuple[Process, Any]] = deque()
        """Processes that resume at this instant, and the values sent to them. Model code is never re-entered."""
        self._sequence = 0

    def schedule(self, time: float, action: Callable[[Any], None], argument: object = None) -> None:
        """Call `action(argument)` at a time that is not in the past."""
        self._sequence += 1
        heappush(self._queue, (time, self._sequence, action, argument))

    def spawn(self, process: Process) -> None:
        """Start a process at this instant."""
        self.ready.append((process, None))

    def run(self, until: float) -> None:
        """Run all events up to and including the time `until`, and set the clock to it."""
        queue, ready = self._queue, self.ready
        process: Process
        end = until, inf, _stop, None
        heappush(queue, end)
        try:
            while True:
                if ready:
                    process, value = ready.popleft()
                else:
                    self.now, _, action, argument = heappop(queue)
                    if action is not None:
                        action(argument)
                        continue
                    process, value = argument, None
                try:
                    yielded = process.send(value)
                except StopIteration:
                    continue
                if isinstance(yielded, Signal):
                    if yielded.fired or yielded.waiter is not None:
                        yielded.attach(process)
                    else:
                        yielded.waiter = process
                else:
                    self._sequence += 1
                    heappush(queue, (self.now + yielded, self._sequence, None, process))
        except _EndOfRun:
            pass
        except BaseException:  # model code failed: remove the end marker, so that a later run is not cut short
            queue.remove(end)
            heapify(queue)
            raise


class _EndOfRun(Exception):  # noqa: N818 - the end of a run, not a defect
    """The clock has reached the end of the run."""


def _stop(_: object) -> None:
    """Last action of its instant. With it in the queue, `run` needs no check for an empty queue."""
    raise _EndOfRun
