"""The clockwork: an event queue, and processes written as generators. It knows nothing of what is simulated."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any

Process = Generator["float | Signal", Any, Any]
"""Something that takes simulated time. It yields seconds to sleep, or a `Signal`, whose value it is sent."""


class Signal:
    """Something one process waits for. It fires once; later calls of `fire` change nothing, which settles races."""

    __slots__ = ("_engine", "fired", "value", "waiter")

    value: object
    """What it has fired with."""

    def __init__(self, engine: Engine) -> None:
        # `Request` and `Task` set the same without a call: there is one of them for each attempt and each step.
        self._engine = engine
        self.waiter: Process | None = None
        """The process that goes on when it fires; see `attach`."""
        self.fired = False

    def fire(self, value: object = None) -> None:
        """Wake the process that waits, now or when it comes."""
        if self.fired:
            return
        self.fired = True
        self.value = value
        if self.waiter is not None:
            self._engine.ready.append((self.waiter, value))

    def attach(self, process: Process) -> None:
        """Let a process wait.

        Raises:
            RuntimeError: another one waits already.
        """
        if self.waiter is not None:
            raise RuntimeError("a signal has one waiter")
        self.waiter = process
        if self.fired:
            self._engine.ready.append((process, self.value))


class Engine:
    """Runs actions in order of time, those of one instant in the order in which they were asked for.

    `now` is in seconds since the simulation's start. Where a run is cut into pieces makes no difference.
    """

    __slots__ = ("_count", "_queue", "now", "ready")

    def __init__(self) -> None:
        self.now = 0.0
        # What to call with which argument, or, in place of that, the process that sleeps until then.
        self._queue: list[tuple[float, float, Callable[[Any], None] | None, Any]] = []
        self.ready: deque[tuple[Process, Any]] = deque()
        """What goes on at this instant, and with what. Nothing is run at once, so no model code is ever re-entered."""
        self._count = 0

    def at(self, time: float, action: Callable[[Any], None], argument: object = None) -> None:
        """Call `action(argument)` at a time, which must not lie in the past."""
        self._count += 1
        heappush(self._queue, (time, self._count, action, argument))

    def spawn(self, process: Process) -> None:
        """Start a process at this instant."""
        self.ready.append((process, None))

    def run(self, until: float) -> None:
        """Run everything up to and including `until`, and stand there."""
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
                    wanted = process.send(value)
                except StopIteration:
                    continue
                if isinstance(wanted, Signal):
                    if wanted.fired or wanted.waiter is not None:
                        wanted.attach(process)
                    else:
                        wanted.waiter = process
                else:
                    self._count += 1
                    heappush(queue, (self.now + wanted, self._count, None, process))
        except _Reached:
            pass
        except BaseException:  # the model failed: no end may stay behind for a later run
            queue.remove(end)
            heapify(queue)
            raise


class _Reached(Exception):  # noqa: N818 - the end of a run, not a defect
    """A run has come to its end."""


def _stop(_: object) -> None:
    """Comes last of all that is to happen at its time; with it there, the queue need not be looked at before a pop."""
    raise _Reached
