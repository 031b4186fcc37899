"""Counterfactual runs: a cascade that also happens without its root cause cannot test the root-cause ranking."""

from __future__ import annotations

from collections.abc import Iterable

from foreshock_evaluation.outcome import Run
from foreshock_evaluation.truth import Truth
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.simulation import Simulation

SIZE, MAX_SEEDS = "small", 3
"""Size and number of the platforms that are played again."""
AFTER_ONSET_SECONDS = 300.0
"""Simulated time after the cascade's onset that is played."""


def counterfactual_runs(runs: Iterable[Run]) -> frozenset[Run]:
    """The runs that are played again: those on the first platforms."""
    candidates = [run for run in runs if run.size == SIZE and run.duration is None]
    first = sorted({run.seed for run in candidates})[:MAX_SEEDS]
    return frozenset(run for run in candidates if run.seed in first)


def cascades_without_culprit(run: Run, truth: Truth) -> bool | None:
    """Whether a run's cascade happens without its root cause; None for a run without a cascade."""
    if not truth.cascaded:
        return None
    spec = load(run.scenario, run.size, run.seed)
    simulation = Simulation(spec, run.seed, truth.start, leave_out=spec.expects.culprit, sample=0.0)
    simulation.advance(min(truth.end, truth.cascade_onset + AFTER_ONSET_SECONDS))
    return simulation.truth().cascaded
