"""The clockwork: an event queue, and processes written as generators. It knows nothing of what is simulated."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from heapq import heappop, heappush
from typing import Any

Process = Generator["float | Signal", Any, Any]
"""Something that takes simulated time. It yields seconds to sleep, or a `Signal`, whose value it is sent."""


class Signal:
    """Something one process waits for. It fires once; later calls of `fire` change nothing, which settles races."""

    __slots__ = ("_engine", "_waiter", "fired", "value")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiter: Process | None = None
        self.fired = False
        self.value: object = None

    def fire(self, value: object = None) -> None:
        """Wake the process that waits, now or when it comes."""
        if self.fired:
            return
        self.fired = True
        self.value = value
        if self._waiter is not None:
            self._engine.wake(self._waiter, value)

    def attach(self, process: Process) -> None:
        """Let a process wait.

        Raises:
            RuntimeError: another one waits already.
        """
        if self._waiter is not None:
            raise RuntimeError("a signal has one waiter")
        self._waiter = process
        if self.fired:
            self._engine.wake(process, self.value)


class Engine:
    """Runs actions in order of time, those of one instant in the order in which they were asked for.

    `now` is in seconds since the simulation's start. Where a run is cut into pieces makes no difference.
    """

    __slots__ = ("_count", "_queue", "_ready", "now")

    def __init__(self) -> None:
        self.now = 0.0
        # What to call with which argument, or, in place of that, the process that sleeps until then.
        self._queue: list[tuple[float, int, Callable[[Any], None] | None, Any]] = []
        self._ready: deque[tuple[Process, Any]] = deque()
        self._count = 0

    def at(self, time: float, action: Callable[[Any], None], argument: object = None) -> None:
        """Call `action(argument)` at a time, which must not lie in the past."""
        self._count += 1
        heappush(self._queue, (time, self._count, action, argument))

    def spawn(self, process: Process) -> None:
        """Start a process at this instant."""
        self._ready.append((process, None))

    def wake(self, process: Process, value: object) -> None:
        """Go on with a process at this instant. Not called directly, so that no model code is ever re-entered."""
        self._ready.append((process, value))

    def run(self, until: float) -> None:
        """Run everything up to and including `until`, and stand there."""
        queue, ready = self._queue, self._ready
        while True:
            process: Process
            if ready:
                process, value = ready.popleft()
            elif queue and queue[0][0] <= until:
                self.now, _, action, argument = heappop(queue)
                if action is not None:
                    action(argument)
                    continue
                process, value = argument, None
            else:
                break
            try:
                wanted = process.send(value)
            except StopIteration:
                continue
            if isinstance(wanted, Signal):
                wanted.attach(process)
            else:
                self._count += 1
                heappush(queue, (self.now + wanted, self._count, None, process))
        self.now = until
