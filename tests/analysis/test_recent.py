"""What stands for now is the median of the last points that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from foreshock_dashboard.analysis.baseline.point import recent_median


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(0, 4), st.integers(1, 9)),
        elements=st.one_of(st.floats(-1e6, 1e6), st.just(math.nan)),
    ),
    st.integers(1, 6),
)
def test_it_is_the_median_of_the_last_points_that_are_known(values: np.ndarray, points: int) -> None:
    at = values.shape[1] - 1
    window = values[:, max(0, at - points + 1) : at + 1]
    wanted = [float(np.median(row[np.isfinite(row)])) if np.isfinite(row).any() else math.nan for row in window]
    assert recent_median(values, at, points).tolist() == pytest.approx(wanted, nan_ok=True)
