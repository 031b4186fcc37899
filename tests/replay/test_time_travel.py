"""Time travel: earlier snapshots, cached or evaluated again."""

from __future__ import annotations

import math
import threading
from dataclasses import fields, is_dataclass, replace
from time import sleep
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.web.worlds import NOW, STEP, contended, healthy_world

from foreshock_dashboard.analysis.incidents.lifecycle import State, learning, states
from foreshock_dashboard.common.single_flight_cache import BusyError
from foreshock_dashboard.model.incident import Learning
from foreshock_dashboard.model.query import Matrix, MetricSource, NoDataError, Query, SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World, nbytes, slice_world
from foreshock_dashboard.replay.time_travel import MIN_CACHED_BYTES, SourceGrid, StateHistory, TimeTravel
from foreshock_dashboard.world.builder import catalog
from foreshock_dashboard.world.row import quick_window


class Counted(MetricSource):
    """A source with one target that is up from `begin` on; counts its queries, and how many run at once."""

    def __init__(self, begin: float = -math.inf) -> None:
        self.begin = begin
        self.ranges: list[tuple[float, float, float]] = []
        self.asking = self.at_once = 0
        self.takes = 0.0

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """`up`, and the requests of one service, more of them as time goes on."""
        times: Floats = start + step * np.arange(round((end - start) / step) + 1, dtype=np.float64)
        if query.metric == "traces_span_metrics_calls_total" and len(query.matchers) == 1:
            chat = ("service_name", "chat"), ("service_namespace", "ml")
            return Matrix.of(times, {chat: np.where(times >= self.begin, 1e-3 * times, np.nan)})
        if query.metric != "up":
            return Matrix.empty(times)
        self.asking += 1
        self.at_once = max(self.at_once, self.asking)
        self.ranges.append((start, end, step))
        sleep(self.takes)
        self.asking -= 1
        row = np.where(times >= self.begin, 1.0, np.nan)
        return Matrix.of(times, {(("instance", "a:1"), ("job", "x")): row})

    def metric_names(self) -> frozenset[str]:
        """That one."""
        return frozenset({"up"})


ROOM = 64 * 2.0**20
GRID = SourceGrid(lambda apart: catalog(max(59.0, apart), quick_window(10.0)), STEP)


def rewind(
    source: Counted | None = None, world: World | None = None, room: float = ROOM
) -> tuple[TimeTravel, Snapshot]:
    """A past that has seen a World, and its newest tick."""
    made = TimeTravel(source or Counted(), GRID, {}, room)
    world = world or healthy_world()
    state = State()
    for state in states(State(), world):
        made.append(state, world)
    return made, Snapshot(9, world, state.incidents, learning(world))


def arrays(section: object) -> list[NDArray[Any]]:
    """All arrays of a World and of its parts."""
    found: list[NDArray[Any]] = []
    for field in fields(section):  # type: ignore[arg-type]  # a dataclass
        value = getattr(section, field.name)
        if isinstance(value, np.ndarray):
            found.append(value)
        elif is_dataclass(value):
            found += arrays(value)
    return found


@given(st.integers(0, 90), st.integers(0, 90))
def test_a_slice_of_a_world_has_the_same_rows_and_fewer_columns(one: int, other: int) -> None:
    """Both ends are included, and nothing is copied."""
    world = healthy_world()
    first, last = sorted((one, other))
    part = slice_world(world, world.times[first], world.times[last] + 1)
    assert part.times.tolist() == world.times[first : last + 1].tolist()
    assert part.services == world.services
    for whole, piece in zip(arrays(world), arrays(part), strict=True):
        assert piece.shape[:-1] == whole.shape[:-1]
        assert piece.shape[-1] == last - first + 1
        assert np.shares_memory(whole, piece)


def test_a_world_has_no_slice_outside_its_time() -> None:
    """The message says of which time it is."""
    with pytest.raises(ValueError, match=r"no grid point from 1 to 2: the World is of \d+ to \d+"):
        slice_world(healthy_world(), 1, 2)


def test_an_earlier_snapshot_contains_only_earlier_data() -> None:
    """Its World ends at that time, and later incidents are not in it."""
    past, newest = rewind(world=contended())
    then = past.at(NOW - 300, newest)
    assert then.world
    assert then.world.time == NOW - 300
    np.testing.assert_array_equal(then.world.red.p95[:, -1], contended().red.p95[:, -31])
    assert then.learning == Learning(600.0, 1800.0)
    assert past.at(NOW, newest) is newest
    assert past.at(NOW + 500, newest) is newest


