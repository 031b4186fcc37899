"""Occupancy intervals from fast samples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.attribution.container import join_keys
from foreshock_exporter.gpu.contention import ServiceKey
from foreshock_exporter.gpu.occupancy import (
    INTERVALS_PER_SECOND,
    MAX_BURST_INTERVALS,
    MAX_INTERVAL_SECONDS,
    MAX_JOIN_KEYS,
    MAX_OBSERVATION_SECONDS,
    MERGE_GAP_SECONDS,
    TRACE_SECONDS,
    Observation,
    Occupancy,
    OccupancyState,
    OccupancyTracker,
    advance,
    settle,
    span_id,
    trace_id,
)

A, B, C = ServiceKey("", "a"), ServiceKey("ml", "b"), ServiceKey("", "c")
T0 = 1_800_000_000.0  # the start of a minute
CONTAINER, POD = "ab" * 32, "3f2b9a10-5c4d-4e6f-8a7b-9c0d1e2f3a4b"


def observations(pattern: str, *, step: float = 0.1, start: float = T0, uuid: str = "GPU-0") -> list[Observation]:
    """One observation a letter: `2` both services run, `a` and `b` one of them alone, `.` none, ` ` no observation."""
    shares = {"2": {A: 0.5, B: 0.4}, "a": {A: 0.9}, "b": {B: 0.9}, ".": {}}
    return [
        Observation(uuid, "0", start + at * step, start + (at + 1) * step, shares[letter])
        for at, letter in enumerate(pattern)
        if letter != " "
    ]


def all_intervals(seen: Sequence[Observation]) -> list[Occupancy]:
    """All intervals of one GPU, the last ones too."""
    fold = OccupancyState()
    found: list[Occupancy] = []
    for observation in seen:
        fold, ended = advance(fold, observation)
        found += ended
    return [*found, *settle(fold, "GPU-0", "0")[1]]


def spans(seen: Sequence[Observation], service: ServiceKey = A) -> list[tuple[float, float]]:
    """Intervals of one service in seconds from T0."""
    return [(round(i.start - T0, 3), round(i.end - T0, 3)) for i in all_intervals(seen) if i.service == service]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", []),
        ("....", []),
        ("aaabbb", []),
        ("a22a", [(0.1, 0.3)]),
        ("22.22", [(0.0, 0.5)]),
        ("22..22", [(0.0, 0.6)]),
        ("22...22", [(0.0, 0.2), (0.5, 0.7)]),
        ("2  2", [(0.0, 0.4)]),
        ("2   2", [(0.0, 0.1), (0.4, 0.5)]),
        ("2bb2", [(0.0, 0.4)]),
    ],
)
def test_a_service_occupies_a_gpu_while_another_one_runs_too(pattern: str, expected: list[tuple[float, float]]) -> None:
    """Alone it does not; pauses of up to two fast samples are bridged."""
    assert spans(observations(pattern)) == expected


def test_a_share_below_five_percent_is_not_activity() -> None:
    """The same threshold as contention has."""
    idle = Observation("GPU-0", "0", T0, T0 + 0.1, {A: 0.9, B: 0.049})
    active = Observation("GPU-0", "0", T0 + 0.1, T0 + 0.2, {A: 0.9, B: 0.05, C: 0.01})

    assert {(i.service, round(i.start - T0, 3)) for i in all_intervals([idle, active])} == {(A, 0.1), (B, 0.1)}


def test_an_interval_ends_as_soon_as_nothing_can_extend_it() -> None:
    """Not first when the service runs again, which may be hours later."""
    fold = OccupancyState()
    ended = []
    for observation in observations("2...."):
        fold, closed = advance(fold, observation)
        ended.append(len(closed))

    assert ended == [0, 0, 0, 2, 0]


def test_a_long_interval_arrives_in_pieces_of_ten_seconds_and_none_crosses_a_minute() -> None:
    """The trace of a GPU's minute is found from the minute."""
    seen = observations("2" * 240, start=T0 + 45)

    assert spans(seen) == [(45, 55), (55, 60), (60, 69)]


