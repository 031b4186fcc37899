"""A hub's past: what it showed, or would have shown, at an earlier instant."""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from foreshock_dashboard.analysis.baseline.objectives import Objective
from foreshock_dashboard.analysis.incidents.forecast_summary import outlook
from foreshock_dashboard.analysis.incidents.lifecycle import State, learning, states
from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.incident import Learning
from foreshock_dashboard.model.query import MetricSource, NothingKnownError, SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_slice import nbytes, slice_world
from foreshock_dashboard.replay.seasonal_history import SeasonalHistory
from foreshock_dashboard.replay.world_range import WorldRange, world_between
from foreshock_dashboard.world.catalogue.row import CatalogueRow
from foreshock_dashboard.world.observer import align_down, fold_start

HOUR = 3600.0
SHORT = 300.0
"""Seconds to which the hour that is not over yet is judged."""
FIGURES = 60_000
"""Services over all states that are remembered: a platform of fifteen for eleven hours, one of a thousand for ten
minutes. What is not remembered is judged again."""
FIGURE = 1000.0
"""Bytes that a service takes in a state, as tracemalloc counts them over a recording of fifteen services."""
EMPTY = 2.0**20
"""Bytes that any stretch counts for at least: even empty ones must not be remembered without end."""
QUEUE = 4
"""Stretches of the past that may wait at once for being read."""
POINTS = 360
"""Grid points that a chart of a longer range has at most."""
SHARED = 12
"""A range is read from a whole multiple of a twelfth of its length on. So one that moves on with the present is read
on, and anew only when it has left that behind."""
TOO_EARLY = "nothing is known of so early a time: choose a later one"
TOO_LARGE = (
    "this platform is too large to judge so early a time again beside the present: choose a later one, or let "
    "`foreshock import` and `foreshock replay` do it"
)
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class SourceGrid:
    """How a source is read. catalogue: what is asked for at grid points so many seconds apart. step: of a tick."""

    catalogue: Callable[[float], Mapping[str, CatalogueRow]]
    step: float


class StateHistory:
    """States in the order of time, the oldest forgotten first. Not thread-safe. `apart`: least seconds between two."""

    def __init__(self, room: int = FIGURES, apart: float = 0.0) -> None:
        self._room = room
        self._apart = apart
        self._times: list[float] = []
        self._kept: list[tuple[State, Learning]] = []
        self._figures = 0

    def note(self, state: State, known: Learning) -> None:
        """Remember a state; `known`: how much history there was."""
        if self._times and state.time - self._times[-1] < self._apart:
            return
        self._times.append(state.time)
        self._kept.append((state, known))
        self._figures += 1 + len(state.own)
        while self._figures > self._room and len(self._kept) > 1:
            self._figures -= 1 + len(self._kept[0][0].own)
            del self._times[0], self._kept[0]

    @property
    def weight(self) -> float:
        """Bytes of all states, roughly."""
        return FIGURE * self._figures

    def at(self, time: float) -> tuple[State, Learning] | None:
        """The last state that is not later; None where none is remembered."""
        place = bisect_right(self._times, time)
        return self._kept[place - 1] if place else None


@dataclass(frozen=True, slots=True)
class JudgedHour:
    """An hour of the past, judged: the World up to its end, and the states in it."""

    world: World
    memory: StateHistory

    @property
    def weight(self) -> float:
        """Bytes, roughly."""
        return nbytes(self.world) + self.memory.weight


