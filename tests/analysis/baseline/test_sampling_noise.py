"""Sampling noise: a p95 between fast and slow requests jumps by chance; more slow requests are no noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from tests.analysis.conftest import CALLER, STEP, VICTIM, Scene, last_state, world_of_scene
from tests.conftest import soak

from foreshock_dashboard.analysis.baseline.levels import Baselines, baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.slos import Slo
from foreshock_dashboard.analysis.forecast.service_risk import service_risks
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Red, World
from foreshock_dashboard.stats.histogram_quantile import histogram_quantiles, quantile_lower_bound
from foreshock_dashboard.web.state.service_history import service_history

pytestmark = pytest.mark.slow

BOUNDS = np.array([0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, np.inf])
CHANGES = 240
"""Grid point from which on another share of the requests takes long."""


def answered(slow: Floats, takes: Floats, per_step: float, seed: int) -> tuple[Floats, Floats, Floats]:
    """p95, p99, and lower bound of the p95 over a minute, with a share of slow requests.

    takes: how long these take, in seconds.
    """
    points = len(slow)
    chance = np.random.default_rng(seed)
    counts = np.zeros((1, len(BOUNDS), points))
    for at in range(points):
        long = chance.random(chance.poisson(per_step)) < slow[at]
        took = np.where(long, takes[at], 0.006) * chance.lognormal(0.0, 0.2, len(long))
        counts[0, :, at] = (took[:, None] <= BOUNDS).sum(axis=0)
    minute = round(60 / STEP)
    summed = np.cumsum(np.pad(counts, ((0, 0), (0, 0), (minute, 0))), axis=2)
    p95, p99, low = histogram_quantiles(
        BOUNDS, summed[:, :, minute:] - summed[:, :, :-minute], (0.95, 0.99, quantile_lower_bound(0.95))
    )
    return p95[0], p99[0], low[0]


def world(later: float, seed: int, *, normal: float = 0.04, longer: float = 0.15, known: bool = True) -> World:
    """A service and its caller; both answer some of the requests slowly, from `CHANGES` on others, or more slowly."""
    made = world_of_scene(Scene())
    before = np.arange(len(made.times)) < CHANGES
    p95, p99, low = answered(np.where(before, normal, later), np.where(before, 0.15, longer), 40.0, seed)
    rows = [made.services.index(who) for who in (VICTIM, CALLER)]
    durations, tails, lowest = made.red.p95.copy(), made.red.p95.copy(), made.red.p95.copy()
    durations[rows], tails[rows], lowest[rows] = (p95, p95 * 1.3), (p99, p99 * 1.3), (low, low * 1.3)
    red = replace(made.red, p50=durations / 3, p95=durations, p99=tails, lower_bound=lowest if known else None)
    return replace(made, red=red)


@pytest.mark.parametrize("seed", [0, 1, *soak(2, 3, 4, 5)])
def test_sampling_noise_opens_no_incident(seed: int) -> None:
    assert last_state(world(0.045, seed)).incidents == ()


@pytest.mark.parametrize("seed", [0, *soak(1, 2)])
def test_many_more_slow_requests_page(seed: int) -> None:
    assert [values.paged is not None for values in last_state(world(0.3, seed)).incidents] == [True]


@pytest.mark.parametrize("seed", [0, *soak(1, 2)])
def test_slower_slow_requests_page(seed: int) -> None:
    """6% miss the cache as before, but the store behind it hangs."""
    assert any(values.paged for values in last_state(world(0.06, seed, normal=0.06, longer=5.0)).incidents)


def test_without_request_counts_no_excursion_is_noise() -> None:
    assert any(last_state(world(0.045, seed, known=False)).incidents for seed in range(6))


@pytest.mark.parametrize(
    ("low", "tail", "z", "missing"),
    [
        (0.4, 1.1, 0.0, False), (0.5, 1.1, 0.0, False), (0.52, 1.1, 7.0, True), (np.nan, 1.1, 7.0, True),
        (0.4, 0.6, 7.0, True), (0.4, np.nan, 7.0, True),
    ],
    ids=["bound below baseline", "bound at baseline", "bound above", "no bound", "slower tail", "no tail"],
)  # fmt: skip
def test_a_p95_within_sampling_noise_is_at_its_baseline(low: float, tail: float, z: float, missing: bool) -> None:
    made = world_of_scene(Scene(victim_p95=lambda i: 1.0 if i >= 290 else 0.5))
    made = replace(made, red=replace(made.red, p99=np.where(np.isnan(made.red.p95), np.nan, tail)))
    row = made.services.index(VICTIM)
    lowest = made.red.p95.astype("float16")  # as a World that grows holds it
    lowest[row, 290:] = low
    now = EvaluationPoint(replace(made, red=replace(made.red, lower_bound=lowest)), 299, baselines_at(made, 299))
    assert now.z("p95", VICTIM) == pytest.approx(z, abs=0.1)
    assert now.value("p95", VICTIM) == 1.0
    assert service_risks(now, {VICTIM: Slo(0.8, 0.01)})[VICTIM].breached == missing


def test_an_excursion_does_not_begin_with_noise_before_it() -> None:
    """Five points of noise, then the slow requests become slower."""
    made = world_of_scene(Scene(victim_p95=lambda i: 5.0 if i >= 290 else 0.9 if i >= 285 else 0.5))
    red = replace(
        made.red, p99=np.where(np.isnan(made.red.p95), np.nan, 1.1), lower_bound=np.minimum(made.red.p95, 0.45)
    )
    now = EvaluationPoint(replace(made, red=red), 299, baselines_at(replace(made, red=red), 299))
    assert now.since("p95", VICTIM) == made.times[290]


@pytest.mark.parametrize(("later", "stages"), [(0.045, {0}), (0.3, {0, 3})], ids=["by luck", "really"])
def test_a_service_within_sampling_noise_is_not_degraded(later: float, stages: set[int]) -> None:
    for seed in range(6):
        made = world(later, seed)
        shown = service_history(
            made, float(made.times[CHANGES - 60]), float(made.times[-1]), float(made.times[CHANGES])
        )
        shown_stages = shown.stages[[shown.services.index(who) for who in (VICTIM, CALLER)]]
        assert set(shown_stages.ravel().tolist()) - {1, 2} == stages, seed


@pytest.mark.parametrize("factor", [1e-3, 7.0, 400.0])
def test_noise_does_not_depend_on_the_unit_or_row_order(factor: float) -> None:
    made = world(0.045, 1)
    red, base = made.red, baselines_at(made, 299)
    assert red.lower_bound is not None
    scaled = replace(made, red=Red(red.rate, red.error_rate, *(values * factor for values in _times(red))))
    order = list(range(len(made.services)))[::-1]
    turned = replace(made, services=tuple(made.services[row] for row in order), red=_rows(red, order))
    assert any(any(is_noise(made, at, base).values()) for at in range(CHANGES, 300, 7))
    for at in range(CHANGES, 300, 7):
        shown_stages = is_noise(made, at, base)
        assert is_noise(scaled, at, baselines_at(scaled, 299)) == shown_stages
        assert is_noise(turned, at, baselines_at(turned, 299)) == shown_stages


def is_noise(made: World, at: int, base: Baselines) -> dict[Service, bool]:
    """Whose p95 is above its baseline by chance."""
    now = EvaluationPoint(made, at, base)
    return {who: now.denoised("p95", who) < now.value("p95", who) for who in made.services}


def _times(red: Red) -> tuple[Floats, ...]:
    return tuple(values for values in (red.p50, red.p95, red.p99, red.lower_bound) if values is not None)


def _rows(red: Red, order: Sequence[int]) -> Red:
    return Red(*(values[order] for values in (red.rate, red.error_rate, *_times(red))))


def test_without_a_tail_no_excursion_is_noise() -> None:
    made = world(0.045, 1)
    assert not any(is_noise(made, 299, Baselines(0.0, {})).values())
