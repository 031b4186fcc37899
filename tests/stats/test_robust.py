"""Medians and percentiles of rows with gaps equal NumPy's."""

from __future__ import annotations

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from foreshock_dashboard.stats.robust import median, median_deviation, percentile, sorted_finite

ROWS = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements=st.one_of(st.just(np.nan), st.floats(-1e6, 1e6)),
)


@given(ROWS, st.floats(0, 100))
def test_percentile_and_median_equal_numpys(
    values: np.ndarray[tuple[int, int], np.dtype[np.float64]], q: float
) -> None:
    """Linear between ranks; NaN for a row without values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy warns of rows that hold nothing
        expected = np.nanpercentile(values, q, axis=1)
        middle = np.nanmedian(values, axis=1)
    np.testing.assert_allclose(percentile(values, q), expected, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(median(values), middle, rtol=1e-12)


@given(ROWS, st.floats(-1e6, 1e6))
def test_the_median_deviation_equals_the_median_of_distances(
    values: np.ndarray[tuple[int, int], np.dtype[np.float64]], level: float
) -> None:
    """From any level, for rows with and without gaps, to the last bit."""
    levels = np.full(len(values), level)
    np.testing.assert_array_equal(median_deviation(*sorted_finite(values), levels), median(np.abs(values - level)))


def test_without_columns_results_are_nan() -> None:
    assert np.isnan(median_deviation(*sorted_finite(np.empty((2, 0))), np.zeros(2))).all()
    assert np.isnan(percentile(np.empty((2, 0)), 80.0)).all()
    assert np.isnan(median(np.empty((2, 0)))).all()
