"""The scenarios of the suite of minutes do what they say."""

from __future__ import annotations

import pytest

from foreshock_evaluation.suites.simulated import classes_of, scenario_place
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.simulation import Simulation

START, MINUTE, AFTER = 1_767_600_000.0, 60.0, 300.0
DOWN = {"memory-leak", "dependency-lost"}
"""Cascades whose origin serves nothing, so that it breaches no SLO."""
NAMES = [name for kind, members in classes_of("minutes").items() if kind != "random" for name in members]


@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_of_minutes_is_valid_on_medium_platforms_too(name: str) -> None:
    spec = load(scenario_place(name), "medium", 1)
    assert (spec.name, spec.description[-1]) == (name, ".")


@pytest.mark.soak
@pytest.mark.parametrize("seed", [11, 12])
@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_of_minutes_cascades_if_it_says_so_and_not_without_its_root_cause(name: str, seed: int) -> None:
    spec = load(scenario_place(name), "small", seed)
    simulation, seconds, end = Simulation(spec, seed, START, sample=0.0), 0.0, spec.duration
    while seconds < end:
        seconds = min(end, seconds + 5 * MINUTE)
        simulation.advance(START + seconds)
        if simulation.truth().cascaded:
            break
    truth = simulation.truth()
    assert truth.cascaded == spec.expects.cascade
    if truth.cascaded and truth.onset is not None:
        assert spec.expects.origin in truth.breached or name in DOWN
        without = Simulation(spec, seed, START, leave_out=spec.expects.root_cause, sample=0.0)
        without.advance(START + min(end, seconds + AFTER))
        assert not without.truth().cascaded
