"""The scenarios of the package cascade as stated, on the small platform, and do not without their root cause."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pytest
from tests.conftest import soak

from foreshock_simulator.scenarios.load import load, names
from foreshock_simulator.simulation import Simulation
from foreshock_simulator.spec.scenario import ScenarioSpec, Truth

pytestmark = pytest.mark.slow

START = 1_767_600_000.0
MINUTE = 60.0
AFTER = 5 * MINUTE
"""Simulated after a cascade has begun."""
BEFORE = 3 * MINUTE
"""Simulated before the first fault. Only the soak runs have the half hour from which a hub learns."""
MAX_SECONDS = 45 * MINUTE
"""Bound of a run without it."""
QUIET = 40 * MINUTE
"""Left out of a scenario without faults, but for `BEFORE`."""
PEAKS = {"diurnal-peak": 70 * MINUTE}
"""Left out of a scenario with a daily peak: what is more than half an hour before it."""
PAST_FAULTS = 25 * MINUTE
"""Bound of a run with faults that cause no cascade: they have ended by then."""
RUNS = [(1, False), *soak((1, True), (2, True), (3, True))]
"""Seeds, and whether the run is whole."""

EXPECTED = {name: load(name).expects.cascade for name in names()}
CASCADES = [name for name, cascade in EXPECTED.items() if cascade]
LOOK_ALIKES = [name for name, cascade in EXPECTED.items() if not cascade]
DOWN = {"crash-loop", "gpu-lost"}
"""Cascades whose origin serves nothing, so that it has neither latency nor errors."""


class Played(NamedTuple):
    """A finished run: its truth, and its length in seconds."""

    truth: Truth
    seconds: float


def scenario(name: str, seed: int, *, whole: bool) -> tuple[ScenarioSpec, float]:
    """A scenario, from shortly before its first fault unless `whole`, and the Unix seconds of its start."""
    spec = load(name, "small", seed)
    if whole:
        return spec, START
    left_out = min((fault.at for fault in spec.faults), default=PEAKS.get(name, QUIET)) - BEFORE
    faults = tuple(replace(fault, at=fault.at - left_out) for fault in spec.faults)
    return replace(spec, faults=faults, duration=min(spec.duration - left_out, MAX_SECONDS)), START + left_out


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


@pytest.mark.parametrize("name", [*CASCADES[::2], *soak(*CASCADES[1::2])])
@pytest.mark.parametrize(("seed", "whole"), RUNS)
def test_a_cascade_happens_after_its_onset_and_not_without_its_root_cause(name: str, seed: int, whole: bool) -> None:
    """No breach before the onset; the origin breaches, or is down and serves nothing, and others breach with it.

    Only whole runs, which are soak runs, are repeated without the root cause.
    """
    spec, start = scenario(name, seed, whole=whole)
    truth, seconds = play(spec, seed, start)

    assert truth.cascaded
    assert truth.onset is not None
    assert min(truth.breached.values()) >= truth.onset
    assert spec.expects.origin in truth.breached or name in DOWN
    if whole:
        other, _ = play(spec, seed, start, leave_out=spec.expects.root_cause, until=seconds)
        assert not other.cascaded


@pytest.mark.soak  # the evaluation, too, lists each run that contradicts its scenario
@pytest.mark.parametrize("name", LOOK_ALIKES)
@pytest.mark.parametrize(("seed", "whole"), RUNS)
def test_a_look_alike_does_not_cascade(name: str, seed: int, whole: bool) -> None:
    """At most its own service breaches."""
    spec, start = scenario(name, seed, whole=whole)
    truth, _ = play(spec, seed, start, until=PAST_FAULTS if spec.faults and not whole else None)

    assert not truth.cascaded
    assert truth.victims == ()
