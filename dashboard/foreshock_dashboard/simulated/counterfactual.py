"""Whether a scenario's cascade happens as well without its culprit: then it would say nothing of who is named."""

from __future__ import annotations

from collections.abc import Iterable

from foreshock_dashboard.evaluation.outcome import Run
from foreshock_dashboard.evaluation.truth import Truth
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.simulation import Simulation

SIZE, SEEDS = "small", 3
"""Platforms on which it is tried: of those that are scored, so many of this size."""
AFTER = 300.0
"""Seconds after the cascade's onset up to which it is played."""


def counterfactual_runs(runs: Iterable[Run]) -> frozenset[Run]:
    """The runs for which it is to be tried: those on the first platforms."""
    known = [run for run in runs if run.size == SIZE and run.duration is None]
    first = sorted({run.seed for run in known})[:SEEDS]
    return frozenset(run for run in known if run.seed in first)


def cascades_without_culprit(run: Run, truth: Truth) -> bool | None:
    """Play a run for as long as its cascade took, and `AFTER`, without its culprit; None where there was no cascade."""
    if not truth.cascaded:
        return None
    spec = load(run.scenario, run.size, run.seed)
    simulation = Simulation(spec, run.seed, truth.start, leave_out=spec.expects.culprit, sample=0.0)
    simulation.advance(min(truth.end, truth.began + AFTER))
    return simulation.truth().cascaded
