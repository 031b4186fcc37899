"""Model servers are overloaded when their load exceeds the safe limits, or soon will; a burst is no overload."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.saturation.safe_limits import (
    SAFE_LIMITS,
    SHOWN_LIMIT,
    is_overloaded,
    is_overloading,
    safe_limit,
    safe_limit_basis,
    will_overload,
)
from foreshock_dashboard.model.forecast import Utilization
from foreshock_dashboard.model.service import Service

Scenes = Any
GROWS = (0.73, 0.71, 0.58)


def utilization(
    loads: tuple[float, float, float], baseline: float = 0.5, peak: float = 0.7, full: float = 0.0
) -> Utilization:
    """Utilization with mean loads over 20, 120, and 300 seconds."""
    return Utilization(1.0, 0.0, 0.5, full, 35.0, loads[0], loads, baseline, peak)


@pytest.mark.parametrize(
    ("given", "overloaded"),
    [
        pytest.param(utilization((0.88, 0.60, 0.55)), True, id="far above the limit for a moment"),
        pytest.param(utilization((0.75, 0.77, 0.60)), True, id="above the limit for two minutes"),
        pytest.param(utilization((0.70, 0.72, 0.73)), True, id="slightly above the limit for five minutes"),
        pytest.param(utilization((0.20, 0.55, 2.00)), False, id="over since minutes"),
        pytest.param(utilization((0.80, 0.72, 0.60)), False, id="headroom for bursts"),
        pytest.param(utilization((0.90, 0.90, 0.90), baseline=0.85, peak=0.95), False, id="always high"),
        pytest.param(utilization((1.40, 0.60, 0.30), baseline=0.2, peak=0.8), False, id="always bursty"),
        pytest.param(utilization((0.99, 0.93, 0.60), baseline=0.2, peak=0.8), True, id="a burst that lasts"),
        pytest.param(utilization((0.83, 0.70, 0.60), full=30.0), True, id="full KV caches for a while"),
        pytest.param(utilization((0.60, 0.60, 0.60), full=30.0), False, id="full KV caches of a few long requests"),
        pytest.param(utilization((math.nan, math.nan, math.nan)), False, id="unknown"),
    ],
)
def test_an_overload_exceeds_the_limit_of_any_mean(given: Utilization, overloaded: bool) -> None:
    assert is_overloaded(given) == overloaded


@pytest.mark.parametrize(
    ("baseline", "peak", "limit", "basis"),
    [
        (0.4, 0.6, 0.76, "capacity"),
        (0.4, 0.8, 0.8, "peak"),
        (0.25, 0.7, 0.912, "bursts"),
        (0.3, 0.95, 0.95, "peak"),
        (0.4, math.nan, math.nan, "peak"),
    ],
)
def test_a_safe_limit_says_what_it_rests_on(baseline: float, peak: float, limit: float, basis: str) -> None:
    """It differs between services, and moves while a healthy load changes."""
    assert safe_limit(utilization((0.5, 0.5, 0.5), baseline, peak)) == pytest.approx(limit, nan_ok=True)
    assert safe_limit_basis(baseline, peak) == basis


@pytest.mark.parametrize(
    ("given", "soon"),
    [
        pytest.param(utilization(GROWS), True, id="grows"),
        pytest.param(utilization((0.71, 0.69, 0.66)), False, id="constant load"),
        pytest.param(utilization((0.60, 0.72, 0.75)), False, id="decreasing load"),
        pytest.param(utilization(GROWS, baseline=0.65), False, id="hardly above the baseline"),
        pytest.param(utilization(GROWS, peak=0.9), False, id="below its peak"),
        pytest.param(utilization((0.1, 0.86, 0.43), baseline=0.2, peak=0.8), False, id="always bursty"),
        pytest.param(utilization((math.nan, math.nan, math.nan)), False, id="unknown"),
    ],
)
def test_growing_load_is_an_overload_before_its_means(given: Utilization, soon: bool) -> None:
    assert will_overload(given) == soon


@pytest.mark.parametrize(("slowdown", "soon"), [(1.0, False), (1.3, True), (math.nan, False)])
def test_growth_needs_a_lasting_reason(scenes: Scenes, slowdown: float, soon: bool) -> None:
    """A burst has none, and ends by itself."""
    world = scenes.world(scenes.calm)
    at = len(world.times) - 1
    for service in (world.services[0], Service("other", "without servers")):
        utilizations = {world.services[0]: replace(utilization(GROWS), slowdown=slowdown)}
        point = EvaluationPoint(world, at, baselines_at(world, at), utilizations=utilizations)
        assert is_overloading(point, service) == (soon and service in utilizations)


@given(st.floats(0.05, 1.2), st.floats(1, 6))
def test_a_healthy_service_stays_below_its_safe_limit(baseline: float, burstiness: float) -> None:
    """Its load in the busiest minute of a hundred is at most the limit."""
    normal = utilization((baseline,) * 3, baseline, baseline * burstiness)
    assert baseline <= normal.peak <= safe_limit(normal)
    assert safe_limit(normal) >= SAFE_LIMITS[SHOWN_LIMIT]
    assert not is_overloaded(normal)


def test_the_safe_limit_does_not_depend_on_the_present_load() -> None:
    loads = ((0.4, 0.4, 0.4), (14.0, 9.0, 3.0))
    assert len({safe_limit(utilization(load)) for load in loads}) == 1
    assert math.isnan(safe_limit(utilization(loads[0], math.nan, math.nan)))
