"""Baseline detectors: their levels and alarms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_evaluation.baselines import (
    DETECTORS,
    Detector,
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
def test_an_alarm_fires_each_time_a_level_begins_to_persist(
    level: list[float], persist: int, begins: list[int], stage: type[Stage]
) -> None:
    """For a number of consecutive points; a point without data interrupts it."""
    levels = Levels((frozenset({stage.model}),), np.array([level]))

    assert when(stage.world(points=len(level)), levels, 1.0, persist) == begins


def test_an_alarm_of_a_gpu_names_the_services_on_it(stage: type[Stage]) -> None:
    world = stage.world(used={stage.gpus[1]: step(100, 0.4, 1.0)})

    pages = alarms(world, static_gpu(world, {}), 1.0)

    assert [page.services for page in pages] == [frozenset({stage.batch, stage.model})]


def test_the_error_budget_burns_when_all_requests_fail(stage: type[Stage]) -> None:
    """A budget of 1% burns at 100x; 14.4x over an hour takes 14.4% of the hour: 52 of 360 points."""
    world = stage.world(points=500, failed={stage.model: step(400, 0.0, 1.0)})

    # 6x over the 67 min there are instead of six hours takes 6% of them: 26 points, enough for the half hour as well.
    assert when(world, burn_rate(world, stage.slos), 1.0) == [400 + 25]


def test_slow_requests_burn_the_budget_of_the_slo(stage: type[Stage]) -> None:
    """99% slow requests burn a budget of 5% at 19.8x; 6x over everything, with 400 points before, takes 174."""
    slow = stage.world(points=700, p95={stage.model: step(400, 0.5, 60.0)})

    levels = burn_rate(slow, stage.slos)

    assert not (levels.values[:, :400] > 0).any()
    assert when(slow, levels, 1.0) == [400 + 173]


def test_no_request_burns_no_budget(stage: type[Stage]) -> None:
    """Services without an SLO have no row."""
    world = stage.world(points=50, rate={stage.model: lambda _: np.nan}, failed={stage.model: lambda _: np.nan})

    assert (burn_rate(world, stage.slos).values == 0).all()
    assert burn_rate(world, {}).values.shape == (0, 50)


@pytest.mark.parametrize(
    ("limit", "share"),
    [(0.25, 0.5), (0.5, 0.05), (1.0, 0.0), (2.0, 0.0), (np.sqrt(0.125), 0.275), (0.125, 0.95), (0.01, 0.99)],
)
def test_the_share_of_slow_requests_is_interpolated_between_quantiles(
    limit: float, share: float, stage: type[Stage]
) -> None:
    """p50 0.25 s, p95 0.5 s, p99 1 s; symmetric below the median."""
    world = stage.world(points=1)
    rows = [world.services.index(stage.model)]

    assert slower_than(world, rows, np.array([limit]))[0, 0] == pytest.approx(share)


@pytest.mark.parametrize(("utilization", "points"), [(0.92, 60), (0.85, None), (0.96, 60)])
def test_static_rules_wait_for_utilization_to_stay_high(
    utilization: float, points: int | None, stage: type[Stage]
) -> None:
    """Above 90% for ten minutes; the rule of 95% for half an hour comes later."""
    world = stage.world(used={gpu: step(200, 0.4, utilization) for gpu in stage.gpus})

    assert when(world, static_gpu(world, {}), 1.0) == ([] if points is None else [200 + points - 1] * 2)


def test_memory_above_90_percent_alarms_at_once(stage: type[Stage]) -> None:
    world = stage.world(points=10, memory_used=np.full((2, 10), 73e9))

    assert when(world, static_gpu(world, {}), 1.0) == [0, 0]


def test_utilization_is_extrapolated_by_half_an_hour(stage: type[Stage]) -> None:
    """At 0.2% per point, 64% becomes 100% in half an hour; a constant stays."""
    world = stage.world(used={stage.gpus[0]: lambda i: min(1.0, 0.3 + 0.002 * max(0, i - 100))})

    levels = linear_prediction(world, {})

    assert levels.values[0, 300] == pytest.approx(0.3 + 0.002 * (200 + 180))
    assert levels.values[1, 300] == pytest.approx(0.4)
    assert len(when(world, levels, 1.0, 3)) == 1


def test_the_ewma_alarms_at_a_jump_and_needs_history(stage: type[Stage]) -> None:
    """Noise of 10% stays below four deviations, a jump to 4x does not; the first half hour has no value."""
    noise = np.random.default_rng(1).normal(0.0, 0.1, 400)
    world = stage.world(p95={stage.model: lambda i: float(np.exp(noise[i]) * (2.0 if i >= 300 else 0.5))})

    levels = ewma(world, {})

    assert np.isnan(levels.values[:, :90]).all()
    assert when(world, levels, 4.0, 3) == [302]
    assert levels.services[world.services.index(stage.model)] == frozenset({stage.model})


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_no_detector_alarms_without_data(detector: Detector, stage: type[Stage]) -> None:
    """At its default threshold, which is one of its thresholds."""
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
    assert detector.default in detector.thresholds
    assert alarms(blind, detector.levels(blind, stage.slos), detector.default, detector.persist) == ()


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_no_detector_uses_later_points(detector: Detector, stage: type[Stage]) -> None:
    """Levels up to a time are the same if the recording ends there."""
    random = np.random.default_rng(2)
    draws = random.uniform(0.1, 1.0, (4, 400))

    def levels(points: int) -> Floats:
        world = stage.world(
            points=points,
            p95={stage.model: lambda i: float(draws[0, i])},
            failed={stage.gateway: lambda i: float(draws[1, i]) / 10},
            used={stage.gpus[0]: lambda i: float(draws[2, i])},
        )
        return detector.levels(world, stage.slos).values

    np.testing.assert_allclose(levels(400)[:, :250], levels(250), rtol=1e-6)


def test_rolling_functions_equal_plain_loops() -> None:
    """Sums, minima, and lines over seven points, some of them missing."""
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
            present = np.flatnonzero(~np.isnan(window))
            assert sums[row, at] == pytest.approx(np.nansum(window))
            if at >= 6 and len(present) > 3:
                assert minima[row, at] == np.nanmin(window)
            if len(present) >= 4:
                line = np.polyfit(present, window[present], 1)
                assert lines[row, at] == pytest.approx(np.polyval(line, len(window) - 1 + 5))
