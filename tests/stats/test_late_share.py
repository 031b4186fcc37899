"""The share of requests slower than a limit, from the quantiles of their latency."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foreshock_dashboard.stats.late_share import late_share


@pytest.mark.parametrize(
    ("limit", "share"),
    [
        pytest.param(0.5, 0.5, id="at most half below p50"),
        pytest.param(1.0, 0.5, id="at p50"),
        pytest.param(2.0, math.sqrt(0.5 * 0.05), id="halfway from p50 to p95"),
        pytest.param(4.0, 0.05, id="at p95"),
        pytest.param(8.0, math.sqrt(0.05 * 0.01), id="halfway from p95 to p99"),
        pytest.param(16.0, 0.01, id="at p99"),
        pytest.param(17.0, 0.0, id="beyond p99"),
    ],
)
def test_the_share_is_read_off_between_the_quantiles(limit: float, share: float) -> None:
    assert late_share(limit, np.array([1.0]), np.array([4.0]), np.array([16.0])) == pytest.approx([share])


@pytest.mark.parametrize(
    ("p50", "p95", "p99", "share"),
    [
        pytest.param(math.nan, 8.0, 16.0, 0.5, id="without p50, four times slower than the limit"),
        pytest.param(math.nan, 2.2, 3.0, 0.05 * 10 ** math.log2(1.1), id="without p50, just beyond the limit"),
        pytest.param(1.0, 1.5, math.nan, 0.0, id="without p99, below the limit"),
        pytest.param(4.0, 4.0, 4.0, 0.5, id="all requests alike"),
        pytest.param(1.0, 2.0, 2.0, 0.05, id="no tail beyond the limit"),
        pytest.param(1.0, math.nan, 4.0, math.nan, id="nothing without p95"),
    ],
)
def test_missing_and_equal_quantiles(p50: float, p95: float, p99: float, share: float) -> None:
    found = late_share(2.0, np.array([p50]), np.array([p95]), np.array([p99]))
    assert found == pytest.approx([share], nan_ok=True)
