"""Scores the analysis on runs, several at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from foreshock_dashboard.common.progress import ProgressBar
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.replay import replay
from foreshock_evaluation.comparison import Entry, rank_by_baselines, score_baselines
from foreshock_evaluation.parallel import run_parallel
from foreshock_evaluation.scores.outcome import Run, outcome_of
from foreshock_evaluation.scores.truth import Expected, Truth, read_truth
from foreshock_evaluation.scores.verdict import first_hit
from foreshock_evaluation.streams.stream import FAULTS, ensure_cut
from foreshock_evaluation.suites.simulated import LossyMetrics, ensure_recording, scenario_place
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.simulation import Simulation

COUNTERFACTUAL_SIZE, MAX_COUNTERFACTUAL_SEEDS = "small", 3
"""Size and number of the platforms of each scenario that are simulated again without the root cause."""
AFTER_ONSET_SECONDS = 300.0
"""Simulated time after the cascade's onset without the root cause."""


class Task(NamedTuple):
    """A run to score.

    folder: where a recording that does not exist yet is made. path: recording of the run, or stream from which it is
    cut; None: it is simulated. quick: without other detectors and lost scrapes. without_root_cause: simulate the run
    without its root cause as well.
    """

    run: Run
    expected: Expected
    folder: Path
    path: Path | None = None
    quick: bool = False
    without_root_cause: bool = False


def run_all(tasks: Sequence[Task], jobs: int, bar: ProgressBar) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Score tasks in parallel processes; returns the scores, and the failures as (run, reason)."""
    return run_parallel(score, [(task.run.name, task) for task in tasks], jobs, bar)


def score(task: Task) -> Entry:
    """Record the run if necessary, replay it, and score the result.

    Raises:
        SourceError: the run cannot be recorded or replayed.
    """
    run, expected = task.run, task.expected
    path = _recording_of(task)
    truth = read_truth(path)
    with closing(Recording(path)) as recording:
        played = replay(recording)
        ours = outcome_of(run, truth, expected, played.world, played.history)
        if task.quick or run.duration is not None:
            return Entry(ours, expected.root_causes)
        lossy = None
        if ours.expects_cascade:
            missing = replay(recording, source=partial(LossyMetrics, seed=run.seed))
            lossy = outcome_of(run, truth, expected, missing.world, missing.history)
    others = score_baselines(truth, expected, played.world)
    first = first_hit(played.history, ours.pages)
    ranked = rank_by_baselines(expected, played.world, first.time, first.incident.service) if first else {}
    alone = cascades_without_root_cause(run, truth) if task.without_root_cause and ours.expects_cascade else None
    return Entry(ours, expected.root_causes, lossy, others, ranked, alone)


def _recording_of(task: Task) -> Path:
    """The recording of a run, made if necessary. Raises RecordingError."""
    if task.path is None:
        return ensure_recording(task.run, task.folder)
    return ensure_cut(task.path, task.run.name, task.folder) if (task.path / FAULTS).exists() else task.path


def counterfactual_runs(runs: Iterable[Run]) -> frozenset[Run]:
    """The runs of each scenario on its first platforms, which are simulated again without their root cause.

    A cascade that also happens without its root cause cannot test the root-cause ranking.
    """
    by_scenario: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        if run.size == COUNTERFACTUAL_SIZE and run.duration is None:
            by_scenario.setdefault(run.scenario, []).append(run)
    return frozenset(run for group in by_scenario.values() for run in group[:MAX_COUNTERFACTUAL_SEEDS])


def cascades_without_root_cause(run: Run, truth: Truth) -> bool | None:
    """Whether a run's cascade happens without its root cause; None for a run without a cascade."""
    if not truth.cascaded:
        return None
    spec = load(scenario_place(run.scenario), run.size, run.seed)
    simulation = Simulation(spec, run.seed, truth.start, leave_out=spec.expects.root_cause, sample=0.0)
    simulation.advance(min(truth.end, truth.cascade_onset + AFTER_ONSET_SECONDS))
    return simulation.truth().cascaded
