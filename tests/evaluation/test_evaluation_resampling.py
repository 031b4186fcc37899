"""Macro averages and bootstrap intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foreshock_evaluation.scores.resampling import Bootstrap, Sample

PAIRS = [(scenario, seed) for scenario in ("a", "b") for seed in range(1, 6)]


def test_each_scenario_has_equal_weight() -> None:
    """Regardless of its number of runs."""
    samples = [Sample("a", 1, 1.0), Sample("a", 1, 1.0), Sample("a", 2, 1.0), Sample("b", 1, 0.0)]

    assert Bootstrap(PAIRS).mean(samples).value == pytest.approx(0.5)
    assert Bootstrap(PAIRS).mean(samples).runs == 4


@pytest.mark.parametrize(("q", "value"), [(0.25, 1.0), (0.5, 2.0), (0.51, 3.0), (1.0, 4.0)])
def test_a_quantile_is_one_of_the_values(q: float, value: float) -> None:
    """So the median of zeros and minutes is not half of them."""
    samples = [Sample("a", seed, float(seed)) for seed in (1, 2, 3, 4)]

    assert Bootstrap(PAIRS).quantile(samples, q).value == value


def test_a_rate_is_the_ratio_of_sums() -> None:
    """One page in two days and none in four: 1/6 per day."""
    days = [Sample("a", 1, 2.0), Sample("b", 1, 4.0)]
    pages = [Sample("a", 1, 1.0), Sample("b", 1, 0.0)]

    assert Bootstrap(PAIRS).ratio(pages, days).value == pytest.approx(1 / 6)


def test_an_interval_equals_the_normal_approximation() -> None:
    """For the mean of 100 coin flips in each of two scenarios."""
    draws = Bootstrap([(name, seed) for name in ("a", "b") for seed in range(100)])
    samples = [Sample(name, seed, float(seed % 2)) for name in ("a", "b") for seed in range(100)]

    estimate = draws.mean(samples)

    half = 1.96 * 0.5 / math.sqrt(200)
    assert [estimate.low, estimate.high] == pytest.approx([0.5 - half, 0.5 + half], abs=0.015)


def test_there_is_no_interval_if_every_scenario_has_one_seed() -> None:
    """Draws of one seed do not differ; an interval of width zero would claim certainty."""
    draws = Bootstrap([("a", 1), ("b", 2)])
    samples = [Sample("a", 1, 1.0), Sample("b", 2, 0.0)]

    estimates = (draws.mean(samples), draws.quantile(samples, 0.5), draws.ratio(samples, samples))

    assert [estimate.value for estimate in estimates] == [0.5, 0.0, 1.0]
    assert all(math.isnan(estimate.low) and math.isnan(estimate.high) for estimate in estimates)


def test_runs_of_one_seed_are_drawn_together() -> None:
    """Two equal values of each seed do not narrow the interval."""
    draws = Bootstrap(PAIRS)
    once = [Sample("a", seed, float(seed)) for seed in range(1, 6)]

    assert draws.mean(once * 2)[:3] == pytest.approx(draws.mean(once)[:3])


def test_the_same_evaluation_gives_the_same_interval() -> None:
    """The draws are fixed and shared, so differences are paired."""
    one = [Sample("a", seed, float(seed)) for seed in range(1, 6)]
    other = [sample._replace(value=sample.value + 10) for sample in one]

    first, second = Bootstrap(PAIRS), Bootstrap(PAIRS)

    assert first.mean(one) == second.mean(one)
    assert np.subtract(first.mean(other)[:3], first.mean(one)[:3]) == pytest.approx([10, 10, 10])


def test_without_samples_an_estimate_is_nan() -> None:
    """Unknown is not 0."""
    draws = Bootstrap(PAIRS)

    assert math.isnan(draws.mean([]).value)
    assert math.isnan(draws.quantile([], 0.5).value)
    assert math.isnan(draws.ratio([], []).value)
    assert draws.mean([]).runs == 0
    assert math.isnan(Bootstrap([]).mean([]).value)
