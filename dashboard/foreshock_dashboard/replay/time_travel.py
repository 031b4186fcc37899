"""Time travel: what the hub showed, or would have shown, at an earlier instant."""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.slos import Slo
from foreshock_dashboard.analysis.incidents.forecast_summary import forecast
from foreshock_dashboard.analysis.incidents.lifecycle import State, learning, states
from foreshock_dashboard.analysis.incidents.triage import every_cluster
from foreshock_dashboard.common.identity_cache import IdentityCache
from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.incident import Learning
from foreshock_dashboard.model.query import MetricSource, NoDataError, SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World, nbytes, slice_world
from foreshock_dashboard.render.clause import filled_text
from foreshock_dashboard.render.words.shell import CONNECTION_TEXTS
from foreshock_dashboard.replay.seasonal_history import SeasonalHistory
from foreshock_dashboard.world.builder import WorldBuilder
from foreshock_dashboard.world.histogram_quantiles import QuantileReducer
from foreshock_dashboard.world.observer import Observer, align_down, fold_start
from foreshock_dashboard.world.row import CatalogRow

HOUR_SECONDS = 3600.0
LAST_HOUR_STEP_SECONDS = 300.0
"""The current hour is evaluated up to a multiple of this, so that not every evaluation of the hub starts it again."""
MAX_SERVICE_STATES = 60_000
"""Services over all cached states: 54 services for three hours, or 1,000 for ten minutes."""
SERVICE_STATE_BYTES = 1000.0
"""Memory of a service in a state, as tracemalloc measured with a recording of 15 services."""
MIN_CACHED_BYTES = 2.0**20
"""Least size at which a cached range counts, so that empty ranges do not accumulate."""
MAX_PENDING = 4
"""Ranges that may wait at once for being read."""
MAX_CHART_POINTS = 360
"""Grid points of a chart with a coarser grid."""
STARTS_PER_RANGE = 12
"""Range starts are aligned to 1/12 of the range, so that a live, sliding range extends the cached one."""
TOO_EARLY = "nothing is known of so early a time: choose a later one"
TOO_LARGE = (
    "this platform is too large to judge so early a time again beside the present: choose a later one, or let "
    "`foreshock recording import` and `foreshock recording replay` do it"
)


class SourceGrid(NamedTuple):
    """How a source is read: the catalog for a grid spacing in seconds, and the spacing of evaluations."""

    catalog: Callable[[float], Mapping[str, CatalogRow]]
    step: float


class StateHistory:
    """States in order of time; the oldest are dropped first. Not thread-safe.

    Args:
        max_service_states: services over all states.
        min_spacing: least seconds between two states.
    """

    def __init__(self, max_service_states: int = MAX_SERVICE_STATES, min_spacing: float = 0.0) -> None:
        self._max_service_states = max_service_states
        self._min_spacing = min_spacing
        self._states: list[tuple[State, Learning]] = []
        self._service_states = 0

    def append(self, state: State, learned: Learning) -> None:
        """Append a state with the length of the history behind it, unless it follows the previous one too closely."""
        if self._states and state.time - self._states[-1][0].time < self._min_spacing:
            return
        self._states.append((replace(state, cache=IdentityCache()), learned))  # a quarter of its memory
        self._service_states += 1 + len(state.service_risks)
        while self._service_states > self._max_service_states and len(self._states) > 1:
            self._drop_oldest()

    def drop_before(self, time: float) -> None:
        """Drop the states before `time`."""
        while self._states and self._states[0][0].time < time:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._service_states -= 1 + len(self._states[0][0].service_risks)
        del self._states[0]

    @property
    def nbytes(self) -> float:
        """Approximate memory."""
        return SERVICE_STATE_BYTES * self._service_states

    def at(self, time: float) -> tuple[State, Learning] | None:
        """The last state at or before `time`; None without one."""
        row = bisect_right(self._states, time, key=lambda item: item[0].time)
        return self._states[row - 1] if row else None


class EvaluatedHour(NamedTuple):
    """An hour of the past: the World up to its end, and the states of its grid points."""

    world: World
    states: StateHistory

    @property
    def nbytes(self) -> float:
        """Approximate memory."""
        return nbytes(self.world) + self.states.nbytes


