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


@pytest.mark.parametrize(
    ("events", "counts", "ratio"),
    [
        ([0.0] * 100, [100.0] * 100, 0.0003),
        ([0.0] * 98 + [50.0] * 2, [100.0] * 100, 0.0003),
        ([0.0] * 97 + [50.0] * 3, [100.0] * 100, 0.5003),
        ([1.0, 2.0] * 50, [100.0] * 100, 0.0203),
        ([0.0] * 95 + [1.0] * 5, [600.0] * 95 + [3.0] * 5, 3 / 57_015),
        ([50.0, math.nan, *[0.0] * 99], [100.0] * 101, 0.0003),
        ([0.0] * 99 + [1.0], [100.0] * 99 + [0.0], 3 / 9900),
        ([50.0, 2.0], [100.0, 100.0], 0.035),
        ([math.nan] * 3, [100.0] * 3, math.nan),
        ([], [], math.nan),
    ],
    ids=[
        "none",
        "an earlier incident",
        "bursts",
        "more in some windows",
        "quiet minutes",
        "an unknown window",
        "a window without requests",
        "two windows",
        "all unknown",
        "no window",
    ],
)
def test_the_ratio_is_the_largest_of_ordinary_windows_and_three_events_more(
    events: list[float], counts: list[float], ratio: float
) -> None:
    assert ordinary_ratio(np.array([events]), np.array([counts])) == pytest.approx(ratio, nan_ok=True)
