"""Load of the next week is forecast from the weeks before, with intervals that hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.capacity.weeks import weeks

from foreshock_dashboard.analysis.capacity.forecast import capacity_forecast
from foreshock_dashboard.analysis.capacity.quantiles import load_quantiles
from foreshock_dashboard.analysis.capacity.seasonal import DAY_POINTS, HOUR_POINTS, WEEK_POINTS
from foreshock_dashboard.analysis.capacity.supply import Supply
from foreshock_dashboard.analysis.capacity.what_if import what_if
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import FORECAST_STEP_SECONDS, LoadKind, ShortageBasis, Subject
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

CHAT = Service("serving", "chat")
WHO = Subject(CHAT, "")
START = 1_767_571_200.0 // 604_800 * 604_800


def gap(values: Floats) -> Floats:
    """Without eight hours two days before the end."""
    out = values.copy()
    out[-3 * DAY_POINTS : -3 * DAY_POINTS + 48] = np.nan
    return out


@pytest.mark.parametrize(
    ("past", "days", "share"),
    [
        pytest.param(weeks(2), weeks(3, noise=0)[-WEEK_POINTS:], 0.6, id="a daily shape"),
        pytest.param(gap(weeks(2)), weeks(3, noise=0)[-WEEK_POINTS:], 0.6, id="hours without data"),
        pytest.param(
            weeks(3, weekend=0.3), weeks(4, weekend=0.3, noise=0)[-WEEK_POINTS:], 0.9, id="low weekends, by the week"
        ),
        pytest.param(
            weeks(3, growth_per_week=1.3), weeks(4, growth_per_week=1.3, noise=0)[-WEEK_POINTS:], 0.9, id="growth"
        ),
        pytest.param(
            weeks(3, growth_per_week=1.15, weekend=0.5),
            weeks(4, growth_per_week=1.15, weekend=0.5, noise=0)[-WEEK_POINTS:],
            0.6,
            id="growth with low weekends",
        ),
        pytest.param(
            weeks(2, launch_at=11, launch=2),
            weeks(3, launch_at=11, launch=2, noise=0)[2 * WEEK_POINTS : 2 * WEEK_POINTS + DAY_POINTS],
            0.9,
            id="a launch three days ago, for the next day",
        ),
    ],
)
def test_the_median_is_closer_than_the_last_week(past: Floats, days: Floats, share: float) -> None:
    """`share`: highest mean relative error of the median over that of a repeated week."""
    median, repeated = load_quantiles(past[None]).p50[0, : len(days)], past[-WEEK_POINTS:][: len(days)]
    error, naive = (np.nanmean(np.abs(values / days - 1)) for values in (median, repeated))
    assert error < share * naive


@pytest.mark.parametrize("growth_per_day", [1.0, 1.05, 1.1, 1.2])
@pytest.mark.parametrize("seed", range(4))
def test_growth_from_day_to_day_is_in_the_forecast_of_the_next_day(growth_per_day: float, seed: int) -> None:
    """After six days. The load of the day before is lower by the growth."""
    load = weeks(1, seed=seed, growth_per_week=growth_per_day**7)
    median = load_quantiles(load[None, : 6 * DAY_POINTS]).p50[0, :DAY_POINTS]
    error = float(np.mean(np.log(median / weeks(1, noise=0, growth_per_week=growth_per_day**7)[6 * DAY_POINTS :])))
    assert abs(error) < 0.05


@pytest.mark.parametrize(("hours", "other_hours"), [(168.0, 672.0), (49.0, 71.0 + 5 / 6), (73.0, 95.0)])
def test_time_before_the_first_value_changes_no_forecast(hours: float, other_hours: float) -> None:
    """Whatever the history of other services is."""
    load, other = (weeks(4, growth_per_week=3.0)[-round(of * HOUR_POINTS) :] for of in (hours, other_hours))
    early = np.concatenate([np.full(len(other) - len(load), np.nan), load])
    key, other_key = (WHO, LoadKind.TOKENS), (WHO, LoadKind.REQUESTS)
    (alone,) = capacity_forecast(START, {key: load}, {}).loads
    found = capacity_forecast(START, {key: early, other_key: other}, {})
    (late,) = (forecast for forecast in found.loads if forecast.kind is LoadKind.TOKENS)
    for name in ("p10", "p50", "p90"):
        np.testing.assert_allclose(getattr(late, name), getattr(alone, name))


@pytest.mark.parametrize(("safe_error", "earlier"), [(0.0, False), (0.2, True)])
def test_an_uncertain_limit_widens_the_interval_of_a_shortage(safe_error: float, earlier: bool) -> None:
    """The time of the median stays."""
    (certain,), (short,) = (forecast_of(GROWING, 168.0, error=error).shortages for error in (0.0, safe_error))
    assert short.at == certain.at
    assert (short.earliest < certain.earliest) is earlier
    assert short.latest >= certain.latest


def test_intervals_hold_four_of_five_values_at_every_horizon() -> None:
    """Of 30 services whose level wanders from day to day."""
    generator = np.random.default_rng(1)
    walks = np.exp(np.cumsum(generator.normal(0, 0.004, (30, 3 * WEEK_POINTS)), axis=1))
    load = np.stack([weeks(3, seed=seed) for seed in range(30)]) * walks
    low, _, high = load_quantiles(load[:, : 2 * WEEK_POINTS])
    actual = load[:, 2 * WEEK_POINTS :]
    inside = (actual >= low) & (actual <= high)
    for first, last in ((0, 6), (6, 36), (36, 144), (144, 1008)):
        assert 0.65 <= inside[:, first:last].mean() <= 0.95


def test_a_day_suffices_and_less_gives_nothing() -> None:
    """What is unknown is NaN."""
    assert np.isfinite(load_quantiles(weeks(1)[None, -DAY_POINTS:]).p50).all()
    assert np.isnan(load_quantiles(weeks(1)[None, 1 - DAY_POINTS :]).p50).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(DAY_POINTS, 4 * DAY_POINTS), st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 4))
def test_quantiles_are_ordered_and_not_negative(length: int, seed: int, missing: float, spread: float) -> None:
    """Of loads of any spread, with any share of hours missing or idle."""
    generator = np.random.default_rng(seed)
    past = np.exp(generator.normal(0, spread, length)) * (generator.random(length) > missing / 2)
    past[generator.random(length) < missing] = np.nan
    low, median, high = load_quantiles(past[None])
    known = np.isfinite(median)
    assert ((low >= 0) & (low <= median) & (median <= high))[known].all()


def forecast_of(load: Floats, safe: float, **supply: float) -> CapacityForecast:
    """The forecast of a service with four ready replicas that carry 0.8 of `safe` / 0.8."""
    of = Supply(
        Subject(CHAT, "h100"),
        {LoadKind.TOKENS: safe / 0.8},
        {LoadKind.TOKENS: 0.8},
        **{"replicas": 4.0, "ready": 4.0, "room": 1.0, "provisioning_seconds": 300.0, **supply},
    )
    return capacity_forecast(START, {(WHO, LoadKind.TOKENS): load}, {WHO: of})


GROWING = weeks(2, growth_per_week=1.1)
"""Peaks of 150, 165, and, in the week to come, at least 175."""


@cache
def forecast_of_growing(safe: float, replicas: float = 4.0) -> CapacityForecast:
    """The same forecast for all tests that differ in the limit alone."""
    return forecast_of(GROWING, safe, replicas=replicas)


def test_the_first_peak_above_the_safe_limit_is_a_shortage() -> None:
    """It says when, how sure, and what to add."""
    (found,) = forecast_of_growing(160.0).shortages
    assert found.subject == Subject(CHAT, "h100")
    assert abs(found.at - START - 8.7 * 3600) < 3600  # 100 · 1.1² · (1 - cos(2πt) / 2) = 160
    assert found.basis is ShortageBasis.FORECAST
    assert found.earliest <= found.at <= found.latest
    assert found.replicas == math.ceil(4 * found.peak / 160.0) - 4 > 0
    assert (found.room, found.ready) == (1.0, 4.0)


@pytest.mark.parametrize(
    ("days_before", "basis"),
    [
        pytest.param((1,), ShortageBasis.RECENT, id="one burst"),
        pytest.param((5,), ShortageBasis.RECENT, id="one burst days ago"),
        pytest.param((1, 3), ShortageBasis.RECENT, id="bursts on two days"),
        pytest.param((9,), None, id="a burst of the week before"),
    ],
)
@pytest.mark.parametrize("hour", [0, 10])
def test_load_above_the_limit_in_the_last_week_is_a_shortage_without_an_interval(
    days_before: tuple[int, ...], basis: ShortageBasis | None, hour: int
) -> None:
    """Also where it lies on the border of two days."""
    load = weeks(2, noise=0.02)
    for days in days_before:
        first = len(load) - days * DAY_POINTS + 6 * hour - 3
        load[first : first + 6] = 300.0
    found = forecast_of(load, safe=250.0).shortages
    assert [item.basis for item in found] == ([basis] if basis else [])
    for item in found:
        assert math.isnan(item.earliest)
        assert math.isnan(item.latest)
        assert item.act_by == item.at - item.provisioning_seconds


def test_bursts_before_the_first_whole_day_of_a_short_history_count() -> None:
    """Of 42 hours, in the first 15: the next ones are expected at the time of the first, 42 hours later."""
    load = weeks(1, noise=0.02)[-252:]
    load[0:6] = load[84:90] = 300.0
    (found,) = forecast_of(load, safe=250.0).shortages
    assert (found.basis, found.at) == (ShortageBasis.RECENT, START + 36 * 600.0)


@pytest.mark.parametrize(
    ("safe", "number"),
    [
        pytest.param(220.0, 0, id="enough"),
        pytest.param(160.0, 1, id="too little"),
        pytest.param(math.nan, 0, id="unknown"),
    ],
)
def test_shortages_need_a_known_limit(safe: float, number: int) -> None:
    """None is claimed without one."""
    assert len(forecast_of_growing(safe).shortages) == number


def test_an_autoscaler_that_may_add_replicas_prevents_what_it_can() -> None:
    """Replicas that the autoscaler adds by itself are not missing; those beyond its maximum are."""
    (found,) = forecast_of_growing(160.0, 6.0).shortages
    assert found.replicas == math.ceil(6 * found.peak / 160.0) - 4


@pytest.mark.parametrize(
    ("change", "shortages"),
    [
        pytest.param(lambda known: what_if(known), 0, id="as it is"),
        pytest.param(lambda known: what_if(known, traffic=1.5), 1, id="more traffic"),
        pytest.param(lambda known: what_if(known, replicas_lost={Subject(CHAT, "h100"): 2}), 1, id="a lost host"),
        pytest.param(lambda known: what_if(known, replicas_lost={Subject(CHAT, "a10"): 2}), 0, id="a host of others"),
    ],
)
def test_what_if(change: Callable[[CapacityForecast], CapacityForecast], shortages: int) -> None:
    """The page asks what more traffic or fewer replicas would do."""
    assert len(change(forecast_of_growing(220.0)).shortages) == shortages


def test_a_lost_replica_is_missing_besides_those_for_the_peak() -> None:
    """Replicas to add count from those that are left."""
    known = forecast_of_growing(160.0)
    (before,), (after,) = known.shortages, what_if(known, replicas_lost={Subject(CHAT, "h100"): 1}).shortages
    assert (after.replicas, after.ready) == (before.replicas + 1, 3.0)


def test_a_full_kv_cache_is_no_shortage_and_rises_with_lost_replicas() -> None:
    """Its usage is a mean over the ready replicas, and at most 1."""
    of = Supply(Subject(CHAT, "h100"), {}, {}, replicas=8.0, ready=2.0)
    known = capacity_forecast(START, {(WHO, LoadKind.KV_CACHE): weeks(2) / 160}, {WHO: of})
    lost = what_if(known, replicas_lost={Subject(CHAT, "h100"): 1})
    assert (known.shortages, lost.shortages) == ((), ())
    (load,), (higher,) = known.loads, lost.loads
    assert load.p90.max() <= 1
    np.testing.assert_allclose(higher.p50, np.minimum(2 * load.p50, 1))


@pytest.mark.parametrize(
    ("services", "missing"),
    [pytest.param(1, None, id="one service fits"), pytest.param(3, 5, id="three peak together")],
)
def test_services_of_a_pool_may_not_need_more_gpus_together_than_are_free(services: int, missing: int | None) -> None:
    """Each alone has room: two replicas of one GPU are ready, three more are needed at the peak, and four are free."""
    pool = Subject(None, "h100")
    load, quota = weeks(2, noise=0.02), np.full(2 * WEEK_POINTS, 6.0)
    who = [Subject(Service("serving", f"chat-{row}"), "") for row in range(services)]
    history = {(subject, LoadKind.TOKENS): load for subject in who} | {(pool, LoadKind.GPU_QUOTA): quota}
    supply = {
        subject: Supply(
            Subject(subject.service, "h100"),
            {LoadKind.TOKENS: 240.0},
            {LoadKind.TOKENS: 0.8},
            replicas=6.0,
            ready=2.0,
            room=4.0,
            gpus_per_replica=1.0,
        )
        for subject in who
    }
    supply[pool] = Supply(pool, {LoadKind.GPU_QUOTA: 10.0}, {LoadKind.GPU_QUOTA: 1.0}, ready=10.0, room=4.0)
    found = capacity_forecast(START, history, supply).shortages
    assert [(item.subject, item.replicas) for item in found] == ([(pool, missing)] if missing else [])
    for item in found:
        assert abs((item.at - START) / 3600 - 7) < 2
        assert item.earliest <= item.at <= item.latest


@pytest.mark.parametrize(("silent_hours", "number"), [(1, 1), (3, 0), (48, 0)])
def test_a_service_without_recent_load_has_no_forecast(silent_hours: int, number: int) -> None:
    """It is gone."""
    load = weeks(2)
    load[-6 * silent_hours :] = np.nan
    assert len(forecast_of(load, safe=160.0).loads) == number


def test_less_than_a_day_of_history_is_reported_with_its_length() -> None:
    """And there is no forecast."""
    load = np.full(WEEK_POINTS, np.nan)
    load[-60:] = 5.0
    forecast = capacity_forecast(START, {(WHO, LoadKind.REQUESTS): load}, {})
    assert (forecast.history_hours, forecast.is_known, forecast.loads) == (10.0, False, ())
    assert LoadKind.TOKENS in forecast.missing
    assert LoadKind.REQUESTS not in forecast.missing


def test_the_forecast_begins_where_the_history_ends() -> None:
    """On one grid."""
    (load,) = forecast_of_growing(160.0).loads
    assert load.history_times[-1] + FORECAST_STEP_SECONDS == load.times[0] == START
    np.testing.assert_allclose(load.history, GROWING[-WEEK_POINTS:])
