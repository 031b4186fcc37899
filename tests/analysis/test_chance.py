"""A p95 between two kinds of requests leaps by chance, which is nothing to tell of; more long requests are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.analysis.conftest import CALLER, STEP, VICTIM, Scene, world_of_scene

from foreshock_dashboard.analysis.decision import State, fold
from foreshock_dashboard.analysis.levels import usual_at
from foreshock_dashboard.analysis.objectives import Objective
from foreshock_dashboard.analysis.quantile import least, quantiles
from foreshock_dashboard.analysis.risk import own_risks
from foreshock_dashboard.analysis.scan import Scan
from foreshock_dashboard.model.query import Floats
from foreshock_dashboard.model.world import World

BOUNDS = np.array([0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, np.inf])
CHANGES = 240
"""Grid point from which on another share of the requests takes long."""


def answered(slow: Floats, per_step: float, seed: int, points: int = 300) -> tuple[Floats, Floats]:
    """p95 and what it is hardly below, over a minute each, where a share of the requests is answered from no cache."""
    chance = np.random.default_rng(seed)
    counts = np.zeros((1, len(BOUNDS), points))
    for at in range(points):
        long = chance.random(chance.poisson(per_step)) < slow[at]
        took = np.where(long, 0.15, 0.006) * chance.lognormal(0.0, 0.2, len(long))
        counts[0, :, at] = (took[:, None] <= BOUNDS).sum(axis=0)
    minute = round(60 / STEP)
    summed = np.cumsum(np.pad(counts, ((0, 0), (0, 0), (minute, 0))), axis=2)
    p95, low = quantiles(BOUNDS, summed[:, :, minute:] - summed[:, :, :-minute], (0.95, least(0.95)))
    return p95[0], low[0]


def world(later: float, seed: int, *, known: bool = True) -> World:
    """A service and its caller; both answer a twentieth slowly, and from `CHANGES` on another share."""
    made = world_of_scene(Scene())
    slow = np.where(np.arange(len(made.times)) < CHANGES, 0.04, later)
    p95, low = answered(slow, 40.0, seed)
    rows = [made.services.index(who) for who in (VICTIM, CALLER)]
    durations, lowest = made.red.p95.copy(), made.red.p95.copy()
    durations[rows], lowest[rows] = (p95, p95 * 1.3), (low, low * 1.3)
    red = replace(made.red, p50=durations / 3, p95=durations, p99=durations, least=lowest if known else None)
    return replace(made, red=red)


@pytest.mark.parametrize("seed", range(6))
def test_requests_answered_slowly_by_chance_are_no_incident(seed: int) -> None:
    assert fold(State(), world(0.045, seed)).incidents == ()


@pytest.mark.parametrize("seed", range(3))
def test_many_more_that_are_answered_slowly_page(seed: int) -> None:
    assert [each.paged is not None for each in fold(State(), world(0.3, seed)).incidents] == [True]


def test_where_nobody_counts_requests_a_p95_is_taken_at_its_word() -> None:
    found = [fold(State(), world(0.045, seed, known=False)).incidents for seed in range(6)]
    assert any(found)


@pytest.mark.parametrize(
    ("low", "z", "missing"),
    [(0.4, 0.0, False), (0.5, 0.0, False), (0.52, 7.0, True), (np.nan, 7.0, True)],
    ids=["below what is usual", "as usual", "above", "not told"],
)
def test_a_p95_is_no_worse_than_usual_where_that_may_be_chance(low: float, z: float, missing: bool) -> None:
    made = world_of_scene(Scene(victim_p95=lambda i: 1.0 if i >= 290 else 0.5))
    row = made.services.index(VICTIM)
    lowest = made.red.p95.astype("float16")  # as a World that grows holds it
    lowest[row, 290:] = low
    now = Scan(replace(made, red=replace(made.red, least=lowest)), 299, usual_at(made, 299))
    assert now.z("p95", VICTIM) == pytest.approx(z, abs=0.1)
    assert own_risks(now, {VICTIM: Objective(0.8, 0.01)})[VICTIM].missing == missing
