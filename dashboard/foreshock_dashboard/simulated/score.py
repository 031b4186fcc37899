"""Plays runs through the analysis and scores them, several at a time."""

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
from foreshock_dashboard.evaluation.contest import Entry, others_heard, rankings
from foreshock_dashboard.evaluation.lossy import LossyMetrics
from foreshock_dashboard.evaluation.outcome import Run, outcome_of
from foreshock_dashboard.evaluation.recordings import recorded
from foreshock_dashboard.evaluation.truth import Expected, read_truth
from foreshock_dashboard.evaluation.verdict import paged
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.replay import replay
from foreshock_dashboard.simulated.counterfactual import cascades_without_culprit

log = logging.getLogger(__name__)


class Task(NamedTuple):
    """A run to be scored: its recording, or where that is None the folder in which it is to be made.

    quick: without other detectors and missing scrapes. without: see also whether its cascade needs its culprit.
    """

    run: Run
    expected: Expected
    folder: Path
    path: Path | None = None
    quick: bool = False
    without: bool = False


def run_all(tasks: Sequence[Task], jobs: int, bar: ProgressBar) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Score every task in processes of its own; also those that could not be played, with the reason.

    Tasks begin in the order given: long ones first leave no process waiting at the end.
    """
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
            except Exception as unforeseen:  # outermost loop: whatever one run meets, the others are scored
                log.exception("%s cannot be scored", name)
                failed.append((name, f"{type(unforeseen).__name__}: {unforeseen}"))
            bar(f"{i + 1} of {len(tasks)}: {name}", (i + 1) / len(tasks))
    finally:
        pool.shutdown(cancel_futures=True)
    return entries, sorted(failed)


def score(task: Task) -> Entry:
    """Make the recording if need be, play it, and score what is said of it.

    Raises:
        SourceError: it cannot be made or played.
    """
    run, expected = task.run, task.expected
    path = task.path or recorded(run, task.folder)
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
    others = others_heard(truth, expected, played.world)
    said = next((each for each in paged(played.history) if each.page == ours.pages.first), None)
    ranked = rankings(expected, played.world, said.time, said.incident.service) if said else {}
    alone = cascades_without_culprit(run, truth) if task.without and expected.cascade else None
    return Entry(ours, expected.culprits, lossy, others, ranked, alone)