def test_the_resolution_is_the_longest_sample_or_bridged_pause() -> None:
    """No shorter pause is seen in the interval."""
    assert [i.resolution for i in all_intervals(observations("222"))] == pytest.approx([0.1, 0.1], abs=1e-6)
    assert [i.resolution for i in all_intervals(observations("22..22"))] == pytest.approx([0.2, 0.2], abs=1e-6)
    assert [i.resolution for i in all_intervals(observations("22", step=1.0))] == pytest.approx([1.0, 1.0], abs=1e-6)


def test_samples_that_come_twice_or_overlap_count_once() -> None:
    """Time already observed is not recorded again."""
    once = observations("2222")

    assert spans([*once, *once]) == spans(once)
    assert spans([*once, *observations("2222", start=T0 + 0.25)]) == [(0.0, 0.65)]


def test_after_the_clock_was_set_back_intervals_go_on() -> None:
    """What was open ends; nothing waits for the old time to come round again."""
    seen = [*observations("22", start=T0 + 3600), *observations("22")]

    assert spans(seen) == [(3600.0, 3600.2), (0.0, 0.2)]


def test_an_observation_over_a_minute_is_dropped_and_counted() -> None:
    """It is not spread over unobserved intervals."""
    fold, ended = advance(
        OccupancyState(), Observation("GPU-0", "0", T0, T0 + MAX_OBSERVATION_SECONDS + 1, {A: 0.5, B: 0.5})
    )

    assert (ended, fold.dropped) == ((), 1)


def test_more_intervals_than_the_bound_are_dropped_and_counted() -> None:
    """A hundred at once, ten a second on average; the rest is counted."""
    services = {ServiceKey("", f"s{number}"): 0.06 for number in range(150)}
    fold, first = advance(OccupancyState(), Observation("GPU-0", "0", T0, T0 + 0.1, services))
    fold, second = advance(fold, Observation("GPU-0", "0", T0 + 0.1, T0 + 1.1, {}))
    assert (len(first), len(second), fold.dropped) == (0, MAX_BURST_INTERVALS, 150 - MAX_BURST_INTERVALS)

    fold, _ = advance(fold, Observation("GPU-0", "0", T0 + 1.1, T0 + 1.2, services))
    fold, third = advance(fold, Observation("GPU-0", "0", T0 + 1.2, T0 + 2.1, {}))
    assert len(third) == INTERVALS_PER_SECOND * 1
    assert fold.dropped == 150 - MAX_BURST_INTERVALS + 150 - INTERVALS_PER_SECOND


def test_gpus_do_not_touch_each_other_and_the_silent_ones_are_settled() -> None:
    """A GPU that is lost leaves no interval open for ever."""
    occupancies = OccupancyTracker()
    mixed = [o for pair in zip(observations("222"), observations("22.", uuid="GPU-1"), strict=True) for o in pair]
    assert [i for observation in mixed for i in occupancies.observe(observation)] == []
    assert occupancies.settle(T0 + 0.3) == ()

    ended = occupancies.settle(T0 + 5)

    assert {(i.uuid, i.service, round(i.end - T0, 3)) for i in ended} == {
        ("GPU-0", A, 0.3),
        ("GPU-0", B, 0.3),
        ("GPU-1", A, 0.2),
        ("GPU-1", B, 0.2),
    }
    assert occupancies.settle(T0 + 5) == ()
    assert occupancies.dropped() == 0


def test_ids_follow_from_the_interval() -> None:
    """One trace for a GPU and minute; a span sent twice is the same span."""
    interval = Occupancy("GPU-0", "0", A, T0 + 1, T0 + 2, 0.1)

    assert trace_id("GPU-0", T0) == trace_id("GPU-0", T0 + 59.9)
    assert len({trace_id("GPU-0", T0), trace_id("GPU-0", T0 + 60), trace_id("GPU-1", T0)}) == 3
    assert span_id(interval) == span_id(interval._replace(end=T0 + 3))
    assert span_id(interval) != span_id(interval._replace(service=B))
    assert 0 < span_id(interval) < 1 << 64
    assert 0 < trace_id("GPU-0", T0) < 1 << 128


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 2, 3, 40]),  # ticks of silence before
        st.sampled_from([1, 1, 1, 2, 9, 130]),  # ticks observed
        st.frozensets(st.sampled_from([A, B, C])),
    ),
    max_size=60,
)
TICK = 0.125  # exact in binary, so that the model below needs no tolerance
GAP_TICKS = int(MERGE_GAP_SECONDS / TICK)


