"""Scores the analysis on runs, several at a time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from foreshock_dashboard.common.progress import ProgressBar
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.replay import replay
from foreshock_evaluation.comparison import Entry, rank_by_baselines, score_baselines
from foreshock_evaluation.counterfactual import cascades_without_culprit
from foreshock_evaluation.outcome import Run, outcome_of
from foreshock_evaluation.suite import LossyMetrics, ensure_recording
from foreshock_evaluation.truth import Expected, read_truth
from foreshock_evaluation.verdict import first_pages

log = logging.getLogger(__name__)


class Task(NamedTuple):
    """A run to score.

    Attributes:
        folder: where the recording is made if `path` is None.
        path: recording of the run.
        quick: skip the other detectors and the replay with missing scrapes.
        without: also play the run without its root cause.
    """

    run: Run
    expected: Expected
    folder: Path
    path: Path | None = None
    quick: bool = False
    without: bool = False


def run_all(tasks: Sequence[Task], jobs: int, bar: ProgressBar) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Score tasks in parallel processes, in their order; returns the scores, and the failures as (run, reason)."""
    entries: list[Entry] = []
    failed: list[tuple[str, str]] = []
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        running: dict[Future[Entry], Task] = {pool.submit(score, task): task for task in tasks}
        for i, done in enumerate(as_completed(running)):
            name = running[done].run.name
            try:
                entries.append(done.result())
            except SourceError as error:
                failed.append((name, str(error)))
            except Exception as unforeseen:  # outermost loop: the other runs are scored after any failure
                log.exception("%s cannot be scored", name)
                failed.append((name, f"{type(unforeseen).__name__}: {unforeseen}"))
            bar(f"{i + 1} of {len(tasks)}: {name}", (i + 1) / len(tasks))
    finally:
        pool.shutdown(cancel_futures=True)
    return entries, sorted(failed)


def score(task: Task) -> Entry:
    """Record the run if necessary, replay it, and score the result.

    Raises:
        SourceError: the run cannot be recorded or replayed.
    """
    run, expected = task.run, task.expected
    path = task.path or ensure_recording(run, task.folder)
    truth = read_truth(path)
    with closing(Recording(path)) as recording:
        played = replay(recording)
        ours = outcome_of(run, truth, expected, played.world, played.history)
        if task.quick or run.duration is not None:
            return Entry(ours, expected.culprits)
        lossy = None
        if expected.cascade:
            missing = replay(recording, source=partial(LossyMetrics, seed=run.seed))
            lossy = outcome_of(run, truth, expected, missing.world, missing.history)
    others = score_baselines(truth, expected, played.world)
    first_page = next((item for item in first_pages(played.history) if item.page == ours.pages.first_hit), None)
    ranked = (
        rank_by_baselines(expected, played.world, first_page.time, first_page.incident.service) if first_page else {}
    )
    alone = cascades_without_culprit(run, truth) if task.without and expected.cascade else None
    return Entry(ours, expected.culprits, lossy, others, ranked, alone)
