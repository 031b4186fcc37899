"""The scenarios of the package cascade as stated, on the small platform, and do not without their root cause."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pytest

from foreshock_simulator.scenarios.load import load, names
from foreshock_simulator.simulation import Simulation
from foreshock_simulator.spec.scenario import ScenarioSpec, Truth

START = 1_767_600_000.0
MINUTE = 60.0
AFTER = 5 * MINUTE
"""Simulated after a cascade has begun, and its counterfactual for as long."""
CALM = 37 * MINUTE
"""Time before the faults from which a hub learns; only the soak runs simulate it."""
MAX_SECONDS = 75 * MINUTE
"""Bound of a run without it: the daily peak is an hour after its start."""
RUNS = [(1, CALM), *(pytest.param(seed, 0.0, marks=pytest.mark.soak) for seed in (1, 2, 3))]
"""Seeds, and the time that is left out at the start."""

EXPECTED = {name: load(name).expects.cascade for name in names()}
CASCADES = [name for name, cascade in EXPECTED.items() if cascade]
LOOK_ALIKES = [name for name, cascade in EXPECTED.items() if not cascade]
DOWN = {"crash-loop", "gpu-lost"}
"""Cascades whose origin serves nothing, so that it has neither latency nor errors."""


class Played(NamedTuple):
    """A finished run: its truth, and its length in seconds."""

    truth: Truth
    seconds: float


def scenario(name: str, seed: int, left_out: float) -> ScenarioSpec:
    """A scenario without the first seconds."""
    spec = load(name, "small", seed)
    faults = tuple(replace(fault, at=fault.at - left_out) for fault in spec.faults)
    duration = min(spec.duration - left_out, MAX_SECONDS) if left_out else spec.duration
    return replace(spec, faults=faults, duration=duration)


def play(spec: ScenarioSpec, seed: int, start: float, *, leave_out: str = "", until: float | None = None) -> Played:
    """Run a scenario to its end, to `until` seconds, or to some time after the start of a cascade."""
    simulation = Simulation(spec, seed, start, leave_out=leave_out, sample=0.0)
    seconds, end = 0.0, until or spec.duration
    cascading = False
    while seconds < end:
        seconds = min(end, seconds + MINUTE)
        simulation.advance(start + seconds)
        if until is None and not cascading and simulation.truth().cascaded:
            cascading, end = True, min(end, seconds + AFTER)
    return Played(simulation.truth(), seconds)


@pytest.mark.parametrize("name", CASCADES)
@pytest.mark.parametrize(("seed", "left_out"), RUNS)
def test_a_cascade_happens_after_its_onset_and_not_without_its_root_cause(
    name: str, seed: int, left_out: float
) -> None:
    """No breach before the onset; the origin breaches, or is down and serves nothing, and others breach with it."""
    spec = scenario(name, seed, left_out)
    truth, seconds = play(spec, seed, START + left_out)

    assert truth.cascaded
    assert truth.onset is not None
    assert min(truth.breached.values()) >= truth.onset
    assert spec.expects.origin in truth.breached or name in DOWN

    other, _ = play(spec, seed, START + left_out, leave_out=spec.expects.root_cause, until=seconds)

    assert not other.cascaded


@pytest.mark.parametrize("name", LOOK_ALIKES)
@pytest.mark.parametrize(("seed", "left_out"), RUNS)
def test_a_look_alike_does_not_cascade(name: str, seed: int, left_out: float) -> None:
    """At most its own service breaches."""
    truth, _ = play(scenario(name, seed, left_out), seed, START + left_out)

    assert not truth.cascaded
    assert truth.victims == ()