@given(STEPS)
def test_intervals_never_overlap_and_cover_exactly_the_active_time_up_to_bridged_gaps(
    steps: list[tuple[int, int, frozenset[ServiceKey]]],
) -> None:
    """Compared with a model on a time grid: nothing is recorded twice, invented, or left out."""
    fold, at = OccupancyState(tokens=1e9), 0
    found: list[Occupancy] = []
    painted: dict[ServiceKey, set[int]] = {A: set(), B: set(), C: set()}
    for silence, ticks, services in steps:
        at += silence
        shares = dict.fromkeys(services, 0.3)
        fold, ended = advance(fold, Observation("g", "0", T0 + at * TICK, T0 + (at + ticks) * TICK, shares))
        fold = OccupancyState(fold.seen, fold.open, 1e9)
        found += ended
        if len(services) > 1:
            for service in services:
                painted[service] |= set(range(at, at + ticks))
        at += ticks
    found += settle(fold, "g", "0")[1]

    for service, ticks_of in painted.items():
        mine = sorted(i for i in found if i.service == service)
        assert all(before.end <= after.start for before, after in pairwise(mine))
        covered = {t for i in mine for t in range(round((i.start - T0) / TICK), round((i.end - T0) / TICK))}
        assert ticks_of <= covered
        extra = covered - ticks_of
        assert all(any(t - d in ticks_of for d in range(1, GAP_TICKS + 1)) for t in extra)
        assert all(any(t + d in ticks_of for d in range(1, GAP_TICKS + 1)) for t in extra)
    for interval in found:
        assert 0 < interval.end - interval.start <= MAX_INTERVAL_SECONDS
        assert interval.start // TRACE_SECONDS == (interval.end - TICK) // TRACE_SECONDS


@given(STEPS, STEPS, st.randoms(use_true_random=False))
def test_the_intervals_of_a_gpu_do_not_depend_on_the_order_in_which_gpus_are_observed(
    left: list[tuple[int, int, frozenset[ServiceKey]]],
    right: list[tuple[int, int, frozenset[ServiceKey]]],
    random: Random,
) -> None:
    """The lanes of the GPUs run in threads of their own."""

    def observed(uuid: str, steps: list[tuple[int, int, frozenset[ServiceKey]]]) -> list[Observation]:
        at, seen = T0, []
        for silence, ticks, services in steps:
            at += silence * TICK
            seen.append(Observation(uuid, uuid, at, at + ticks * TICK, dict.fromkeys(services, 0.3)))
            at += ticks * TICK
        return seen

    def run(seen: Sequence[Observation]) -> set[Occupancy]:
        occupancies = OccupancyTracker()
        return {i for o in seen for i in occupancies.observe(o)} | set(occupancies.settle(T0 + 1e9))

    queues = {"l": observed("l", left), "r": observed("r", right)}
    apart = run([*queues["l"], *queues["r"]])
    mixed = []
    while any(queues.values()):
        name = random.choice([name for name, queue in queues.items() if queue])
        mixed.append(queues[name].pop(0))

    assert run(mixed) == apart


def test_an_interval_has_the_share_during_which_the_service_ran() -> None:
    """Mean over its samples; bridged gaps count as idle, and parts of a cut interval have their own share."""
    halves = [
        Observation("GPU-0", "0", T0, T0 + 1, {A: 0.8, B: 0.2}),
        Observation("GPU-0", "0", T0 + 1, T0 + 2, {A: 0.4, B: 0.4}),
    ]
    assert {i.service: round(i.share, 6) for i in all_intervals(halves)} == {A: 0.6, B: 0.3}
    assert [round(i.share, 6) for i in all_intervals(observations("2.2")) if i.service == A] == [round(0.1 / 0.3, 6)]
    assert {round(i.share, 6) for i in all_intervals(observations("2" * 240)) if i.service == A} == {0.5}


