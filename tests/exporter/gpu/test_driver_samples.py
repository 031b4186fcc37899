"""Conversion of driver samples to busy intervals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.gpu.driver_samples import (
    DEFAULT_PERIOD_SECONDS,
    MAX_PERIOD_SECONDS,
    BusyHistogram,
    Cursor,
    Interval,
    merged,
    new_intervals,
    observed,
    recent,
    rescaled,
)
from foreshock_exporter.model.device import ProcessUtilization, UtilizationSample

START = 1_700_000_000_000_000


def sample(seconds: float, ratio: float) -> UtilizationSample:
    return UtilizationSample(START + round(seconds * 1e6), ratio)


def test_each_sample_covers_the_time_since_the_one_before() -> None:
    drained = new_intervals(Cursor(START), [sample(0.25, 1.0), sample(0.5, 0.5), sample(1.0, 0.0)])
    assert drained.intervals == (Interval(0.25, 1.0), Interval(0.25, 0.5), Interval(0.5, 0.0))
    assert drained.cursor == Cursor(START + 1_000_000, 0.5)


def test_the_first_sample_only_sets_the_cursor() -> None:
    """Its duration is unknown, and older samples precede the start."""
    drained = new_intervals(Cursor(), [sample(0.0, 1.0), sample(0.2, 1.0)])
    assert (drained.intervals, drained.cursor.newest_us) == ((), START + 200_000)


def test_after_a_pause_a_sample_covers_one_period_and_not_the_pause() -> None:
    """An idle GPU keeps no samples."""
    drained = new_intervals(Cursor(START, 0.25), [sample(30.0, 1.0), sample(30.25, 1.0)])
    assert sum(interval.seconds for interval in drained.intervals) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("a share beyond 1", sample(0.15, 8083349.05)),
        ("a negative share", sample(0.15, -0.01)),
        ("time 0", UtilizationSample(0, 0.5)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_implausible_samples_are_dropped_and_counted(name: str, bad: UtilizationSample) -> None:
    """Drivers have reported a utilization of 808,334,905%."""
    drained = new_intervals(Cursor(START), [sample(0.1, 0.5), bad, sample(0.2, 0.5)])
    assert (drained.dropped, [interval.ratio for interval in drained.intervals]) == (1, [0.5, 0.5]), name


@given(
    st.lists(st.tuples(st.integers(1, 3_000_000), st.floats(0, 1)), max_size=40),
    st.lists(st.integers(0, 40), max_size=5),
)
def test_it_does_not_matter_how_often_the_buffer_is_drained(steps: list[tuple[int, float]], cuts: list[int]) -> None:
    """Repeated samples count once, and several reads sum to one."""
    time, samples = START, []
    for step, ratio in steps:
        time += step
        samples.append(UtilizationSample(time, ratio))
    at_once = new_intervals(Cursor(START), samples)
    cursor, intervals = Cursor(START), list[Interval]()
    for cut in [*sorted(cuts), len(samples)]:
        part = new_intervals(cursor, samples[:cut])
        cursor, intervals = part.cursor, [*intervals, *part.intervals]
    assert (tuple(intervals), cursor) == (at_once.intervals, at_once.cursor)
    assert all(0.0 < interval.seconds <= MAX_PERIOD_SECONDS for interval in intervals)
    doubled = new_intervals(Cursor(START), [entry for entry in samples for _ in range(2)])
    assert doubled.intervals == at_once.intervals


def test_a_sample_before_two_were_seen_covers_the_shortest_period_of_nvml() -> None:
    assert new_intervals(Cursor(START), [sample(20.0, 1.0)]).intervals == (Interval(DEFAULT_PERIOD_SECONDS, 1.0),)


def test_stretches_become_one_with_their_mean() -> None:
    assert merged([Interval(0.1, 1.0), Interval(0.3, 0.0)]) == Interval(0.4, 0.25)
    assert merged([]) == Interval(0.0, 0.0)


@pytest.mark.parametrize(("ratio", "bucket"), [(0.0, 0), (0.01, 1), (0.5, 1), (0.51, 2), (1.0, 2)])
def test_a_share_falls_in_the_bucket_whose_bound_it_does_not_exceed(ratio: float, bucket: int) -> None:
    """As in Prometheus: `le` means less or equal."""
    after = observed(BusyHistogram((0, 0, 0)), [Interval(1.0, ratio)], (0.0, 0.5))
    assert (after.counts.index(1), after.sum) == (bucket, ratio)


def test_a_first_request_also_returns_processes_that_ended_long_ago() -> None:
    """Entries near the newest device sample are current; without one, none is."""
    entries = [ProcessUtilization(1, START, 0.9), ProcessUtilization(2, START + 9_000_000, 0.3)]
    interval = Interval(0.2, 1.0)
    assert [entry.pid for entry in recent(entries, START + 9_100_000, interval)] == [2]
    assert recent(entries, 5_000_000, interval) == [], "a separate clock"
    assert (recent(entries, None, interval), recent(entries, START, None)) == ((), ())


@pytest.mark.parametrize(
    ("what", "shares", "seconds_since", "interval", "expected"),
    [
        ("a mean over the stretch itself stays", {1: 0.6}, 0.3, Interval(0.3, 0.9), {1: 0.6}),
        ("a mean over a rest and the stretch is all of the stretch", {1: 0.03}, 10.0, Interval(0.3, 1.0), {1: 1.0}),
        ("two share as they did", {1: 0.02, 2: 0.01}, 10.0, Interval(0.3, 0.9), {1: 0.6, 2: 0.3}),
        ("what falls short of the device stays short", {1: 0.015}, 10.0, Interval(0.3, 0.9), {1: 0.5}),
        ("a driver that leaves the rest out is not scaled", {1: 0.9}, 10.0, Interval(0.3, 0.9), {1: 0.9}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mean_over_idle_time_is_rescaled_to_the_interval_after_it(
    what: str, shares: dict[int, float], seconds_since: float, interval: Interval, expected: dict[int, float]
) -> None:
    newest = START + round(seconds_since * 1e6)
    entries = [ProcessUtilization(pid, newest, share) for pid, share in shares.items()]
    scaled = {entry.pid: entry.sm_ratio for entry in rescaled(entries, START, interval)}
    assert scaled == {pid: pytest.approx(share) for pid, share in expected.items()}, what


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0.05, 60), st.floats(0.1, 1.5), st.floats(0, 1))
def test_shares_are_never_scaled_beyond_the_device(
    shares: list[float], since: float, seconds: float, ratio: float
) -> None:
    """Unless they were beyond it already: then they stay."""
    entries = [ProcessUtilization(pid, START + round(since * 1e6), share) for pid, share in enumerate(shares, 1)]
    total = sum(entry.sm_ratio for entry in rescaled(entries, START, Interval(seconds, ratio)))
    assert sum(shares) - 1e-9 <= total <= max(ratio, sum(shares)) + 1e-9