class WorldRange:
    """The World from `start` on, at grid points `step` seconds apart, as far as it was read. Not thread-safe.

    Args:
        catalog: the catalog for a grid spacing in seconds.
        max_bytes: memory of the World; beyond it, the beginning is dropped.
        simulated: whether the samples are of a simulated platform.
        tiers: tiers of services, which win over those of the source.
        reported: returns changes besides those of the source.

    Attributes:
        world: None while the source has no data.
        end: time up to which it was read, Unix seconds.
    """

    def __init__(
        self,
        source: MetricSource,
        catalog: Callable[[float], Mapping[str, CatalogRow]],
        start: float,
        step: float,
        *,
        max_bytes: float,
        simulated: bool,
        tiers: Mapping[Service, str],
        reported: Callable[[], Sequence[Change]],
    ) -> None:
        self.world: World | None = None
        self.end = -math.inf
        self._observer = Observer(source, catalog(step), step, QuantileReducer(), keep=math.inf, begin=lambda _: start)
        self._builder = WorldBuilder(step, dtype=np.float32, max_bytes=max_bytes, tiers=tiers, reported=reported)
        self._simulated = simulated
        self._has_data = False
        self._first_time = -math.inf

    def read_to(self, end: float) -> Iterator[World]:
        """Read on, up to `end`, and yield the growing World; nothing while the source has no data.

        Raises:
            SourceError: the source cannot answer; earlier pieces stay.
        """
        for readings in self._observer.pieces(end):
            world = self._builder.add(readings, self._observer.missing())
            self._has_data = self._has_data or any(map(len, readings.values()))
            if self._has_data:
                self.world = replace(world, simulated=True) if self._simulated else world
                yield self.world
        if self.end == -math.inf and self.world:
            self._first_time = float(self.world.times[0])
        self.end = max(self.end, end)

    def covers(self, start: float, end: float) -> bool:
        """Whether the range from `start` to `end` was read, except what the source never had."""
        return self.end >= end and (self.world is None or float(self.world.times[0]) <= max(start, self._first_time))

    @property
    def nbytes(self) -> float:
        """Approximate memory."""
        return nbytes(self.world) if self.world else 0.0


