"""State that all processes of a mesh share: clock, network, ids, deadlines, finished spans and counts."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from foreshock_simulator.calls.request import Network
from foreshock_simulator.core.engine import Engine, Signal
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.tracing.service_graph import Counts
from foreshock_simulator.tracing.spans import TIMED_OUT, SimSpan, scramble

_ID_RANGE: Final = 1 << 64


class Deadlines:
    """Fires signals with `TIMED_OUT` at their deadline, unless it is lifted before.

    Most deadlines are lifted before they expire, so only one of each length is in the event queue. Deadlines of one
    length expire in the order in which they were set.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # By length, oldest first; constant-time removal from the middle.
        self._queues: dict[float, OrderedDict[Signal, float]] = {}
        self._scheduled: set[float] = set()

    def set(self, seconds: float, signal: Signal) -> None:
        """Set a deadline `seconds` from now."""
        queue = self._queues.get(seconds)
        if queue is None:
            queue = self._queues[seconds] = OrderedDict()
        queue[signal] = time = self._engine.now + seconds
        if seconds not in self._scheduled:
            self._scheduled.add(seconds)
            self._engine.schedule(time, self._expire, seconds)

    def lift(self, seconds: float, signal: Signal) -> None:
        """Remove the deadline that was set with `seconds`."""
        self._queues[seconds].pop(signal, None)

    def _expire(self, seconds: float) -> None:
        now, queue = self._engine.now, self._queues[seconds]
        while queue:
            signal = next(iter(queue))
            time = queue[signal]
            if time > now:
                self._engine.schedule(time, self._expire, seconds)
                return
            del queue[signal]
            signal.fire(TIMED_OUT)
        self._scheduled.remove(seconds)


class MeshState:
    """State shared by the processes of a mesh. `epoch_ns` is in Unix nanoseconds at the engine's 0.

    A ratio `sample` of the traces is stored (OpenTelemetry's TraceIdRatioBased); ids do not depend on it. With `count`,
    `counts` counts all spans, and its durations grow until the caller takes them.
    """

    def __init__(
        self, engine: Engine, seed: int, epoch_ns: int, network: Network, *, sample: float = 1.0, count: bool = False
    ) -> None:
        self.engine, self.seed, self.epoch_ns, self.network = engine, seed, epoch_ns, network
        self.spans: list[SimSpan] = []
        self.counts = Counts(enabled=count)
        self.deadlines = Deadlines(engine)
        self.probe_phases = random_stream(seed, "phases")
        ids = random_stream(seed, "ids")
        self.last_span_number = ids.randrange(_ID_RANGE)
        self._last_trace_number = ids.randrange(_ID_RANGE)
        self._sampled_below = round(sample * _ID_RANGE)

    def new_trace(self) -> int:
        """The number of a new trace; 0 when it is not sampled."""
        self._last_trace_number = number = self._last_trace_number + 1
        return number if scramble(number) < self._sampled_below else 0