class TimeTravel:
    """Shows earlier instants. Thread-safe; what has to be read from the source is read once, and by one at a time.

    An earlier stretch is judged as a hub that was started two full hours before would have: what began earlier still is
    taken for usual. `room`: bytes that what was read may take, for charts and for states apart. `begin`: Unix seconds
    before which the source holds nothing, where that is known. `tiers`: of services, over what the source tells.
    """

    def __init__(
        self,
        source: MetricSource,
        grid: SourceGrid,
        promised: Mapping[Service, Objective],
        room: float,
        simulated: bool = False,
        begin: float = -math.inf,
        tiers: Mapping[Service, str] = MappingProxyType({}),
    ) -> None:
        self._source = source
        self._grid = grid
        self._promised = promised
        self._room = room
        self._simulated = simulated
        self._begin = begin
        self._tiers = tiers
        self._memory = StateHistory()
        self._noting = threading.Lock()
        self._hours: SingleFlightCache[JudgedHour | None] = SingleFlightCache(
            room, lambda era: max(EMPTY, era.weight if era else 0), QUEUE
        )
        self._ranges: SingleFlightCache[WorldRange] = SingleFlightCache(
            room, lambda stretch: max(EMPTY, stretch.weight), QUEUE
        )

    def note(self, state: State, world: World) -> None:
        """Remember how the present was judged."""
        known = learning(slice_world(world, -math.inf, state.time))
        with self._noting:
            self._memory.note(state, known)

    def at(self, time: float, newest: Snapshot) -> Snapshot:
        """The hub as it was at `time`, Unix seconds; `newest` where that is not earlier than it.

        Raises:
            NothingKnownError: the source holds nothing so early.
            SourceError: it cannot answer, or too many ask at once.
        """
        world = newest.world
        if world is None or time >= world.time:
            return newest
        with self._noting:
            kept = self._memory.at(time)
        if kept is None or kept[0].time < world.times[0]:
            era = self._era(time, world)
            world, kept = era.world, era.memory.at(time)
            if kept is None or kept[0].time < world.times[0]:
                raise NothingKnownError(TOO_EARLY)
        state, known = kept
        world = slice_world(world, -math.inf, state.time)
        seq = round(state.time)
        return Snapshot(seq, world, state.incidents, known, forecast=outlook(state, world), bounds=newest.bounds)

    def over(self, start: float, end: float, newest: Snapshot) -> World | None:
        """The World from `start` to `end` for charts, on a coarser grid where the range is long; None without data.

        Raises:
            NothingKnownError: the source holds nothing of it.
            SourceError: it cannot answer, or too many ask at once.
        """
        world = newest.world
        if world is None and newest.error:
            raise SourceError(f"Cannot be read: {newest.error}")
        if world is None:
            return None
        end = min(end, world.time)
        if start >= world.times[0] - world.step or start < self._begin <= float(world.times[0]):
            return world_between(world, start, end)
        points = max(2, min(POINTS, self._fitting(world) * SHARED // (SHARED + 2)))
        step = max(1, math.ceil((end - start) / points / world.step)) * world.step
        first, last = align_down(start, step), align_down(end, step)
        begin = align_down(first, max(1, points // SHARED) * step)

        def read_on(there: WorldRange | None) -> WorldRange:
            usable = there is not None and there.covers(first, there.until)
            stretch = there if there is not None and usable else self._stretch(begin, step)
            deque(stretch.pieces(last), maxlen=0)
            return stretch

        stretch = self._ranges.extend((begin, step), read_on, lambda there: there.covers(first, last))
        return self._told(world_between(stretch.world, first, last))

    def _fitting(self, world: World) -> int:
        """Grid points for which there is room."""
        return max(1, int(self._room // max(1.0, nbytes(world) / len(world.times))))

    def _era(self, time: float, world: World) -> JudgedHour:
        """The hour of `time`, with the hours before it that its baselines rest on."""
        if self._fitting(world) * self._grid.step < 2 * HOUR:
            raise SourceError(TOO_LARGE)
        end = math.floor(time / HOUR) * HOUR + HOUR
        if end > world.time:  # not over yet: as far as it is, to five minutes, so that a tick does not begin anew
            end = align_down(world.time, SHORT) if align_down(world.time, SHORT) >= time else world.time
        apart = max(self._grid.step, HOUR * len(world.services) / FIGURES)
        return self._told(self._hours.get(end, lambda: self._judged(end, apart)))

    def _told(self, found: Found | None) -> Found:
        if found is None:
            raise NothingKnownError(TOO_EARLY)
        return found

    def _judged(self, end: float, apart: float) -> JudgedHour | None:
        state, memory, newest = State(), StateHistory(2 * FIGURES, apart), None
        first = end - HOUR - apart - self._grid.step  # what is asked for earlier belongs to another hour
        seasons = SeasonalHistory(self._source, self._grid.catalogue)
        seasons.load(fold_start(end), end)
        for piece in self._stretch(fold_start(end), self._grid.step).pieces(end):
            newest = seasons.attach(piece)
            for following in states(state, newest, self._promised):
                state = following
                if state.time >= first:
                    memory.note(state, learning(slice_world(newest, -math.inf, state.time)))
        return JudgedHour(newest, memory) if newest else None

    def _stretch(self, start: float, step: float) -> WorldRange:
        catalogue = self._grid.catalogue(step)
        return WorldRange(
            self._source, catalogue, step, start, self._room, simulated=self._simulated, tiers=self._tiers
        )
