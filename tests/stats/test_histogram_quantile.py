"""Quantiles of buckets are Prometheus' quantiles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.stats.histogram_quantile import histogram_quantiles, quantile_lower_bound
from foreshock_dashboard.world.histogram_quantiles import BucketStack

BOUNDS = np.array([0.1, 0.5, 1.0, np.inf])


def one(counts: list[float], share: float) -> float:
    """The quantile of one row at one time."""
    return float(histogram_quantiles(BOUNDS, np.array(counts).reshape(1, -1, 1), (share,))[0][0, 0])


@pytest.mark.parametrize(
    ("why", "counts", "share", "expected"),
    [
        ("interpolates inside the bucket", [10, 20, 20, 20], 0.75, 0.3),
        ("starts at zero in the first bucket", [10, 10, 10, 10], 0.5, 0.05),
        ("is the highest finite bound above it", [0, 0, 0, 4], 0.5, 1.0),
        ("skips empty buckets", [0, 0, 8, 8], 0.5, 0.75),
        ("takes a bucket torn between two scrapes as its predecessor", [10, 8, 20, 20], 0.75, 0.75),
        ("reads a bound the series lacks as its predecessor", [10, np.nan, 20, 20], 0.75, 0.75),
    ],
)
def test_a_quantile(why: str, counts: list[float], share: float, expected: float) -> None:
    """The rules of histogram_quantile."""
    assert one(counts, share) == pytest.approx(expected), why


def test_without_observations_there_is_no_quantile() -> None:
    """Absent is never zero."""
    assert np.isnan(one([0, 0, 0, 0], 0.5))
    assert np.isnan(one([np.nan] * 4, 0.5))


@given(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=60), st.floats(0.05, 0.95))
def test_the_estimate_lies_in_the_bucket_of_the_true_quantile(values: list[float], share: float) -> None:
    """Whatever the observations, the error is at most one bucket."""
    counts = [float(sum(value <= bound for value in values)) for bound in BOUNDS]
    true = sorted(values)[max(0, int(np.ceil(share * len(values))) - 1)]
    upper = float(BOUNDS[np.searchsorted(BOUNDS, true)])
    lower = float(max([bound for bound in BOUNDS if bound < true], default=0.0))

    assert lower - 1e-9 <= one(counts, share) <= upper + 1e-9


def test_rows_with_different_bounds_share_all_bounds() -> None:
    """A fleet may mix two producers of one histogram."""
    times = np.array([0.0])
    labels = tuple(
        (("le", le), ("server", server)) for server, le in (("a", "0.1"), ("a", "+Inf"), ("b", "1"), ("b", "+Inf"))
    )
    rows, bounds, counts = BucketStack().arrange(Matrix(times, labels, np.array([[3.0], [4.0], [5.0], [5.0]])))

    assert rows == ((("server", "a"),), (("server", "b"),))
    assert bounds.tolist() == [0.1, 1.0, np.inf]
    np.testing.assert_array_equal(counts[:, :, 0], [[3.0, np.nan, 4.0], [np.nan, 5.0, 5.0]])


@pytest.mark.parametrize("requests", [12, 30, 60, 240, 1000])
def test_the_lower_bound_exceeds_the_true_p95_about_once_in_a_thousand(requests: int) -> None:
    """The count of requests beyond the true quantile is binomial; at most once in 300, and not never."""
    beyond = math.floor(requests * (1 - float(quantile_lower_bound(0.95)(np.array(float(requests)))))) + 1
    lifted = 1 - sum(math.comb(requests, k) * 0.05**k * 0.95 ** (requests - k) for k in range(beyond))
    assert 1e-4 < lifted < 1 / 300


@given(st.lists(st.floats(0.001, 5.0), min_size=1, max_size=200))
def test_the_lower_bound_is_at_most_the_p95(values: list[float]) -> None:
    """For any observations, also few."""
    counts = np.array([[[float(sum(value <= bound for value in values))] for bound in BOUNDS]])
    low, p95 = histogram_quantiles(BOUNDS, counts, (quantile_lower_bound(0.95), 0.95))
    assert 0 <= low[0, 0] <= p95[0, 0]


def test_without_requests_there_is_no_lower_bound() -> None:
    """Absent is never zero."""
    assert np.isnan(histogram_quantiles(BOUNDS, np.zeros((1, 4, 1)), (quantile_lower_bound(0.95),))[0]).all()
