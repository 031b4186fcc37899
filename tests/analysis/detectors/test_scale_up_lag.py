"""Missing replicas, their delays and quotas, and the load distribution of replicas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.detectors.platform import LLM, POOLS, Changes, point, since, texts
from tests.analysis.detectors.test_detectors import WAITS

from foreshock_dashboard.analysis.baseline.scale_up import DEFAULT_DELAY_SECONDS, scale_up_delays
from foreshock_dashboard.analysis.detectors.load_imbalance import slowest_replica, unevenness, weighted_means
from foreshock_dashboard.analysis.detectors.scale_up_lag import change_points, replica_lag, scale_up_lag


@pytest.mark.parametrize(
    ("wanted", "ready", "expected"),
    [
        ([2, 3, 3, 3, 3], [2, 2, 2, 3, 3], [20]),
        ([2, 4, 4, 4, 4, 4], [2, 2, 3, 3, 4, 4], [10, 30]),
        ([2, 3, 3, 2, 2], [2, 2, 2, 2, 2], []),
        ([2, 3, 3, 3], [2, 2, 2, 2], []),
        ([3, 3, 3], [2, 2, 3], []),
        ([2, math.nan, 3, 3, 3], [2, math.nan, 2, math.nan, 3], [20]),
        ([], [], []),
    ],
)
def test_scale_up_delays_last_from_request_to_readiness(
    wanted: list[float], ready: list[float], expected: list[float]
) -> None:
    assert scale_up_delays(np.array(wanted, float), np.array(ready, float), 10.0).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=60))
def test_scale_up_delays_are_positive(rows: list[tuple[int, int]]) -> None:
    pairs = np.array(rows, float).reshape(-1, 2)
    delays = scale_up_delays(pairs[:, 0], pairs[:, 1], 10.0)
    assert ((delays > 0) & (delays < 10 * max(1, len(rows)))).all()


def test_measured_delays_replace_the_default() -> None:
    wanted = {("wanted", LLM): lambda i: 2 if i < 100 or 200 <= i < 290 else 3}
    measured = point({**wanted, ("ready", LLM): lambda i: 3 if 124 <= i < 200 else 2})
    unmeasured = point({**wanted, ("ready", LLM): 2})
    first, second = replica_lag(measured, 0), replica_lag(unmeasured, 0)
    assert first is not None
    assert second is not None
    assert (first.delay, second.delay) == (240.0, DEFAULT_DELAY_SECONDS)
    assert first.missing == 1
    assert first.since == measured.world.times[290]


def test_a_service_with_all_replicas_has_no_lag() -> None:
    assert replica_lag(point(), 0) is None


def test_an_autoscaler_at_its_limit_is_reported() -> None:
    lag = replica_lag(point({("wanted", LLM): since(290, 2, 6), ("ready", LLM): since(290, 2, 6)}), 0)
    assert lag is not None
    assert lag.at_limit
    assert lag.missing == 0


@pytest.mark.parametrize(
    ("used", "pool"),
    [
        ({("used", POOLS[0]): since(290, 2, 4), ("used", POOLS[1]): 4}, POOLS[0]),
        ({("used", POOLS[1]): 4}, ""),
        ({}, ""),
    ],
    ids=["its own pool is used up", "another pool always was", "no pool is"],
)
def test_the_blocking_pool_changed_with_the_replicas(used: dict[tuple[str, str], object], pool: str) -> None:
    missing = {("wanted", LLM): since(290, 2, 5), ("pending", LLM): since(290, 0, 3), ("ready", LLM): since(290, 2, 4)}
    lag = replica_lag(point({**missing, **used}), 0)  # type: ignore[dict-item] # shapes
    assert lag is not None
    assert lag.pool == pool


def test_admitted_replicas_need_no_more_quota() -> None:
    """Their GPUs count as used quota; of four missing replicas it blocks one."""
    missing: Changes = {("wanted", LLM): since(280, 2, 6), ("pending", LLM): since(280, 0, 4), ("quota", POOLS[0]): 5}
    one_blocked, none_blocked = ({**missing, ("used", POOLS[0]): since(280, before, 5)} for before in (2, 1))
    (finding_,) = [finding for finding in scale_up_lag(point({**one_blocked, **WAITS})) if finding.service == LLM]
    assert finding_.suspect.pool == POOLS[0]
    assert f"Raise the quota of GPU pool {POOLS[0]} for 1 replica of {LLM}." in texts(finding_.actions)
    lag = replica_lag(point(none_blocked), 0)
    assert lag is not None
    assert lag.pool == ""


def test_a_lost_scrape_does_not_restart_a_lag() -> None:
    gap: Changes = {
        ("wanted", LLM): lambda i: math.nan if i == 290 else 2 if i < 280 else 4,
        ("ready", LLM): lambda i: math.nan if i == 290 else 2,
    }
    lag = replica_lag(point(gap), 0)
    assert lag is not None
    assert lag.since == point().world.times[280]


def test_a_lag_begins_with_the_first_known_value() -> None:
    late: Changes = {
        ("wanted", LLM): lambda i: math.nan if i < 270 else 4,
        ("ready", LLM): lambda i: math.nan if i < 270 else 2,
    }
    lag = replica_lag(point(late), 0)
    assert lag is not None
    assert lag.since == point().world.times[270]


@pytest.mark.parametrize(
    ("step", "age", "is_current"),
    [(10.0, 5, True), (10.0, 6, False), (60.0, 0, True), (60.0, 1, False), (2.0, 29, True), (2.0, 30, False)],
)
def test_replicas_are_current_for_a_minute_at_any_grid_step(step: float, age: int, is_current: bool) -> None:
    """`age` is in grid points."""
    counts = {"wanted": 4, "ready": 2, "pending": 2}
    stale: Changes = {(name, LLM): since(300 - age, count, math.nan) for name, count in counts.items()}
    assert (replica_lag(point(stale, step=step), 0) is not None) == is_current


@pytest.mark.parametrize(
    ("step", "later", "pool"),
    [(10.0, 6, POOLS[0]), (10.0, 7, ""), (60.0, 1, POOLS[0]), (60.0, 2, ""), (2.0, 30, POOLS[0]), (2.0, 31, "")],
)
def test_a_quota_moves_with_replicas_within_a_minute_at_any_grid_step(step: float, later: int, pool: str) -> None:
    """`later` is in grid points."""
    missing: Changes = {
        ("wanted", LLM): since(250, 2, 5),
        ("pending", LLM): since(250, 0, 3),
        ("used", POOLS[0]): since(250 + later, 2, 4),
    }
    lag = replica_lag(point(missing, step=step), 0)
    assert lag is not None
    assert lag.pool == pool


def test_change_points_ignore_missing_values() -> None:
    assert change_points(np.array([1, 1, math.nan, 1, math.nan, 2, 2, 1])).tolist() == [5, 7]


@pytest.mark.parametrize(
    ("load", "least", "most"),
    [([10, 10], 0, 0), ([60, 2], 0.6, 1), ([3, 1], 0, 0), ([9, 0, 0], 0.9, 2), ([1000, 1100], 0, 0.05)],
)
def test_load_is_uneven_beyond_chance(load: list[float], least: float, most: float) -> None:
    assert least <= unevenness(np.array(load, float)) <= most


@pytest.mark.parametrize("load", [[], [0.0, 0.0]])
def test_unevenness_without_load_is_unknown(load: list[float]) -> None:
    assert math.isnan(unevenness(np.array(load)))


@given(st.integers(2, 8), st.integers(2, 300))
def test_random_load_is_rarely_uneven(replicas: int, load: int) -> None:
    drawn = np.random.default_rng(replicas * 1000 + load).multinomial(load, [1 / replicas] * replicas, size=50)
    assert np.median([unevenness(row.astype(float)) for row in drawn]) < 0.6


def test_the_slowest_replica_is_compared_with_the_others() -> None:
    assert slowest_replica(np.array([4.0, 4.0, 12.0])) == (3.0, 2)
    assert slowest_replica(np.array([4.0]))[1] == -1


def test_means_are_weighted_by_requests() -> None:
    assert weighted_means(np.array([[1.0, 5.0, np.nan]]), np.array([[3.0, 1.0, 9.0]])) == pytest.approx([2.0])