def test_an_hour_that_is_not_cached_is_evaluated_once() -> None:
    """Other times of the hour need no query; the fold begins two full hours earlier, as in a live hub."""
    source = Counted()
    past, newest = rewind(source)
    early = past.at(NOW - 6 * 3600 - 100, newest)
    assert early.world
    assert early.world.time == NOW - 6 * 3600 - 100
    assert min(start for start, _, _ in source.ranges) == NOW - 8 * 3600
    asked = len(source.ranges)
    assert past.at(NOW - 6 * 3600 - 900, newest).world
    assert len(source.ranges) == asked


def test_configured_tiers_apply_to_the_past() -> None:
    """In an earlier hour and in a long range, which are read again."""
    chat = Service("ml", "chat")
    past = TimeTravel(Counted(), GRID, {}, ROOM, tiers={chat: "gold"})
    newest = Snapshot(9, healthy_world(), (), learning(healthy_world()))
    for world in (past.at(NOW - 6 * 3600, newest).world, past.over(NOW - 86_400, NOW, newest)):
        assert world
        assert dict(zip(world.services, world.tier, strict=True)) == {chat: "gold"}


def test_a_long_range_is_read_on_a_coarser_grid_and_cached() -> None:
    """At most 360 points; the same range is not read again."""
    source = Counted()
    past, newest = rewind(source)
    day = past.over(NOW - 86_400, NOW, newest)
    assert day
    assert len(day.times) <= 361
    assert day.step == 240
    asked = len(source.ranges)
    assert past.over(NOW - 86_400, NOW, newest) is day
    assert len(source.ranges) == asked


