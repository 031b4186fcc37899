"""Time-outs. Most never come true, so they stay out of the engine's queue.

Deadlines of one length come in the order in which they were set: a queue for each length, with one event for its head.
"""

from __future__ import annotations

from collections import deque

from foreshock_simulator.calls.tracing import TIMED_OUT
from foreshock_simulator.engine import Engine, Signal


class Deadlines:
    """Fires signals with `TIMED_OUT` after some seconds, unless they have fired by then."""

    __slots__ = ("_engine", "_lines")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lines: dict[float, deque[tuple[float, Signal]]] = {}

    def set(self, seconds: float, signal: Signal) -> None:
        """Give a signal a deadline that many seconds from now."""
        line = self._lines.get(seconds)
        if line is None:
            line = self._lines[seconds] = deque()
        time = self._engine.now + seconds
        if not line:
            self._engine.at(time, self._due, line)
        line.append((time, signal))

    def _due(self, line: deque[tuple[float, Signal]]) -> None:
        now = self._engine.now
        while line:
            time, signal = line[0]
            if time > now and not signal.fired:
                self._engine.at(time, self._due, line)
                break
            line.popleft()
            signal.fire(TIMED_OUT)
