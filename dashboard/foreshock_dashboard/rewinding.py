"""A hub's past: what it showed, or would have shown, at an earlier instant."""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from foreshock_dashboard.analysis.decision import State, learning, states
from foreshock_dashboard.analysis.objectives import Objective
from foreshock_dashboard.analysis.outlook import outlook
from foreshock_dashboard.analysis.world import condensed, world_of
from foreshock_dashboard.model.cut import cut
from foreshock_dashboard.model.incident import Learning
from foreshock_dashboard.model.query import MetricSource, SourceError
from foreshock_dashboard.model.reading import Reading
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.sources.observer import Observer, aligned, fold_start

HOUR = 3600.0
FIGURES = 60_000
"""Services over all states that are remembered: a platform of fifteen for eleven hours, one of a thousand for ten
minutes. What is not remembered is judged again."""
ERAS = 2
"""Hours of the past that are kept after somebody looked at them."""
WORLDS = 4
"""Coarse Worlds that are kept for charts."""
CALLERS = 4
"""Requests that may wait at once for something to be read from the source."""
TOO_EARLY = "nothing is known of so early a time: choose a later one"
POINTS = 360
"""Grid points that a chart of a longer range has at most."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How a source is read. catalogue: what is asked for at grid points so many seconds apart. step: of a tick."""

    catalogue: Callable[[float], Mapping[str, Reading]]
    step: float


class Memory:
    """States in the order of time, the oldest forgotten first. Not thread-safe."""

    def __init__(self, room: int = FIGURES) -> None:
        self._room = room
        self._times: list[float] = []
        self._kept: list[tuple[State, Learning]] = []
        self._figures = 0

    def note(self, state: State, known: Learning) -> None:
        """Remember a state; `known`: how much history there was."""
        self._times.append(state.time)
        self._kept.append((state, known))
        self._figures += 1 + len(state.own)
        while self._figures > self._room and len(self._kept) > 1:
            self._figures -= 1 + len(self._kept[0][0].own)
            del self._times[0], self._kept[0]

    def at(self, time: float) -> tuple[State, Learning] | None:
        """The last state that is not later; None where none is remembered."""
        place = bisect_right(self._times, time)
        return self._kept[place - 1] if place else None


@dataclass(frozen=True, slots=True)
class Era:
    """Some hours, judged: the World up to their end and the states on the way."""

    world: World
    memory: Memory


class Rewind:
    """Shows earlier instants. Thread-safe; what has to be read from the source is read by one caller at a time.

    `begin`: Unix seconds before which the source holds nothing, where that is known.
    """

    def __init__(
        self,
        source: MetricSource,
        grid: Grid,
        promised: Mapping[Service, Objective],
        simulated: bool = False,
        begin: float = -math.inf,
    ) -> None:
        self._source = source
        self._grid = grid
        self._promised = promised
        self._simulated = simulated
        self._begin = begin
        self._memory = Memory()
        self._noting, self._reading = threading.Lock(), threading.Lock()
        self._callers = threading.BoundedSemaphore(CALLERS)
        self._eras: OrderedDict[float, Era] = OrderedDict()
        self._worlds: OrderedDict[tuple[float, float], World] = OrderedDict()

    def note(self, state: State, world: World) -> None:
        """Remember how the present was judged."""
        known = learning(cut(world, -math.inf, state.time))
        with self._noting:
            self._memory.note(state, known)

    def at(self, time: float, newest: Snapshot) -> Snapshot:
        """The hub as it was at `time`, Unix seconds; `newest` where that is not earlier than it.

        Raises:
            SourceError: the source cannot answer, or holds nothing so early.
        """
        world = newest.world
        if world is None or time >= world.time:
            return newest
        with self._noting:
            kept = self._memory.at(time)
        if kept is None or time < world.times[0]:
            era = self._era(time, world.time)
            world, kept = era.world, era.memory.at(time)
        if kept is None or time < world.times[0]:
            raise SourceError(TOO_EARLY)
        state, known = kept
        world = cut(world, -math.inf, time)
        expected = outlook(state, world) if state.time == world.time else newest.outlook
        return Snapshot(round(time), world, state.incidents, known, outlook=expected, bounds=newest.bounds)

    def over(self, start: float, end: float, newest: Snapshot) -> World | None:
        """The World from `start` to `end` for charts, on a coarser grid where the range is long; None without data.

        Raises:
            SourceError: the source cannot answer.
        """
        world = newest.world
        if world is None:
            return None
        end = min(end, world.time)
        if end < start:
            return None
        if start >= world.times[0] - world.step or start < self._begin <= float(world.times[0]):
            return cut(world, start, end) if end >= max(start, world.times[0]) else None
        step = max(1, math.ceil((end - start) / POINTS / world.step)) * world.step
        key = (aligned(start, step), aligned(end, step))
        with self._turn():
            if key not in self._worlds:
                self._worlds[key] = self._read(*key, step)
                while len(self._worlds) > WORLDS:
                    self._worlds.popitem(last=False)
            return self._worlds[key]

    def _era(self, time: float, newest: float) -> Era:
        """The hour of `time`, with the hours before it that its baselines rest on."""
        end = min(math.ceil(time / HOUR) * HOUR, newest)
        with self._turn():
            if end not in self._eras:
                world = self._read(fold_start(end), end, self._grid.step)
                memory = Memory(2 * FIGURES)
                for state in states(State(), world, self._promised):
                    memory.note(state, learning(cut(world, -math.inf, state.time)))
                self._eras[end] = Era(world, memory)
                while len(self._eras) > ERAS:
                    self._eras.popitem(last=False)
            return self._eras[end]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The only one that reads; few may wait for that, for each holds a thread of those that answer requests."""
        if not self._callers.acquire(blocking=False):
            raise SourceError("others are having the past read already: try again in some seconds")
        try:
            with self._reading:
                yield
        finally:
            self._callers.release()

    def _read(self, start: float, end: float, step: float) -> World:
        read = self._grid.catalogue(step)
        observer = Observer(self._source, read, step, condensed, keep=math.inf, begin=lambda _: start)
        readings = observer.read(end)
        if not any(map(len, readings.values())):
            raise SourceError(TOO_EARLY)
        world = world_of(readings, step, observer.missing())
        return replace(world, simulated=True) if self._simulated else world
