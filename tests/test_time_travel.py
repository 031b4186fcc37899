"""A hub's past: what it showed at an earlier instant, from memory or judged again."""

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
from tests.web.worlds import NOW, STEP, calm, starving

from foreshock_dashboard.analysis.incidents.lifecycle import State, learning, states
from foreshock_dashboard.common.single_flight_cache import BusyError
from foreshock_dashboard.model.incident import Learning
from foreshock_dashboard.model.query import Matrix, NothingKnownError, Query, SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_slice import nbytes, slice_world
from foreshock_dashboard.replay.time_travel import MIN_CACHED_BYTES, SourceGrid, StateHistory, TimeTravel
from foreshock_dashboard.world.catalogue.catalogue import catalogue
from foreshock_dashboard.world.catalogue.row import quick_window


class Counted:
    """A source with one target that is up from `begin` on; counts how often it is asked, and by how many at once."""

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
GRID = SourceGrid(lambda apart: catalogue(max(59.0, apart), quick_window(10.0)), STEP)


def rewind(
    source: Counted | None = None, world: World | None = None, room: float = ROOM
) -> tuple[TimeTravel, Snapshot]:
    """A past that has seen a World, and its newest tick."""
    made = TimeTravel(source or Counted(), GRID, {}, room)
    world = world or calm()
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
def test_a_world_that_is_cut_has_the_same_rows_and_fewer_columns(one: int, other: int) -> None:
    """Both ends belong to it, and nothing is copied."""
    world = calm()
    first, last = sorted((one, other))
    part = slice_world(world, world.times[first], world.times[last] + 1)
    assert part.times.tolist() == world.times[first : last + 1].tolist()
    assert part.services == world.services
    for whole, piece in zip(arrays(world), arrays(part), strict=True):
        assert piece.shape[:-1] == whole.shape[:-1]
        assert piece.shape[-1] == last - first + 1
        assert np.shares_memory(whole, piece)


def test_a_world_has_no_part_outside_its_time() -> None:
    """The message says of which time it is."""
    with pytest.raises(ValueError, match=r"no grid point from 1 to 2: the World is of \d+ to \d+"):
        slice_world(calm(), 1, 2)


def test_the_past_shows_what_was_known_then() -> None:
    """Its World ends there, and incidents that opened later are not in it."""
    past, newest = rewind(world=starving())
    then = past.at(NOW - 300, newest)
    assert then.world
    assert then.world.time == NOW - 300
    np.testing.assert_array_equal(then.world.red.p95[:, -1], starving().red.p95[:, -31])
    assert then.learning == Learning(600.0, 1800.0)
    assert past.at(NOW, newest) is newest
    assert past.at(NOW + 500, newest) is newest


def test_what_is_not_remembered_is_read_again_once_an_hour_of_it() -> None:
    """Moving about in the same hour asks the source no more; the fold begins two full hours before, as a hub's does."""
    source = Counted()
    past, newest = rewind(source)
    early = past.at(NOW - 6 * 3600 - 100, newest)
    assert early.world
    assert early.world.time == NOW - 6 * 3600 - 100
    assert min(start for start, _, _ in source.ranges) == NOW - 8 * 3600
    asked = len(source.ranges)
    assert past.at(NOW - 6 * 3600 - 900, newest).world
    assert len(source.ranges) == asked


def test_tiers_that_the_hub_is_given_hold_for_the_past_as_well() -> None:
    """An earlier hour and a long range are read anew, and know what no metric tells."""
    chat = Service("ml", "chat")
    past = TimeTravel(Counted(), GRID, {}, ROOM, tiers={chat: "gold"})
    newest = Snapshot(9, calm(), (), learning(calm()))
    for world in (past.at(NOW - 6 * 3600, newest).world, past.over(NOW - 86_400, NOW, newest)):
        assert world
        assert dict(zip(world.services, world.tier, strict=True)) == {chat: "gold"}


def test_a_long_range_is_read_on_a_coarser_grid_and_kept() -> None:
    """At most 360 points; the same range again is not read again."""
    source = Counted()
    past, newest = rewind(source)
    day = past.over(NOW - 86_400, NOW, newest)
    assert day
    assert len(day.times) <= 361
    assert day.step == 240
    asked = len(source.ranges)
    assert past.over(NOW - 86_400, NOW, newest) is day
    assert len(source.ranges) == asked