class TimeTravel:
    """Earlier snapshots and Worlds. Thread-safe; the source is read once per range, one range after another.

    An earlier hour is evaluated as by a hub that was started two full hours before it: older conditions count as its
    baseline.

    Args:
        slos: SLOs of the settings.
        max_bytes: memory of the cached ranges for charts, and of the cached hours.
        simulated: whether the samples are of a simulated platform.
        begin: Unix seconds before which the source has no data, if known.
        tiers: tiers of services, which win over those of the source.
        reported: returns changes besides those of the source.
        is_own: as of `advance`.
    """

    def __init__(
        self,
        source: MetricSource,
        grid: SourceGrid,
        slos: Mapping[Service, Slo],
        max_bytes: float,
        simulated: bool = False,
        begin: float = -math.inf,
        tiers: Mapping[Service, str] = MappingProxyType({}),
        reported: Callable[[], Sequence[Change]] = tuple,
        is_own: Callable[[str], bool] = every_cluster,
    ) -> None:
        self._source = source
        self._grid = grid
        self._slos, self._is_own = slos, is_own
        self._max_bytes = max_bytes
        self._begin = begin
        self._new_range = partial(
            WorldRange,
            source,
            grid.catalog,
            max_bytes=max_bytes,
            simulated=simulated,
            tiers=tiers,
            reported=reported,
        )
        self._live = StateHistory(min(MAX_SERVICE_STATES, int(max_bytes / SERVICE_STATE_BYTES)))
        self._live_lock = threading.Lock()
        self._hours: SingleFlightCache[EvaluatedHour | None] = SingleFlightCache(
            max_bytes, lambda hour: max(MIN_CACHED_BYTES, hour.nbytes if hour else 0), MAX_PENDING
        )
        self._ranges: SingleFlightCache[WorldRange] = SingleFlightCache(
            max_bytes, lambda cached: max(MIN_CACHED_BYTES, cached.nbytes), MAX_PENDING
        )

    def append(self, state: State, world: World) -> None:
        """Cache a state of the live hub; `at` uses none of before the World."""
        learned = learning(slice_world(world, -math.inf, state.time))
        with self._live_lock:
            self._live.append(state, learned)
            self._live.drop_before(float(world.times[0]))

    def clear(self) -> None:
        """Drop what was read for earlier requests; further ones read it again."""
        self._hours.clear()
        self._ranges.clear()

    def at(self, time: float, newest: Snapshot) -> Snapshot:
        """The snapshot of `time` (Unix seconds); `newest` unless `time` is before it.

        Raises:
            NoDataError: the source has no data of that time.
            SourceError: the source cannot answer, or too many ranges are pending.
        """
        world = newest.world
        if world is None or time >= world.time:
            return newest
        with self._live_lock:
            cached = self._live.at(time)
        if cached is None or cached[0].time < world.times[0]:
            hour = self._hour_of(time, world)
            world, cached = hour.world, hour.states.at(time)
            if cached is None or cached[0].time < world.times[0]:
                raise NoDataError(TOO_EARLY)
        state, learned = cached
        world = slice_world(world, -math.inf, state.time)
        seq = round(state.time)
        return Snapshot(seq, world, state.incidents, learned, forecast=forecast(state, world), bounds=newest.bounds)

    def over(self, start: float, end: float, newest: Snapshot) -> World | None:
        """The World from `start` to `end` for charts, on a coarser grid for a long range; None without data.

        Raises:
            NoDataError: the source has no data of the range.
            SourceError: the source cannot answer, or too many ranges are pending.
        """
        world = newest.world
        if world is None:
            if newest.error:
                raise SourceError(filled_text(CONNECTION_TEXTS["unreadable"], error=newest.error))
            return None
        end = min(end, world.time)
        is_all = newest.is_preview or start < self._begin <= float(world.times[0])  # no other read beside the first one
        if is_all or start >= world.times[0] - world.step:
            return _world_between(world, start, end)
        points = max(2, min(MAX_CHART_POINTS, self._max_points(world) * STARTS_PER_RANGE // (STARTS_PER_RANGE + 2)))
        step = max(1, math.ceil((end - start) / points / world.step)) * world.step
        first, last = align_down(start, step), align_down(end, step)
        begin = align_down(first, max(1, points // STARTS_PER_RANGE) * step)

        def read_on(cached: WorldRange | None) -> WorldRange:
            extended = cached if cached and cached.covers(first, cached.end) else self._new_range(begin, step)
            deque(extended.read_to(last), maxlen=0)
            return extended

        extended = self._ranges.extend((begin, step), read_on, lambda cached: cached.covers(first, last))
        if (part := _world_between(extended.world, first, last)) is None:
            raise NoDataError(TOO_EARLY)
        return part

    def _max_points(self, world: World) -> int:
        """Grid points of such a World that fit into the memory."""
        return max(1, int(self._max_bytes // max(1.0, nbytes(world) / len(world.times))))

    def _hour_of(self, time: float, world: World) -> EvaluatedHour:
        """The evaluated hour that contains `time`; of the current hour, the part that is over.

        Raises:
            NoDataError: the source has no data of that time.
            SourceError: the source cannot answer, or two hours of the platform do not fit into the memory.
        """
        if self._max_points(world) * self._grid.step < 2 * HOUR_SECONDS:
            raise SourceError(TOO_LARGE)
        end = math.floor(time / HOUR_SECONDS) * HOUR_SECONDS + HOUR_SECONDS
        if end > world.time:
            aligned = align_down(world.time, LAST_HOUR_STEP_SECONDS)
            end = aligned if aligned >= time else world.time
        spacing = max(self._grid.step, HOUR_SECONDS * len(world.services) / MAX_SERVICE_STATES)
        hour = self._hours.get(end, lambda: self._evaluate_hour(end, spacing))
        if hour is None:
            raise NoDataError(TOO_EARLY)
        return hour

    def _evaluate_hour(self, end: float, spacing: float) -> EvaluatedHour | None:
        """Evaluate the hour before `end`, with states `spacing` seconds apart; None without data."""
        state, world = State(), None
        history = StateHistory(2 * MAX_SERVICE_STATES, spacing)
        first = end - HOUR_SECONDS - spacing - self._grid.step  # earlier times belong to another hour
        seasons = SeasonalHistory(self._source, self._grid.catalog)
        seasons.load(fold_start(end), end)
        for piece in self._new_range(fold_start(end), self._grid.step).read_to(end):
            world = seasons.attach(piece)
            for following in states(state, world, self._slos, self._is_own):
                state = following
                if state.time >= first:
                    history.append(state, learning(slice_world(world, -math.inf, state.time)))
        return EvaluatedHour(world, history) if world else None


def _world_between(world: World | None, start: float, end: float) -> World | None:
    """The World from `start` to `end`; None without a grid point there."""
    if world is None or not ((world.times >= start) & (world.times <= end)).any():
        return None
    return slice_world(world, start, end)
