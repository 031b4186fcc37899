"""Time-outs. Most never come true, so they stay out of the engine's queue.

Deadlines of one length come in the order in which they were set: a line for each length, with one event for its head.
What has been answered is taken out at once, so that it need not be kept until its time comes.
"""

from __future__ import annotations

from collections import OrderedDict

from foreshock_simulator.core.engine import (Engine, Signal)
from foreshock_simulator.tracing.spans import TIMED_OUT


class _Line:
    """What has a deadline of one length, and when, in the order of these. `planned`: an event looks at the head."""

    __slots__ = ("planned", "waiting")

    def __init__(self) -> None:
        self.waiting: OrderedDict[Signal, float] = OrderedDict()  # whose head is found whatever was taken out before it
        self.planned = False


class Deadlines:
    """Fires signals with `TIMED_OUT` after some seconds, unless that is lifted before."""

    __slots__ = ("_engine", "_lines")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lines: dict[float, _Line] = {}

    def set(self, seconds: float, signal: Signal) -> None:
        """Give a signal a deadline that many seconds from now."""
        line = self._lines.get(seconds)
        if line is None:
            line = self._lines[seconds] = _Line()
        line.waiting[signal] = time = self._engine.now + seconds
        if not line.planned:
            line.planned = True
            self._engine.at(time, self._due, line)

    def lift(self, seconds: float, signal: Signal) -> None:
        """The signal, whose deadline was that many seconds, has fired."""
        self._lines[seconds].waiting.pop(signal, None)

    def _due(self, line: _Line) -> None:
        now, waiting = self._engine.now, line.waiting
        while waiting:
            signal = next(iter(waiting))
            time = waiting[signal]
            if time > now:
                self._engine.at(time, self._due, line)
                return
            del waiting[signal]
            signal.fire(TIMED_OUT)
        line.planned = False