def test_a_range_that_moves_on_with_the_present_is_read_on() -> None:
    """Only what is new is read, until it no longer begins near what was read; what is shown is as if read at once."""
    source = Counted()
    past, _ = rewind(source)
    worlds = []
    for later in range(0, 4800, 240):
        world = replace(calm(), times=calm().times + later)
        shown = past.over(NOW + later - 86_400, NOW + later, Snapshot(9, world, (), learning(world)))
        assert shown
        worlds.append(shown)
    assert {(world.times[0] - NOW, world.times[-1] - NOW) for world in worlds} == {
        (later - 86_400, later) for later in range(0, 4800, 240)
    }
    assert sum(end - start for start, end, _ in source.ranges) < 2.2 * 86_400
    alone, _ = rewind(Counted())
    world = replace(calm(), times=calm().times + 4560)
    at_once = alone.over(NOW + 4560 - 86_400, NOW + 4560, Snapshot(9, world, (), learning(world)))
    assert at_once
    assert at_once.services == (Service("ml", "chat"),)
    assert len(arrays(at_once)) > 20
    for mine, theirs in zip(arrays(worlds[-1]), arrays(at_once), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def later(seconds: float) -> Snapshot:
    """The newest tick, so much later."""
    world = replace(calm(), times=calm().times + seconds)
    return Snapshot(9, world, (), learning(world))


def test_what_is_read_on_counts_for_the_room_as_well() -> None:
    """Short ranges, each of which is asked for with an ever later end, as replaying one does."""
    room = 5 * MIN_CACHED_BYTES
    past, newest = rewind(room=room)
    for hours in range(6, 18):
        for minutes in (1, 30, 60):
            start = NOW - hours * 3600.0
            assert past.over(start, start + minutes * 60, newest)
    assert sum(max(MIN_CACHED_BYTES, found.nbytes) for found in past._ranges._values.values()) <= room


def test_what_has_no_room_any_more_is_read_again_when_it_is_asked_for() -> None:
    """A range that has moved on, and then the one before, as by the browser's button Back."""
    past, newest = rewind(room=40 * nbytes(calm()) / len(calm().times))
    first = past.over(NOW - 86_400, NOW, newest)
    assert first
    step = first.step
    assert past.over(NOW + step - 86_400, NOW + step, later(step))
    again = past.over(NOW - 86_400, NOW, later(step))
    assert again
    np.testing.assert_array_equal(again.times, first.times)
    np.testing.assert_array_equal(again.red.rate, first.red.rate)


def test_the_past_is_read_on_by_one_at_a_time() -> None:
    """Each of them takes a core; the others wait, or are told to come again."""
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


def test_a_range_at_hand_is_cut_from_what_is_known() -> None:
    """No source is asked; a range after the newest grid point has nothing."""
    source = Counted()
    past, newest = rewind(source)
    part = past.over(NOW - 300, NOW + 60, newest)
    assert part
    assert part.times.tolist() == (NOW - np.arange(300, -1, -STEP)).tolist()
    assert source.ranges == []
    assert past.over(NOW + 100, NOW + 200, newest) is None


def test_an_hour_that_is_not_over_is_judged_as_far_as_it_is_and_not_at_every_tick() -> None:
    """A platform whose states are forgotten after minutes."""
    source = Counted()
    past = TimeTravel(source, GRID, {}, ROOM)
    asked = set()
    for later in (0.0, 10.0, 20.0, 100.0):
        world = replace(calm(), times=calm().times + 1500 + later)
        assert past.at(NOW + 300, Snapshot(9, world, (), learning(world))).world
        asked.add((len(source.ranges), max(end for _, end, _ in source.ranges)))
    assert {end for _, end in asked} == {NOW + 1500}
    assert len(asked) == 1


def test_what_holds_nothing_is_asked_once() -> None:
    """An old link in a forgotten tab must not ask a Prometheus for ever."""
    source = Counted(begin=NOW - 7200)
    past, newest = rewind(source)
    for _ in range(3):
        with pytest.raises(NothingKnownError, match="nothing is known of so early a time"):
            past.at(NOW - 86_400, newest)
        with pytest.raises(NothingKnownError):
            past.over(NOW - 90_000, NOW - 86_400, newest)
    asked = len(source.ranges)
    with pytest.raises(NothingKnownError):
        past.at(NOW - 86_400, newest)
    assert len(source.ranges) == asked


def test_empty_stretches_are_not_remembered_without_end() -> None:
    """Whoever asks for a thousand of them costs no more memory than who asks for few."""
    past, newest = rewind(Counted(begin=NOW - 7200), room=3 * MIN_CACHED_BYTES)
    for hours in range(30, 40):
        with pytest.raises(NothingKnownError):
            past.at(NOW - hours * 3600.0, newest)
    assert len(past._hours) == 3


def test_a_platform_too_large_for_two_hours_of_it_is_not_judged_again() -> None:
    """The message says what to do instead; charts have as many points as there is room for."""
    source = Counted()
    past, newest = rewind(source, room=40 * nbytes(calm()) / len(calm().times))
    with pytest.raises(SourceError, match="too large to judge so early a time again"):
        past.at(NOW - 86_400, newest)
    day = past.over(NOW - 86_400, NOW, newest)
    assert day
    assert len(day.times) <= 41


def test_a_range_between_two_grid_points_has_nothing() -> None:
    """It is no error: the chart says that there is no data."""
    past, newest = rewind()
    assert past.over(NOW - 9, NOW - 2, newest) is None


def test_a_source_that_was_never_read_is_no_range_without_data() -> None:
    """A chart tells what is wrong, and not that nobody tells of anything."""
    past, _ = rewind()
    with pytest.raises(SourceError, match=r"^Cannot be read: it is away$"):
        past.over(NOW - 900, NOW, Snapshot(1, None, (), Learning(0.0, 1800.0), error="it is away"))
    assert past.over(NOW - 900, NOW, Snapshot(0, None, (), Learning(0.0, 1800.0))) is None


def test_memory_forgets_the_oldest_and_keeps_the_newest() -> None:
    """However little room there is."""
    memory = StateHistory(max_service_states=3)
    for time in (10.0, 20.0, 30.0, 40.0, 50.0):
        memory.append(State(time=time), Learning(time, 1800.0))
    assert memory.at(25.0) is None
    assert memory.at(45.0) == (State(time=40.0), Learning(40.0, 1800.0))
    assert memory.at(1e12) == (State(time=50.0), Learning(50.0, 1800.0))
