"""The scenarios of the package cascade as stated, on the small platform, and do not without their culprit."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from foreshock_simulator.scenarios.load import load, names
from foreshock_simulator.simulation import Simulation
from foreshock_simulator.spec.scenario import Truth

START = 1_767_600_000.0
MINUTE = 60.0
AFTER = 5 * MINUTE
"""Watched after a cascade has begun, and its counterfactual for as long."""

CASCADES = [name for name in names() if load(name).expects.cascade]
LOOK_ALIKES = [name for name in names() if not load(name).expects.cascade]
SEEDS = [1, pytest.param(2, marks=pytest.mark.soak), pytest.param(3, marks=pytest.mark.soak)]


class Played(NamedTuple):
    """A finished run: its truth, and its length in seconds."""

    truth: Truth
    seconds: float


def play(name: str, seed: int, *, leave_out: str = "", until: float | None = None) -> Played:
    """Run a scenario to its end, to `until` seconds, or to some time after the start of a cascade."""
    spec = load(name, "small", seed)
    simulation = Simulation(spec, seed, START, leave_out=leave_out, sample=0.0)
    seconds, end = 0.0, until or spec.duration
    cascading = False
    while seconds < end:
        seconds = min(end, seconds + MINUTE)
        simulation.advance(START + seconds)
        if until is None and not cascading and simulation.truth().cascaded:
            cascading, end = True, min(end, seconds + AFTER)
    return Played(simulation.truth(), seconds)


@pytest.mark.parametrize("name", CASCADES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_cascade_happens_after_its_onset_and_not_without_its_culprit(name: str, seed: int) -> None:
    """No breach before the onset; the origin breaches, and others with it."""
    spec = load(name, "small", seed)
    truth, seconds = play(name, seed)

    assert truth.cascaded
    assert truth.onset is not None
    assert min(truth.breached.values()) >= truth.onset
    assert spec.expects.origin in truth.breached

    other, _ = play(name, seed, leave_out=spec.expects.culprit, until=seconds)

    assert not other.cascaded


@pytest.mark.parametrize("name", LOOK_ALIKES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_look_alike_does_not_cascade(name: str, seed: int) -> None:
    """At most its own service breaches."""
    truth, _ = play(name, seed)

    assert not truth.cascaded
    assert truth.victims == ()
