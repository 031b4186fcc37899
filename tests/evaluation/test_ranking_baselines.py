"""Baseline rankings of root causes, and the handling of ties."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from foreshock_dashboard.model.service import Service
from foreshock_evaluation.ranking_baselines import RANKERS, cpi2, max_z, page_rank, traversal
from foreshock_evaluation.scores.ranking import hit_probability

if TYPE_CHECKING:
    from tests.evaluation.conftest import Stage

A, B, C, D = (Service("", name) for name in "abcd")


def step(at: int, low: float, high: float) -> Callable[[int], float]:
    """A step from `low` to `high` at grid index `at`."""
    return lambda i: high if i >= at else low


@pytest.mark.parametrize(
    ("scores", "right", "k", "chance"),
    [
        ({A: 3.0, B: 2.0, C: 1.0}, {A}, 1, 1.0),
        ({A: 3.0, B: 2.0, C: 1.0}, {B}, 1, 0.0),
        ({A: 3.0, B: 2.0, C: 1.0}, {C}, 3, 1.0),
        ({A: 1.0, B: 1.0}, {A}, 1, 0.5),
        ({A: 1.0, B: 1.0, C: 1.0, D: 1.0}, {A}, 3, 0.75),
        ({A: 1.0, B: 1.0, C: 1.0, D: 1.0}, {A, B}, 1, 0.5),
        ({A: 1.0, B: 1.0, C: 1.0, D: 1.0}, {A, B}, 2, 1 - (2 / 4) * (1 / 3)),
        ({A: 2.0, B: 1.0, C: 1.0}, {C}, 2, 0.5),
        ({A: 0.0}, {A}, 1, 0.0),
        ({A: np.inf, B: np.inf}, {B}, 1, 0.5),
        ({}, {A}, 3, 0.0),
    ],
)
def test_ties_are_broken_at_random(scores: dict[Service, float], right: set[Service], k: int, chance: float) -> None:
    """Services without a score do not count."""
    assert hit_probability(scores, frozenset(right), k) == pytest.approx(chance)


def test_the_score_of_a_service_is_its_largest_z(stage: type[Stage]) -> None:
    """Of batch work by GPU time, of the model by p95."""
    world = stage.world(p95={stage.model: step(380, 0.5, 1.0)}, busy={stage.batch: step(380, 0.2, 0.8)})

    scores = max_z(world, 399, stage.model)

    assert max(scores, key=lambda service: scores[service]) == stage.model
    assert scores[stage.batch] == pytest.approx((0.8 - 0.2) / 0.03)
    assert scores[stage.other] == 0.0


def test_a_traversal_ends_at_the_last_anomalous_callee(stage: type[Stage]) -> None:
    """From the entry through the gateway to the model, which explains the slow gateway."""
    slow = {service: step(380, 0.5, 2.0) for service in (stage.entry, stage.gateway, stage.model)}
    world = stage.world(p95=slow)

    assert set(traversal(world, 399, stage.entry)) == {stage.model}
    only_gateway = stage.world(p95={service: slow[service] for service in (stage.entry, stage.gateway)})
    assert set(traversal(only_gateway, 399, stage.entry)) == {stage.gateway}


def test_the_random_walk_ends_at_the_anomaly(stage: type[Stage]) -> None:
    """Downstream of the affected service; unreachable services score 0."""
    world = stage.world(p95={stage.model: step(380, 0.5, 4.0)})

    scores = page_rank(world, 399, stage.entry)

    assert max(scores, key=lambda service: scores[service]) == stage.model
    assert scores[stage.other] == 0.0
    assert sum(scores.values()) == pytest.approx(1.0)


def test_a_neighbor_is_suspected_when_its_usage_correlates_with_the_victims_latency(stage: type[Stage]) -> None:
    """Two bursts in ten minutes; a neighbor that is busy at other times is not suspected."""
    bursts = [*range(345, 360), *range(375, 390)]
    slow = {stage.model: lambda i: 5.0 if i in bursts else 0.5}
    in_phase = stage.world(p95=slow, busy={stage.batch: lambda i: 0.9 if i in bursts else 0.0})
    out_of_phase = stage.world(p95=slow, busy={stage.batch: lambda i: 0.0 if i in bursts else 0.9})

    assert cpi2(in_phase, 399, stage.model)[stage.batch] == pytest.approx(0.9)
    assert cpi2(out_of_phase, 399, stage.model) == {}
    assert cpi2(in_phase, 399, Service("", "unknown")) == {}


@pytest.mark.parametrize("name", RANKERS)
def test_no_ranking_fails_on_a_world_without_data(name: str, stage: type[Stage]) -> None:
    """Nor at its first point, nor for an unknown service."""
    blind = {
        service: lambda _: np.nan for service in (stage.entry, stage.gateway, stage.model, stage.batch, stage.other)
    }
    world = stage.world(points=3, p95=blind, rate=blind, failed=blind, busy=blind)

    for at, victim in ((0, stage.model), (2, stage.model), (2, Service("", "unknown"))):
        assert all(np.isfinite(score) for score in RANKERS[name](world, at, victim).values())