def test_a_sliding_range_is_extended() -> None:
    """Only new points are read, until the start has moved on by a twelfth; the result equals one whole read."""
    source = Counted()
    past, _ = rewind(source)
    worlds = []
    for later in range(0, 4800, 240):
        world = replace(healthy_world(), times=healthy_world().times + later)
        shown = past.over(NOW + later - 86_400, NOW + later, Snapshot(9, world, (), learning(world)))
        assert shown
        worlds.append(shown)
    assert {(world.times[0] - NOW, world.times[-1] - NOW) for world in worlds} == {
        (later - 86_400, later) for later in range(0, 4800, 240)
    }
    assert sum(end - start for start, end, _ in source.ranges) < 2.2 * 86_400
    alone, _ = rewind(Counted())
    world = replace(healthy_world(), times=healthy_world().times + 4560)
    at_once = alone.over(NOW + 4560 - 86_400, NOW + 4560, Snapshot(9, world, (), learning(world)))
    assert at_once
    assert at_once.services == (Service("ml", "chat"),)
    assert len(arrays(at_once)) > 20
    for mine, theirs in zip(arrays(worlds[-1]), arrays(at_once), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def later(seconds: float) -> Snapshot:
    """A newest snapshot that is this many seconds later."""
    world = replace(healthy_world(), times=healthy_world().times + seconds)
    return Snapshot(9, world, (), learning(world))


def test_extended_ranges_count_toward_the_memory_limit() -> None:
    """Short ranges with ever later ends, as a replay in the browser requests them."""
    room = 5 * MIN_CACHED_BYTES
    past, newest = rewind(room=room)
    for hours in range(6, 18):
        for minutes in (1, 30, 60):
            start = NOW - hours * 3600.0
            assert past.over(start, start + minutes * 60, newest)
    assert sum(max(MIN_CACHED_BYTES, found.nbytes) for found in past._ranges._values.values()) <= room


def test_a_range_whose_beginning_was_dropped_is_read_again() -> None:
    """A range that has moved on, and then the earlier one, as with the browser's Back button."""
    past, newest = rewind(room=40 * nbytes(healthy_world()) / len(healthy_world().times))
    first = past.over(NOW - 86_400, NOW, newest)
    assert first
    step = first.step
    assert past.over(NOW + step - 86_400, NOW + step, later(step))
    again = past.over(NOW - 86_400, NOW, later(step))
    assert again
    np.testing.assert_array_equal(again.times, first.times)
    np.testing.assert_array_equal(again.red.rate, first.red.rate)


def test_ranges_are_read_one_after_another() -> None:
    """Each takes a core; other requests wait or are refused."""
    source = Counted()
    past, newest = rewind(source)
    starts = [NOW - hours * 3600.0 for hours in range(6, 12)]
    for start in starts:
        past.over(start, start + 60, newest)
    source.takes = 0.02
    refused = []

    def ask(start: float) -> None:
        try:
            past.over(start, start + 3600, newest)
        except BusyError:
            refused.append(start)

    threads = [threading.Thread(target=ask, args=(start,)) for start in starts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert source.at_once == 1
    assert len(refused) <= 2


def test_a_range_in_memory_needs_no_query() -> None:
    """A range after the newest grid point is empty."""
    source = Counted()
    past, newest = rewind(source)
    part = past.over(NOW - 300, NOW + 60, newest)
    assert part
    assert part.times.tolist() == (NOW - np.arange(300, -1, -STEP)).tolist()
    assert source.ranges == []
    assert past.over(NOW + 100, NOW + 200, newest) is None


def test_the_current_hour_is_evaluated_every_five_minutes() -> None:
    """On a platform whose live states are dropped after minutes."""
    source = Counted()
    past = TimeTravel(source, GRID, {}, ROOM)
    asked = set()
    for later in (0.0, 10.0, 20.0, 100.0):
        world = replace(healthy_world(), times=healthy_world().times + 1500 + later)
        assert past.at(NOW + 300, Snapshot(9, world, (), learning(world))).world
        asked.add((len(source.ranges), max(end for _, end, _ in source.ranges)))
    assert {end for _, end in asked} == {NOW + 1500}
    assert len(asked) == 1


def test_a_range_without_data_is_read_once() -> None:
    """An old link in a forgotten tab must not query a Prometheus forever."""
    source = Counted(begin=NOW - 7200)
    past, newest = rewind(source)
    for _ in range(3):
        with pytest.raises(NoDataError, match="nothing is known of so early a time"):
            past.at(NOW - 86_400, newest)
        with pytest.raises(NoDataError):
            past.over(NOW - 90_000, NOW - 86_400, newest)
    asked = len(source.ranges)
    with pytest.raises(NoDataError):
        past.at(NOW - 86_400, newest)
    assert len(source.ranges) == asked


def test_empty_ranges_do_not_accumulate() -> None:
    """A thousand of them take no more memory than a few."""
    past, newest = rewind(Counted(begin=NOW - 7200), room=3 * MIN_CACHED_BYTES)
    for hours in range(30, 40):
        with pytest.raises(NoDataError):
            past.at(NOW - hours * 3600.0, newest)
    assert len(past._hours) == 3


def test_a_platform_whose_two_hours_exceed_the_memory_is_not_evaluated_again() -> None:
    """The message names the alternative; charts have as many points as fit."""
    source = Counted()
    past, newest = rewind(source, room=40 * nbytes(healthy_world()) / len(healthy_world().times))
    with pytest.raises(SourceError, match="too large to judge so early a time again"):
        past.at(NOW - 86_400, newest)
    day = past.over(NOW - 86_400, NOW, newest)
    assert day
    assert len(day.times) <= 41


def test_a_range_between_two_grid_points_is_empty() -> None:
    """Without an error: the chart shows that there is no data."""
    past, newest = rewind()
    assert past.over(NOW - 9, NOW - 2, newest) is None


def test_a_source_that_was_never_read_is_an_error() -> None:
    """A chart shows the error instead of an empty range."""
    past, _ = rewind()
    with pytest.raises(SourceError, match=r"^Cannot read the source: it is away$"):
        past.over(NOW - 900, NOW, Snapshot(1, None, (), Learning(0.0, 1800.0), error="it is away"))
    assert past.over(NOW - 900, NOW, Snapshot(0, None, (), Learning(0.0, 1800.0))) is None


def test_the_state_history_drops_the_oldest_states() -> None:
    """The newest state stays at any limit."""
    memory = StateHistory(max_service_states=3)
    for time in (10.0, 20.0, 30.0, 40.0, 50.0):
        memory.append(State(time=time), Learning(time, 1800.0))
    assert memory.at(25.0) is None
    assert memory.at(45.0) == (State(time=40.0), Learning(40.0, 1800.0))
    assert memory.at(1e12) == (State(time=50.0), Learning(50.0, 1800.0))


def test_the_live_states_begin_with_the_world() -> None:
    """An earlier one is never shown, since the World of its time is gone."""
    past, newest = rewind()
    world = newest.world
    assert world
    assert past._live.at(world.times[0])
    past.append(State(time=world.time), slice_world(world, world.times[5], world.time))
    assert past._live.at(world.times[4]) is None
    assert past._live.at(world.times[5])


def test_the_state_history_keeps_no_derived_values() -> None:
    """They are for the next evaluation alone, and a quarter of a state's memory."""
    memory, state = StateHistory(), State(time=10.0)
    state.cache.get(len, (1, 2))
    memory.append(state, Learning(10.0, 1800.0))
    kept = memory.at(10.0)
    assert kept is not None
    assert kept[0] == state
    assert not kept[0].cache._results
    assert state.cache._results