def test_uneven_sampling_does_not_change_the_share() -> None:
    """A driver samples every sixth of a second and is read every tenth: samples overlap or leave gaps."""
    ends = [0.405, 0.505, 0.706, 0.907, 1.007, 1.208, 1.409, 1.509, 1.71]
    seen = [Observation("GPU-0", "0", T0 + end - 1 / 6, T0 + end, {A: 0.25, B: 0.75}) for end in ends]

    assert {(i.service, round(i.share, 6)) for i in all_intervals(seen)} == {(A, 0.25), (B, 0.75)}


def test_an_interval_has_the_join_keys_of_its_processes() -> None:
    """Each process is looked up once."""
    looked_up: list[int] = []

    def names(pid: int) -> tuple[str, ...]:
        looked_up.append(pid)
        return (f"host/{pid}",)

    def observed(at: float, pids: dict[ServiceKey, tuple[int, ...]]) -> Observation:
        return Observation("GPU-0", "0", T0 + at, T0 + at + 0.1, {A: 0.5, B: 0.4}, pids)

    occupancies = OccupancyTracker(names)
    for at in (0.0, 0.1, 0.2):
        occupancies.observe(observed(at, {A: (7,), B: (8,)}))
    occupancies.observe(observed(0.3, {A: (7, 9), B: (8,)}))
    ended = occupancies.settle(T0 + 5)

    assert {i.service: i.processes for i in ended} == {A: ("host/7", "host/9"), B: ("host/8",)}
    assert looked_up == [7, 8, 9]
    occupancies.observe(observed(9.0, {A: (9,)}))
    occupancies.observe(observed(9.1, {A: (7,)}))
    assert looked_up == [7, 8, 9, 7]


def test_an_interval_names_a_bounded_number_of_processes() -> None:
    """A service with a hundred workers on one GPU."""
    seen = Observation("GPU-0", "0", T0, T0 + 0.1, {A: 0.5, B: 0.4}, {A: tuple(range(100))})
    fold, _ = advance(OccupancyState(), seen, lambda pid: (f"host/{pid}",))

    assert {len(i.processes) for i in settle(fold, "GPU-0", "0")[1]} == {0, MAX_JOIN_KEYS}


@pytest.mark.parametrize(
    ("pids", "cgroup", "words"),
    [
        ("4242", "/", ("host/4242",)),
        ("4242\t1", f"/docker/{CONTAINER}", (f"container:{CONTAINER}/1",)),
        ("9\t7", f"/kubepods/pod{POD}/{CONTAINER}", (f"container:{CONTAINER}/7", f"pod:{POD}/7")),
        ("4242", f"/docker/{CONTAINER}", (f"container:{CONTAINER}/4242", "host/4242")),
        ("9\t3", "/", ()),
    ],
)
def test_join_keys_match_the_spans_of_a_process(pids: str, cgroup: str, words: tuple[str, ...], tmp_path: Path) -> None:
    """The PID inside its container; the host's PID only in the host's namespace."""
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "status").write_text(f"Pid:\t1\nNSpid:\t{pids}\n")
    (tmp_path / "42" / "cgroup").write_text(f"0::{cgroup}\n")

    assert join_keys(tmp_path, 42) == words


def test_a_process_that_is_gone_has_no_words(tmp_path: Path) -> None:
    """Nothing is attributed to the next process with its number."""
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "status").write_text("Pid:\t42\nNSpid:\t42\t5\n")
    (tmp_path / "42" / "cgroup").write_text(f"0::/docker/{'cd' * 32}\n")

    assert join_keys(tmp_path, 42) == (f"container:{'cd' * 32}/5",)
    assert join_keys(tmp_path, 43) == ()
