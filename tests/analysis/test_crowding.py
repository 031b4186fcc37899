"""Model servers count as crowded when more is asked of them than they carry, or soon will be; a burst is neither."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.saturation.overload import is_overloaded, is_overloading, will_overload
from foreshock_dashboard.model.batching_law import Utilization
from foreshock_dashboard.model.service import Service

Scenes = Any
GROWS = (0.73, 0.71, 0.58)


def strain(loads: tuple[float, float, float], usual: float = 0.5, peak: float = 0.7, full: float = 0.0) -> Utilization:
    """Of loads over 20, 120 and 300 seconds."""
    return Utilization(1.0, 0.0, 0.5, full, 35.0, loads[0], loads, usual, peak)


@pytest.mark.parametrize(
    ("found", "crowded"),
    [
        pytest.param(strain((0.88, 0.60, 0.55)), True, id="a moment of far too much"),
        pytest.param(strain((0.75, 0.77, 0.60)), True, id="two minutes of too much"),
        pytest.param(strain((0.70, 0.72, 0.73)), True, id="five minutes of somewhat too much"),
        pytest.param(strain((0.20, 0.55, 2.00)), False, id="what has gone minutes ago"),
        pytest.param(strain((0.80, 0.72, 0.60)), False, id="what bursts take"),
        pytest.param(strain((0.90, 0.90, 0.90), usual=0.85, peak=0.95), False, id="always hot"),
        pytest.param(strain((1.40, 0.60, 0.30), usual=0.2, peak=0.8), False, id="always in bursts"),
        pytest.param(strain((0.99, 0.93, 0.60), usual=0.2, peak=0.8), True, id="a burst that does not go"),
        pytest.param(strain((0.83, 0.70, 0.60), full=30.0), True, id="no room for a while"),
        pytest.param(strain((0.60, 0.60, 0.60), full=30.0), False, id="no room for a few long requests"),
        pytest.param(strain((math.nan, math.nan, math.nan)), False, id="nobody knows"),
    ],
)
def test_the_longer_the_mean_the_less_it_may_be(found: Utilization, crowded: bool) -> None:
    assert is_overloaded(found) == crowded


@pytest.mark.parametrize(
    ("found", "soon"),
    [
        pytest.param(strain(GROWS), True, id="grows"),
        pytest.param(strain((0.71, 0.69, 0.66)), False, id="a crowd that stays as it is"),
        pytest.param(strain((0.60, 0.72, 0.75)), False, id="a crowd that leaves"),
        pytest.param(strain(GROWS, usual=0.65), False, id="hardly more than usual"),
        pytest.param(strain(GROWS, peak=0.9), False, id="its busiest minutes are more"),
        pytest.param(strain((0.1, 0.86, 0.43), usual=0.2, peak=0.8), False, id="always in bursts"),
        pytest.param(strain((math.nan, math.nan, math.nan)), False, id="nobody knows"),
    ],
)
def test_growing_load_is_told_before_its_means_are_there(found: Utilization, soon: bool) -> None:
    assert will_overload(found) == soon


@pytest.mark.parametrize(("slowdown", "soon"), [(1.0, False), (1.3, True), (math.nan, False)])
def test_growth_needs_a_reason_to_go_on(scenes: Scenes, slowdown: float, soon: bool) -> None:
    """A burst, which has none, goes as it came."""
    world = scenes.world(scenes.calm)
    at = len(world.times) - 1
    for service in (world.services[0], Service("other", "without servers")):
        told = {world.services[0]: replace(strain(GROWS), slowdown=slowdown)}
        point = EvaluationPoint(world, at, baselines_at(world, at), utilizations=told)
        assert is_overloading(point, service) == (soon and service in told)
