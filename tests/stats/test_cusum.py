"""Waiting time of queues, and change points."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.stats.cusum import change_point, cusum, queue_wait_seconds


@pytest.mark.parametrize(
    ("queue", "throughput", "seconds"),
    [(0, 5, 0), (30, 5, 6), (30, 0, math.inf), (0, 0, 0), (math.nan, 5, math.nan), (30, math.nan, math.nan)],
)
def test_the_wait_is_the_queue_over_the_throughput(queue: float, throughput: float, seconds: float) -> None:
    assert queue_wait_seconds(np.array([queue]), np.array([throughput]))[0] == pytest.approx(seconds, nan_ok=True)


def test_the_change_point_is_the_start_of_the_shift() -> None:
    z = np.concatenate([np.full(50, -0.2), np.full(20, 2.0)])
    assert change_point(z) == 50
    assert cusum(z)[-1] == pytest.approx(20 * 1.5)
    assert change_point(np.full(50, -0.2)) == 50


def test_missing_points_leave_the_sum_as_it_is() -> None:
    z = np.array([[2.0, math.nan, 2.0], [math.nan, math.nan, math.nan]])
    assert cusum(z).tolist() == [[1.5, 1.5, 3.0], [0.0, 0.0, 0.0]]


@given(st.lists(st.one_of(st.floats(-50, 50), st.just(math.nan)), max_size=80))
def test_sums_are_not_negative_and_the_change_point_follows_the_last_zero(values: list[float]) -> None:
    z = np.array(values)
    sums = cusum(z)
    first = change_point(z)
    assert (sums >= 0).all()
    assert (sums[first:] > 0).all()
    assert first == 0 or sums[first - 1] == 0
