"""Simpler detectors: what each alarms at, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_evaluation.baselines import (
    DETECTORS,
    Levels,
    alarms,
    burn_rate,
    ewma,
    linear_prediction,
    rolling_min,
    rolling_prediction,
    rolling_sum,
    slower_than,
    static_gpu,
)

if TYPE_CHECKING:
    from tests.evaluation.conftest import Stage


def step(at: int, low: float, high: float) -> Callable[[int], float]:
    """A step from `low` to `high` at grid index `at`."""
    return lambda i: high if i >= at else low


def when(world: World, levels: Levels, threshold: float, persist: int = 1) -> list[int]:
    """Grid indices of the alarms."""
    return [round((page.time - world.times[0]) / world.step) for page in alarms(world, levels, threshold, persist)]


@pytest.mark.parametrize(
    ("level", "persist", "begins"),
    [
        ([0, 1, 1, 1, 0, 1], 1, [1, 5]),
        ([0, 1, 1, 1, 0, 1], 3, [3]),
        ([1, 1, 0, 1, 1, 1, 1], 3, [5]),
        ([1, 1, 1], 3, [2]),
        ([1, 1, np.nan, 1, 1, 1], 2, [1, 4]),
        ([0, 0, 0], 1, []),
    ],
)
def test_an_alarm_is_each_time_that_a_level_begins_to_hold(
    level: list[float], persist: int, begins: list[int], stage: type[Stage]
) -> None:
    """For so many points in a row; a point without data holds nothing."""
    levels = Levels((frozenset({stage.model}),), np.array([level]))

    assert when(stage.world(points=len(level)), levels, 1.0, persist) == begins


def test_alarms_tell_of_the_services_of_their_row(stage: type[Stage]) -> None:
    """Of a GPU, those on it."""
    world = stage.world(used={stage.gpus[1]: step(100, 0.4, 1.0)})

    pages = alarms(world, static_gpu(world, {}), 1.0)

    assert [page.services for page in pages] == [frozenset({stage.batch, stage.model})]


def test_a_budget_burns_at_full_rate_when_all_requests_fail(stage: type[Stage]) -> None:
    """All of 99 % failed burns 100 times the rate; 14.4 times over an hour takes 14.4 % of it: 52 points after 360."""
    world = stage.world(points=500, failed={stage.model: step(400, 0.0, 1.0)})

    found = when(world, burn_rate(world, stage.objectives), 1.0)

    # 6× over six hours is over the 67 min there are: 6 % of them, so 26 points; the half hour then has enough as well.
    assert found == [400 + 25]


def test_slow_requests_burn_the_budget_of_the_objective(stage: type[Stage]) -> None:
    """99 % slower than a second burn 5 % at 19.8 times the rate: 6× of all there is, 400 points before, takes 174."""
    slow = stage.world(points=700, p95={stage.model: step(400, 0.5, 60.0)})

    levels = burn_rate(slow, stage.objectives)

    assert not (levels.values[:, :400] > 0).any()
    assert when(slow, levels, 1.0) == [400 + 173]


def test_no_request_burns_nothing(stage: type[Stage]) -> None:
    """Nor does what nobody has an objective for."""
    world = stage.world(points=50, rate={stage.model: lambda _: np.nan}, failed={stage.model: lambda _: np.nan})

    assert (burn_rate(world, stage.objectives).values == 0).all()
    assert burn_rate(world, {}).values.shape == (0, 50)


@pytest.mark.parametrize(
    ("limit", "share"),
    [(0.25, 0.5), (0.5, 0.05), (1.0, 0.0), (2.0, 0.0), (np.sqrt(0.125), 0.275), (0.125, 0.95), (0.01, 0.99)],
)
def test_the_share_of_slow_requests_lies_between_the_known_quantiles(
    limit: float, share: float, stage: type[Stage]
) -> None:
    """p50 0.25 s, p95 0.5 s, p99 1 s, and the mirror image below the median."""
    world = stage.world(points=1)
    rows = [world.services.index(stage.model)]

    assert slower_than(world, rows, np.array([limit]))[0, 0] == pytest.approx(share)


@pytest.mark.parametrize(("use", "points"), [(0.92, 60), (0.85, None), (0.96, 60)])
def test_static_rules_wait_for_utilization_to_stay_high(use: float, points: int | None, stage: type[Stage]) -> None:
    """90 % for ten minutes; 95 % for half an hour comes later."""
    world = stage.world(used={gpu: step(200, 0.4, use) for gpu in stage.gpus})

    found = when(world, static_gpu(world, {}), 1.0)

    assert found == ([] if points is None else [200 + points - 1] * 2)


def test_full_memory_alarms_at_once(stage: type[Stage]) -> None:
    """More than 90 % of it."""
    world = stage.world(points=10, memory_used=np.full((2, 10), 73e9))

    assert when(world, static_gpu(world, {}), 1.0) == [0, 0]


def test_a_line_through_utilization_is_carried_on_for_half_an_hour(stage: type[Stage]) -> None:
    """At 0.2 % a point it is full in half an hour at 64 %; a constant never is."""
    world = stage.world(used={stage.gpus[0]: lambda i: min(1.0, 0.3 + 0.002 * max(0, i - 100))})

    levels = linear_prediction(world, {})

    assert levels.values[0, 300] == pytest.approx(0.3 + 0.002 * (200 + 180))
    assert levels.values[1, 300] == pytest.approx(0.4)
    assert len(when(world, levels, 1.0, 3)) == 1


def test_an_ewma_tells_a_jump_from_noise_and_needs_history(stage: type[Stage]) -> None:
    """A tenth of noise; a jump to four times is beyond four deviations, and none before there was half an hour."""
    noise = np.random.default_rng(1).normal(0.0, 0.1, 400)
    world = stage.world(p95={stage.model: lambda i: float(np.exp(noise[i]) * (2.0 if i >= 300 else 0.5))})

    levels = ewma(world, {})

    assert np.isnan(levels.values[:, :90]).all()
    assert when(world, levels, 4.0, 3) == [302]
    assert levels.services[world.services.index(stage.model)] == frozenset({stage.model})


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda each: each.name)
def test_every_detector_says_nothing_of_nothing(detector: object, stage: type[Stage]) -> None:
    """No data, no services, no GPUs: no alarm at the threshold in use, and it has one."""
    nan = dict.fromkeys((stage.entry, stage.gateway, stage.model, stage.batch, stage.other), lambda _: np.nan)
    blind = stage.world(
        points=60,
        p95=nan,
        rate=nan,
        failed=nan,
        busy=nan,
        used=dict.fromkeys(stage.gpus, lambda _: np.nan),
        memory_used=np.full((2, 60), np.nan),
    )
    found = next(each for each in DETECTORS if each is detector)

    assert found.default in found.thresholds
    assert alarms(blind, found.levels(blind, stage.objectives), found.default, found.persist) == ()


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda each: each.name)
def test_no_detector_sees_the_future(detector: object, stage: type[Stage]) -> None:
    """What it says up to a time is the same if the recording ends there."""
    random = np.random.default_rng(2)
    draws = random.uniform(0.1, 1.0, (4, 400))
    found = next(each for each in DETECTORS if each is detector)

    def levels(points: int) -> Floats:
        world = stage.world(
            points=points,
            p95={stage.model: lambda i: float(draws[0, i])},
            failed={stage.gateway: lambda i: float(draws[1, i]) / 10},
            used={stage.gpus[0]: lambda i: float(draws[2, i])},
        )
        return found.levels(world, stage.objectives).values

    np.testing.assert_allclose(levels(400)[:, :250], levels(250), rtol=1e-6)


def test_rolling_figures_agree_with_plain_loops() -> None:
    """Sums, minima and lines over seven points, some of them missing."""
    random = np.random.default_rng(3)
    values = np.where(random.uniform(size=(3, 60)) < 0.2, np.nan, random.normal(size=(3, 60)))
    sums, minima, lines = (
        rolling_sum(values, 7),
        rolling_min(values, 7),
        rolling_prediction(values, 7, 5),
    )
    for row in range(3):
        for at in range(60):
            window = values[row, max(0, at - 6) : at + 1]
            known = np.flatnonzero(~np.isnan(window))
            assert sums[row, at] == pytest.approx(np.nansum(window))
            if at >= 6 and len(known) > 3:
                assert minima[row, at] == np.nanmin(window)
            if len(known) >= 4:
                line = np.polyfit(known, window[known], 1)
                assert lines[row, at] == pytest.approx(np.polyval(line, len(window) - 1 + 5))
