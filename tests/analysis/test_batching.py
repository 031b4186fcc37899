"""A model server that is slow because it is full is told apart from one that somebody else slows down."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from foreshock_dashboard.analysis.saturation.batching_model import fit_batching_laws, utilizations
from foreshock_dashboard.analysis.saturation.overload import is_overloaded
from foreshock_dashboard.model.batching_law import Utilization
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import ModelServers, Replica

Scenes = Any
LLM = Service("serving", "llm")
BASE, EACH, ROOM = 0.014, 0.0007, 35.0
POINTS = 300
AT = POINTS - 1


def served(scenes: Scenes, sequences: Callable[[int], float], slower: Callable[[int], float], step: float) -> World:
    """Two replicas of a service, with so many sequences on each at a grid point, and tokens so many times as slow."""
    n = np.array([sequences(i) for i in range(POINTS)])
    token = (BASE + EACH * n) * np.array([slower(i) for i in range(POINTS)])
    none = np.full((1, POINTS), np.nan)
    told = ModelServers(
        (LLM,), 2 * n[None], none * 0, np.minimum(n / ROOM, 1.0)[None], none, none, none, none, token[None], none, none,
        (Replica(LLM, "a"), Replica(LLM, "b")), np.stack([n, n]), np.stack([n, n]), np.stack([n, n]),
    )  # fmt: skip
    world: World = scenes.world(scenes.calm)
    return replace(
        world, model_servers=told, step=step, times=world.times[0] + step * np.arange(POINTS, dtype=np.float64)
    )


def now(world: World) -> Utilization:
    return utilizations(world, AT, fit_batching_laws(world, AT))[LLM]


def usual(i: int) -> float:
    """Between 6 and 18 sequences, over some minutes."""
    return 12 + 6 * math.sin(i / 7)


def later(value: float, before: Callable[[int], float], at: int = POINTS - 12) -> Callable[[int], float]:
    """As before, and one value from grid index `at` on."""
    return lambda i: value if i >= at else before(i)


def test_time_per_token_is_learned_as_a_line_over_the_sequences(scenes: Scenes) -> None:
    law = fit_batching_laws(served(scenes, usual, lambda _: 1.0, 10.0), AT)[LLM]
    assert law.base == pytest.approx(BASE, rel=0.05)
    assert law.per_sequence == pytest.approx(EACH, rel=0.1)


def test_more_load_is_no_slowdown_and_a_neighbor_is_no_load(scenes: Scenes) -> None:
    busy = now(served(scenes, later(30.0, usual), lambda _: 1.0, 10.0))
    pressed = now(served(scenes, later(12.0, usual), later(1.6, lambda _: 1.0), 10.0))
    assert busy.slowdown == pytest.approx(1.0, abs=0.05)
    assert pressed.slowdown == pytest.approx(1.6, rel=0.05)
    assert busy.load > 0.9 > 0.7 > pressed.load
    assert is_overloaded(busy)
    assert not is_overloaded(pressed)


@pytest.mark.parametrize("minutes", [1, 3, 5, 20])
def test_it_is_told_for_how_long_there_has_been_no_room(scenes: Scenes, minutes: int) -> None:
    """However long: as far back as is looked, five minutes."""
    found = now(served(scenes, later(36.0, usual, POINTS - 6 * minutes), lambda _: 1.0, 10.0))
    assert found.full == min(60.0 * minutes, 300.0)


def test_who_always_runs_hot_is_not_crowded_by_that(scenes: Scenes) -> None:
    assert not is_overloaded(now(served(scenes, lambda i: 30 + math.sin(i / 7), lambda _: 1.0, 10.0)))


@pytest.mark.parametrize("step", [60.0, 300.0])
def test_a_mean_over_less_than_a_step_is_the_newest_point(scenes: Scenes, step: float) -> None:
    """Not of all of them, of which most are from before."""
    found = now(served(scenes, later(34.0, usual, POINTS - 1), lambda _: 1.0, step))
    assert found.loads[0] > 0.95


def test_hours_between_points_are_too_few_to_learn_from(scenes: Scenes) -> None:
    found = now(served(scenes, usual, lambda _: 1.0, 3600.0))
    assert math.isnan(found.load)
    assert not is_overloaded(found)


def test_a_service_that_told_too_little_has_no_law(scenes: Scenes) -> None:
    world = served(scenes, lambda i: 12.0 if i > POINTS - 10 else math.nan, lambda _: 1.0, 10.0)
    found = now(world)
    assert fit_batching_laws(world, AT) == {}
    assert math.isnan(found.slowdown)
    assert not is_overloaded(found)
