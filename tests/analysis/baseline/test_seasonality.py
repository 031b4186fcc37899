"""Seasonal growth is distinguished from growth that happened once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.analysis.baseline.seasonality import (
    DAY_LAGS_DAYS,
    LEVEL_BINS,
    MAX_GROWTH_RATIO,
    NEIGHBOR_BINS,
    WEEK_LAGS_DAYS,
    RatesByService,
    bin_starts,
    seasonality,
)
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world_sections import BIN_SECONDS, UNKNOWN_SEASONALITY, Seasonality

CHAT, CODE = Service("serving", "chat"), Service("serving", "code")
NINE = 1_767_603_600.0 // BIN_SECONDS * BIN_SECONDS
BINS = 4
TIMES: Floats = np.array([NINE + BIN_SECONDS * number for number in range(BINS)])


def rates_of(*now: float, before: float = 10.0) -> Floats:
    """Two hours at a level, then the rate in each bin, and a last bin like the one before it."""
    return np.array([before] * LEVEL_BINS + [*now] + [now[-1]] * NEIGHBOR_BINS)


CALM = rates_of(10, 10, 10, 10)
MORNING = rates_of(10, 16, 16, 16)
NOTHING = np.full(LEVEL_BINS + BINS + NEIGHBOR_BINS, np.nan)


def weeks(*past_rates: Floats) -> Mapping[int, RatesByService]:
    """Request rates of chat one, two, … weeks ago."""
    return {ago: {CHAT: rates} for ago, rates in zip(WEEK_LAGS_DAYS, past_rates, strict=False)}


def days(*past_rates: Floats) -> Mapping[int, RatesByService]:
    """The same of days."""
    return {ago: {CHAT: rates} for ago, rates in zip(DAY_LAGS_DAYS, past_rates, strict=False)}


@pytest.mark.parametrize(
    ("case", "pasts", "growth"),
    [
        ("every Monday", weeks(MORNING, MORNING), 1.6),
        ("one Monday of two, which may have been an accident", weeks(MORNING, CALM), 1.0),
        ("one Monday of one", weeks(MORNING), 1.0),
        ("three Mondays of four", weeks(MORNING, CALM, MORNING, MORNING), 1.6),
        ("two Mondays, one of them without samples", weeks(MORNING, NOTHING), 1.0),
        ("every day, as there are no two weeks", days(MORNING, MORNING, MORNING), 1.6),
        ("two days only", days(MORNING, MORNING), 1.0),
        ("every day but a holiday", days(MORNING, CALM, MORNING, MORNING, MORNING), 1.6),
        ("every day but not on Mondays", {**days(*[MORNING] * 6), **weeks(CALM, CALM)}, 1.0),
        ("a quarter of an hour later than today", weeks(*[rates_of(10, 10, 16, 16)] * 2), 1.6),
        ("half an hour later than today", weeks(*[rates_of(10, 10, 10, 16)] * 2), 1.0),
        ("less every Monday", weeks(*[rates_of(10, 5, 5, 5)] * 2), 1.0),
        ("more than is believed", weeks(*[rates_of(10, 900, 900, 900)] * 2), MAX_GROWTH_RATIO),
        ("from nothing", weeks(*[rates_of(10, 16, 16, 16, before=0.0)] * 2), 1.0),
        ("nothing is known", {}, 1.0),
    ],
    ids=str,
)
def test_growth_of_enough_earlier_days_or_weeks_is_seasonal(
    case: str, pasts: Mapping[int, RatesByService], growth: float
) -> None:
    assert seasonality(TIMES, pasts).of(CHAT, NINE + BIN_SECONDS).growth == pytest.approx(growth, rel=0.01), case


def test_growth_is_over_the_two_hours_before() -> None:
    """Load that has lasted for more than an hour is in the baseline already, in earlier weeks as today."""
    long = np.array([10.0] * 3 + [16.0] * (LEVEL_BINS - 3 + BINS + NEIGHBOR_BINS))
    assert seasonality(TIMES, weeks(long, long)).of(CHAT, NINE).growth == 1.0


def test_too_little_history_before_a_bin_gives_no_growth() -> None:
    short = np.where(np.arange(len(MORNING)) < 4, np.nan, MORNING)
    assert np.isnan(seasonality(TIMES, weeks(short, short)).growth[0, 0])
    assert seasonality(TIMES, weeks(short, short)).of(CHAT, NINE + BIN_SECONDS).growth == pytest.approx(1.6, rel=0.01)


@pytest.mark.parametrize(
    ("time", "growth"), [(NINE - 1.0, 1.0), (NINE + BIN_SECONDS, 1.6), (NINE + BINS * BIN_SECONDS, 1.0), (0.0, 1.0)]
)
def test_outside_the_bins_nothing_is_seasonal(time: float, growth: float) -> None:
    season = seasonality(TIMES, weeks(MORNING, MORNING))
    assert season.of(CHAT, time).growth == pytest.approx(growth, rel=0.01)
    assert season.of(CODE, time).growth == 1.0
    assert UNKNOWN_SEASONALITY.of(CHAT, time).growth == 1.0


def test_growth_has_its_start_and_lasts_a_bin_longer() -> None:
    """A baseline ends minutes before now, so it lags behind the season."""
    rows = {CHAT: 0}
    season = Seasonality(rows, TIMES, np.array([[1.0, 1.6, 1.5, 1.0]]))
    assert [season.of(CHAT, float(time) + 1.0) for time in TIMES] == [
        (1.0, NINE + 1.0), (1.6, NINE + BIN_SECONDS), (1.6, NINE + BIN_SECONDS), (1.5, NINE + BIN_SECONDS)
    ]  # fmt: skip


@pytest.mark.parametrize("rate", [1 / 300, 1 / 100, 0.02, 0.1, 1.0])
def test_random_counts_are_not_seasonal(rate: float) -> None:
    """Services with 3 or 900 requests per bin, at a constant rate."""
    chance = np.random.default_rng(7)
    flat = chance.poisson(rate * BIN_SECONDS, (4, 200, len(MORNING))) / BIN_SECONDS
    pasts = {
        ago: {Service("", str(row)): week[row] for row in range(200)}
        for ago, week in zip(WEEK_LAGS_DAYS, flat, strict=True)
    }
    growth = seasonality(TIMES, pasts).growth
    assert np.nanmean(growth > 1.0) < 0.25
    assert np.nanmean(growth) < 1.08


def test_bins_are_aligned_to_the_epoch() -> None:
    """So two hubs started an hour apart agree."""
    assert bin_starts(NINE + 1.0, NINE + BIN_SECONDS).tolist() == [NINE, NINE + BIN_SECONDS]
    assert bin_starts(NINE, NINE).tolist() == [NINE]


RATE = st.just(0.0) | st.floats(1e-6, 1e6) | st.just(float("nan"))
RATES = st.lists(RATE, min_size=len(MORNING), max_size=len(MORNING)).map(np.array)


@given(st.lists(RATES, min_size=2, max_size=4))
def test_growth_is_independent_of_other_services_and_bounded(rates: list[Floats]) -> None:
    season = seasonality(TIMES, weeks(*rates))
    both = seasonality(TIMES, {ago: {CHAT: past[CHAT], CODE: MORNING} for ago, past in weeks(*rates).items()})
    np.testing.assert_array_equal(both.growth[both.rows[CHAT]], season.growth[0])
    assert np.nanmin(season.growth, initial=1.0) >= 1.0
    assert np.nanmax(season.growth, initial=1.0) <= MAX_GROWTH_RATIO
