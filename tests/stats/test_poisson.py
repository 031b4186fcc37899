"""More events than chance explains: by a Poisson count, and by the ratio of ordinary windows of the past."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.stats.poisson import ordinary_ratio, poisson_tail


@given(st.integers(0, 60), st.floats(0, 29))
def test_the_tail_is_what_the_terms_below_it_leave(count: int, mean: float) -> None:
    below = sum(math.exp(-mean) * mean**events / math.factorial(events) for events in range(count))
    expected = 1.0 if mean >= count else 1 - below
    assert poisson_tail(count, mean) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("count", "mean", "tail"), [(3, 0.1, 1.5465e-4), (20, 1.0, 1.587e-19), (3, 0.0, 0.0)])
def test_small_tails_keep_their_digits(count: int, mean: float, tail: float) -> None:
    assert poisson_tail(count, mean) == pytest.approx(tail, rel=1e-3)


def test_an_unknown_mean_explains_every_count() -> None:
    assert poisson_tail(1000, math.nan) == 1.0


def test_bursts_need_more_events_than_independent_ones() -> None:
    """Those of a dispersion of 4 are as likely as a quarter of them that are independent."""
    assert poisson_tail(12, 2.0, 4.0) == pytest.approx(poisson_tail(3, 0.5))
    assert poisson_tail(12, 2.0, 4.0) > 100 * poisson_tail(12, 2.0)


@pytest.mark.parametrize(
    ("events", "counts", "ratio"),
    [
        ([0.0] * 100, [100.0] * 100, 3 / 9800),
        ([0.0] * 98 + [50.0] * 2, [100.0] * 100, 3 / 9800),
        ([1.0] * 100, [100.0] * 100, 101 / 9800),
        ([0.0] * 95 + [1.0] * 5, [600.0] * 95 + [3.0] * 5, 3 / 55_800),
        ([50.0, math.nan, *[0.0] * 99], [100.0] * 101, 3 / 9800),
        ([0.0] * 99 + [1.0], [100.0] * 99 + [0.0], 3 / 9700),
        ([50.0, 2.0], [100.0, 100.0], 5 / 100),
        ([math.nan] * 3, [100.0] * 3, math.nan),
        ([], [], math.nan),
    ],
    ids=[
        "none",
        "an earlier incident",
        "one in each window",
        "quiet minutes",
        "an unknown window",
        "a window without requests",
        "two windows",
        "all unknown",
        "no window",
    ],
)
def test_the_ratio_is_that_of_ordinary_windows_and_three_events_more(
    events: list[float], counts: list[float], ratio: float
) -> None:
    assert ordinary_ratio(np.array([events]), np.array([counts]))[0] == pytest.approx(ratio, nan_ok=True)


@pytest.mark.parametrize("burst", [1, 4, 16])
def test_the_dispersion_of_bursts_is_their_size(burst: int) -> None:
    events = burst * np.random.default_rng(1).poisson(2.0, (50, 120)).astype(np.float64)
    ratios, dispersion = ordinary_ratio(events, np.full_like(events, 100.0))
    assert np.median(ratios) == pytest.approx(burst * 0.02, rel=0.1)
    assert np.median(dispersion) == pytest.approx(burst, rel=0.2)
