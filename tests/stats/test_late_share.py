"""The share of requests slower than a limit, from the quantiles of their latency."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.late_share import late_share


@pytest.mark.parametrize(
    ("limit", "share"),
    [
        pytest.param(0.5, 0.75, id="below p50 in proportion to it"),
        pytest.param(1.0, 0.5, id="at p50"),
        pytest.param(2.0, math.sqrt(0.5 * 0.05), id="halfway from p50 to p95"),
        pytest.param(4.0, 0.05, id="at p95"),
        pytest.param(8.0, math.sqrt(0.05 * 0.01), id="halfway from p95 to p99"),
        pytest.param(16.0, 0.01, id="at p99"),
        pytest.param(17.0, 0.0, id="beyond p99"),
        pytest.param(0.0, math.nan, id="no limit"),
        pytest.param(math.nan, math.nan, id="an unknown limit"),
    ],
)
def test_the_share_is_read_off_between_the_quantiles(limit: float, share: float) -> None:
    assert late_share(limit, np.array([1.0]), np.array([4.0]), np.array([16.0])) == pytest.approx([share], nan_ok=True)


@pytest.mark.parametrize(
    ("p50", "p95", "p99", "share"),
    [
        pytest.param(math.nan, 8.0, 16.0, 0.5, id="without p50, four times slower than the limit"),
        pytest.param(math.nan, 2.2, 3.0, 0.05 * 10 ** math.log2(1.1), id="without p50, just beyond the limit"),
        pytest.param(1.0, 1.5, math.nan, 0.0, id="without p99, below the limit"),
        pytest.param(4.0, 4.0, 4.0, 0.75, id="all requests alike"),
        pytest.param(1.0, 2.0, 2.0, 0.05, id="no tail beyond the limit"),
        pytest.param(1.0, 2.1, 2.1, 0.5, id="p95 and p99 alike beyond the limit: up to half"),
        pytest.param(1.0, 2.1, 2.0, 0.5, id="p99 below p95, beyond the limit"),
        pytest.param(1.0, math.nan, 4.0, math.nan, id="nothing without p95"),
    ],
)
def test_missing_and_equal_quantiles(p50: float, p95: float, p99: float, share: float) -> None:
    found = late_share(2.0, np.array([p50]), np.array([p95]), np.array([p99]))
    assert found == pytest.approx([share], nan_ok=True)


def bucketed(sample: Floats, bounds: Sequence[float]) -> list[Floats]:
    """p50, p95, and p99 as of a histogram with these bounds: linear in a bucket, the last bound beyond it."""
    counts, edges = np.histogram(sample, [0.0, *bounds])
    shares = np.concatenate([[0.0], np.cumsum(counts)]) / len(sample)
    return [np.array([np.interp(q, shares, edges)]) for q in (0.5, 0.95, 0.99)]


RANDOM = np.random.default_rng(7)
LIMIT = 1.0


@pytest.mark.parametrize(
    ("sample", "bounds", "least", "most"),
    [
        pytest.param(RANDOM.lognormal(-0.5, 0.5, 100_000), (), 0.75, 1.1, id="one mode"),
        pytest.param(RANDOM.lognormal(-0.1, 0.3, 100_000), (), 0.8, 1.1, id="one mode, narrow"),
        pytest.param(RANDOM.lognormal(-1.0, 1.0, 100_000), (), 0.75, 1.1, id="one mode, wide"),
        pytest.param(np.r_[np.full(55, 0.1), np.full(45, 1.2)], (), 1.0, 1.2, id="45% end at a timeout"),
        pytest.param(
            np.r_[np.full(80, 0.02), np.full(20, 60.0)], (0.1, 1.25), 1.0, 2.6, id="20% beyond the last bucket"
        ),
        pytest.param(
            np.r_[np.full(55, 0.1), RANDOM.uniform(0.5, 2.5, 45)], (0.25, 0.5, 2.5), 0.8, 1.1, id="45% in one bucket"
        ),
    ],
)
def test_the_share_of_a_sample_is_not_underestimated_by_much(
    sample: Floats, bounds: Sequence[float], least: float, most: float
) -> None:
    quantiles = bucketed(sample, bounds) if bounds else [np.array([np.quantile(sample, q)]) for q in (0.5, 0.95, 0.99)]
    ratio = late_share(LIMIT, *quantiles)[0] / np.mean(sample > LIMIT)
    assert least <= ratio <= most


@given(st.lists(st.floats(0.0, 1e3) | st.just(math.nan), min_size=3, max_size=3), st.floats(1e-3, 1e3))
def test_the_share_is_between_0_and_1_or_unknown_for_any_quantiles(quantiles: list[float], limit: float) -> None:
    """Also for missing or unordered ones."""
    (share,) = late_share(limit, *(np.array([value]) for value in quantiles))
    assert 0.0 <= share <= 1.0 or (math.isnan(share) and math.isnan(quantiles[1]))
