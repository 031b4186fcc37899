"""Arrivals of users: their mean rate, their bursts, and the compressed day."""

from __future__ import annotations

from statistics import mean, pvariance

import pytest

from foreshock_lab.load.shape import DAY_SECONDS, DAY_SWING, Arrivals, day_factor


def counts(arrivals: Arrivals, rate: float, seconds: int) -> list[int]:
    return [len([*arrivals.until(rate)]) for _ in range(seconds)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_arrivals_come_at_the_mean_rate(seed: int) -> None:
    assert mean(counts(Arrivals(seed), 5.0, 3600)) == pytest.approx(5.0, rel=0.15)


def test_arrivals_are_as_bursty_as_the_recorded_ones() -> None:
    """A Poisson process has an index of dispersion of 1."""
    numbers = counts(Arrivals(3), 5.0, 3600)
    assert pvariance(numbers) / mean(numbers) > 1.3


def test_a_higher_rate_takes_effect_at_once() -> None:
    arrivals = Arrivals(0)
    before, after = counts(arrivals, 5.0, 600), counts(arrivals, 15.0, 600)
    assert mean(after) > 2 * mean(before)


def test_seeds_start_at_different_places_of_the_trace() -> None:
    assert counts(Arrivals(0), 5.0, 60) != counts(Arrivals(1), 5.0, 60)


def test_a_day_swings_around_its_mean() -> None:
    day = [day_factor(second) for second in range(int(DAY_SECONDS))]
    assert mean(day) == pytest.approx(1.0)
    assert max(day) == pytest.approx(1 + DAY_SWING, abs=1e-3)
