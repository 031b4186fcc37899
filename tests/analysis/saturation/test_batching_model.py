"""The batching law separates slowdown by load from slowdown by other causes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from foreshock_dashboard.analysis.saturation.batching_model import fit_batching_laws, utilizations
from foreshock_dashboard.analysis.saturation.safe_limits import is_overloaded
from foreshock_dashboard.model.forecast import Utilization
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import ModelServers, Replica

Scenes = Any
LLM = Service("serving", "llm")
BASE, PER_SEQUENCE, MAX_SEQUENCES = 0.014, 0.0007, 35.0
POINTS = 300
AT = POINTS - 1


def serving_world(
    scenes: Scenes, sequences: Callable[[int], float], slower: Callable[[int], float], step_seconds: float
) -> World:
    """Two replicas of a service, with sequences per replica and slowdown of tokens by grid point."""
    n = np.array([sequences(i) for i in range(POINTS)])
    token = (BASE + PER_SEQUENCE * n) * np.array([slower(i) for i in range(POINTS)])
    none = np.full((1, POINTS), np.nan)
    servers = ModelServers(
        (LLM,), 2 * n[None], none * 0, np.minimum(n / MAX_SEQUENCES, 1.0)[None], none, none, none, none, token[None],
        none, none,
        (Replica(LLM, "a"), Replica(LLM, "b")), np.stack([n, n]), np.stack([n, n]), np.stack([n, n]),
    )  # fmt: skip
    world: World = scenes.world(scenes.calm)
    return replace(
        world,
        model_servers=servers,
        step=step_seconds,
        times=world.times[0] + step_seconds * np.arange(POINTS, dtype=np.float64),
    )


def utilization(world: World) -> Utilization:
    return utilizations(world, AT, fit_batching_laws(world, AT))[LLM]


def normal(i: int) -> float:
    """Between 6 and 18 sequences, over some minutes."""
    return 12 + 6 * math.sin(i / 7)


def step(value: float, before: Callable[[int], float], at: int = POINTS - 12) -> Callable[[int], float]:
    """One value from grid index `at` on, and `before` until then."""
    return lambda i: value if i >= at else before(i)


def test_time_per_token_is_learned_as_a_line_over_the_sequences(scenes: Scenes) -> None:
    law = fit_batching_laws(serving_world(scenes, normal, lambda _: 1.0, 10.0), AT)[LLM]
    assert law.base == pytest.approx(BASE, rel=0.05)
    assert law.per_sequence == pytest.approx(PER_SEQUENCE, rel=0.1)


def test_load_is_no_slowdown_and_a_neighbor_no_load(scenes: Scenes) -> None:
    busy = utilization(serving_world(scenes, step(30.0, normal), lambda _: 1.0, 10.0))
    pressed = utilization(serving_world(scenes, step(12.0, normal), step(1.6, lambda _: 1.0), 10.0))
    assert busy.slowdown == pytest.approx(1.0, abs=0.05)
    assert pressed.slowdown == pytest.approx(1.6, rel=0.05)
    assert busy.load > 0.9 > 0.7 > pressed.load
    assert is_overloaded(busy)
    assert not is_overloaded(pressed)


@pytest.mark.parametrize("minutes", [1, 3, 5, 20])
def test_the_time_with_a_full_kv_cache_is_counted(scenes: Scenes, minutes: int) -> None:
    """Up to five minutes, the longest window."""
    utilization_ = utilization(serving_world(scenes, step(36.0, normal, POINTS - 6 * minutes), lambda _: 1.0, 10.0))
    assert utilization_.full == min(60.0 * minutes, 300.0)


def test_a_constantly_high_load_is_no_overload(scenes: Scenes) -> None:
    assert not is_overloaded(utilization(serving_world(scenes, lambda i: 30 + math.sin(i / 7), lambda _: 1.0, 10.0)))


@pytest.mark.parametrize("step_seconds", [60.0, 300.0])
def test_a_mean_over_less_than_a_step_is_the_newest_point(scenes: Scenes, step_seconds: float) -> None:
    """Not the mean of all points."""
    utilization_ = utilization(serving_world(scenes, step(34.0, normal, POINTS - 1), lambda _: 1.0, step_seconds))
    assert utilization_.loads[0] > 0.95


def test_hourly_points_are_too_few_for_a_law(scenes: Scenes) -> None:
    utilization_ = utilization(serving_world(scenes, normal, lambda _: 1.0, 3600.0))
    assert math.isnan(utilization_.load)
    assert not is_overloaded(utilization_)


def test_too_few_points_have_no_law(scenes: Scenes) -> None:
    world = serving_world(scenes, lambda i: 12.0 if i > POINTS - 10 else math.nan, lambda _: 1.0, 10.0)
    utilization_ = utilization(world)
    assert fit_batching_laws(world, AT) == {}
    assert math.isnan(utilization_.slowdown)
    assert not is_overloaded(utilization_)
