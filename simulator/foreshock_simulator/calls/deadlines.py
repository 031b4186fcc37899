"""Deadlines of requests.

Most deadlines are lifted before they expire, so only one of each length is in the event queue. Deadlines of one length
expire in the order in which they were set.
"""

from __future__ import annotations

from collections import OrderedDict

from foreshock_simulator.core.engine import Engine, Signal
from foreshock_simulator.tracing.spans import TIMED_OUT


class _Queue:
    """Signals with a deadline of one length, oldest first, and their times. `scheduled`: an event is due for it."""

    __slots__ = ("scheduled", "waiting")

    def __init__(self) -> None:
        self.waiting: OrderedDict[Signal, float] = OrderedDict()  # constant-time removal from the middle
        self.scheduled = False


class Deadlines:
    """Fires signals with `TIMED_OUT` at their deadline, unless it is lifted before."""

    __slots__ = ("_engine", "_queues")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queues: dict[float, _Queue] = {}

    def set(self, seconds: float, signal: Signal) -> None:
        """Set a deadline `seconds` from now."""
        queue = self._queues.get(seconds)
        if queue is None:
            queue = self._queues[seconds] = _Queue()
        queue.waiting[signal] = time = self._engine.now + seconds
        if not queue.scheduled:
            queue.scheduled = True
            self._engine.schedule(time, self._expire, queue)

    def lift(self, seconds: float, signal: Signal) -> None:
        """Remove the deadline that was set with `seconds`."""
        self._queues[seconds].waiting.pop(signal, None)

    def _expire(self, queue: _Queue) -> None:
        now, waiting = self._engine.now, queue.waiting
        while waiting:
            signal = next(iter(waiting))
            time = waiting[signal]
            if time > now:
                self._engine.schedule(time, self._expire, queue)
                return
            del waiting[signal]
            signal.fire(TIMED_OUT)
        queue.scheduled = False
