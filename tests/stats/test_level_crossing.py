"""A noisy or rising gauge crosses its limit sooner than a calm one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from foreshock_dashboard.stats.level_crossing import (
    HORIZON_SECONDS,
    NEAR_SECONDS,
    QUANTILES,
    Trend,
    fit_trend,
    forecast_crossing,
    normal_cdf,
)

STEP = 10.0
MEDIAN = QUANTILES.index(0.5)


def of(level: float, slope: float, spread: float) -> Trend:
    """One gauge."""
    return Trend(np.array([level]), np.array([slope]), np.array([spread]))


@pytest.mark.parametrize("z", [-6.0, -2.5, -1.0, 0.0, 0.3, 1.0, 4.0])
def test_the_normal_distribution_is_that_of_the_error_function(z: float) -> None:
    assert float(normal_cdf(np.array([z]))[0]) == pytest.approx(0.5 * math.erfc(-z / math.sqrt(2)), abs=1e-7)


def test_a_trend_without_noise_crosses_its_limit_when_the_line_does() -> None:
    """It rises by 0.001 per second to a limit 0.3 above: 300 seconds, plus the duration of an excursion."""
    found = forecast_crossing(of(0.0, 0.001, 0.001), 0.3, duration=STEP)
    assert found.seconds[0, MEDIAN] == pytest.approx(300, abs=2 * STEP)
    assert found.probability[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("calm", "urgent"),
    [
        (of(0.0, 0.0, 0.2), of(0.4, 0.0, 0.2)),
        (of(0.0, 0.0, 0.1), of(0.0, 0.0, 0.4)),
        (of(0.0, 0.0, 0.2), of(0.0, 0.002, 0.2)),
    ],
    ids=["a higher level", "more noise", "a rise"],
)
def test_a_gauge_closer_to_its_limit_is_more_likely_to_cross_it(calm: Trend, urgent: Trend) -> None:
    assert forecast_crossing(calm, 1.0, 60.0).probability[0] < forecast_crossing(urgent, 1.0, 60.0).probability[0]


def test_quantiles_of_the_time_are_ordered() -> None:
    found = forecast_crossing(of(0.0, 0.001, 0.3), 0.8, 60.0)
    assert list(found.seconds[0]) == sorted(found.seconds[0])


def test_noise_alone_has_no_slope() -> None:
    """Shrinking by the standard error removes it; a true rise remains."""
    noise = np.random.default_rng(3).normal(0.0, 0.2, (200, 90))
    rise = 0.001 * STEP * np.arange(90)
    assert np.mean(fit_trend(noise, STEP).slope == 0) > 0.6
    assert np.median(fit_trend(noise + rise, STEP).slope) == pytest.approx(0.001, rel=0.25)


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 3), st.integers(1, 40)),
        elements=st.one_of(st.floats(-20, 20), st.just(math.nan)),
    )
)
def test_the_forecast_is_defined_for_missing_values(values: np.ndarray) -> None:
    """With NaN, one sample, or constants, the probability is between 0 and 1 and times are not NaN."""
    found = forecast_crossing(fit_trend(values, STEP), 1.0, 60.0)
    assert ((found.probability >= 0) & (found.probability <= 1)).all()
    assert not np.isnan(found.seconds).any()
    unknown = np.isfinite(values).sum(axis=1) < 3
    assert (found.probability[unknown] == 0).all()


def test_beyond_the_horizon_there_is_no_time() -> None:
    found = forecast_crossing(of(0.0, 1e-4, 1e-3), 1.0, STEP)
    assert found.probability[0] == pytest.approx(0.0)
    assert np.isinf(found.seconds).all()
    assert HORIZON_SECONDS * 1e-4 < 1.0


@given(st.floats(-2, 2), st.floats(-0.01, 0.01), st.floats(0.01, 2), st.sampled_from([5.0, 10.0, 15.0, 60.0, 700.0]))
def test_the_excursions_of_a_near_crossing_agree_with_the_median_time(
    level: float, slope: float, spread: float, step: float
) -> None:
    found = forecast_crossing(of(level, slope, spread), 1.0, 60.0, step)
    assert (found.near_expected[0] >= math.log(2) - 1e-12) == (found.seconds[0, MEDIAN] <= NEAR_SECONDS)
    assert 0 <= found.near_expected[0] <= found.expected[0] + 1e-12
