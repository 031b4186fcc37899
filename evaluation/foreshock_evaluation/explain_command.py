"""Command line of the scores of `explain`."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from foreshock_dashboard.cli.commands import exit_code
from foreshock_dashboard.common.progress import ProgressBar
from foreshock_dashboard.settings.option_types import parse_count, split_words
from foreshock_dashboard.settings.settings import SettingsError, parse_flag
from foreshock_evaluation.explanations.cross_validation import cross_validation, try_all
from foreshock_evaluation.explanations.incident import labeled_recordings, read_incident
from foreshock_evaluation.explanations.questions import Asker
from foreshock_evaluation.explanations.report import document, dump_json, summarize, terminal
from foreshock_evaluation.explanations.scoring import SIGNAL_SETS, Answer, Task, score
from foreshock_evaluation.options import document_text
from foreshock_evaluation.parallel import run_parallel
from foreshock_evaluation.scores.tables import aligned, between, markdown

DESCRIPTION = """\
Scores explain on labeled recordings: whether the root cause is among the first 1, 3, and 5 (AS@k), the share of empty
answers, and specificity on times without a fault, beside baseline rankings.

  python -m foreshock_evaluation explain --recordings DIR                all labeled recordings below DIR
  python -m foreshock_evaluation explain --recordings DIR --live         data after each question is hidden
  python -m foreshock_evaluation explain --recordings DIR --kinds network_delay --runs
  python -m foreshock_evaluation explain --recordings DIR --recordings DIR --offsets 60 --ask users --cross-validate"""

ASKERS: tuple[Asker, ...] = ("users", "all")


def main(argv: Sequence[str]) -> int:
    """Score and return the exit code: 0, 1 for a failure, 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        "python -m foreshock_evaluation explain",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--recordings", metavar="DIR", required=True, action="append", help="folder of labeled recordings (repeatable)"
    )
    parser.add_argument(
        "--cross-validate", action="store_true", help="choose the gate on all systems but one, and score it on that one"
    )
    parser.add_argument("--signals", default="", metavar="SETS", help="any of traces,metrics,both (default: all)")
    parser.add_argument("--offsets", default="0,60", metavar="SECONDS", help="seconds after the onset (default: 0,60)")
    parser.add_argument("--kinds", default="", metavar="KINDS", help="comma-separated kinds of faults (default: all)")
    parser.add_argument("--split", choices=("dev", "heldout"), help="split to score (default: both)")
    parser.add_argument("--ask", default="users,all", metavar="SCOPES", help="any of users,all (default: both)")
    parser.add_argument(
        "--separate", action="store_true", help="also score traces alone and metrics alone where a recording has both"
    )
    parser.add_argument("--live", action="store_true", help="hide data after each offset")
    parser.add_argument("--runs", action="store_true", help="also print each answer")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write-docs", metavar="FILE", help="document whose tables to update as well")
    parser.add_argument("--section", default="explain", metavar="NAME", help="marker of the tables (default: explain)")
    parser.add_argument("--jobs", metavar="N", help="parallel recordings (default: number of cores)")
    arguments = parser.parse_args(argv)
    return exit_code(lambda: evaluate(arguments))


def evaluate(arguments: argparse.Namespace) -> int:
    """Score; returns 0, or 1 if a recording could not be read.

    Raises:
        SettingsError: an option cannot be used.
    """
    tasks = _tasks(arguments)
    signals = split_words(arguments.signals) or SIGNAL_SETS
    jobs = parse_flag("--jobs", parse_count, arguments.jobs) if arguments.jobs else os.cpu_count() or 1
    page = document_text(arguments.write_docs, arguments.section) if arguments.write_docs else ""
    began, bar = time.monotonic(), ProgressBar()
    if arguments.cross_validate:
        tried, failed = run_parallel(try_all, tasks, jobs, bar)
        bar.end(f"{len(tasks)} recordings in {(time.monotonic() - began) / 60:.1f} min")
        rows = cross_validation([trial for part in tried for trial in part])
        print(aligned(rows))
        _write(arguments, page, markdown(rows))
        return 1 if failed else 0
    scored, failed = run_parallel(score, tasks, jobs, bar)
    answers: list[Answer] = [item for part in scored for item in part if item.signals in signals]
    bar.end(f"{len(tasks)} recordings in {(time.monotonic() - began) / 60:.1f} min")
    when = "data up to each question" if arguments.live else "data up to the end of each recording"
    report = summarize(f"{len(tasks)} recordings, {when}", sorted(answers, key=str), failed)
    print(dump_json(report).decode() if arguments.json else terminal(report, runs=arguments.runs))
    _write(arguments, page, document(report))
    return 1 if failed else 0


def _write(arguments: argparse.Namespace, page: str, tables: str) -> None:
    if page:
        Path(arguments.write_docs).write_text(between(page, arguments.section, tables), encoding="utf-8")


def _tasks(arguments: argparse.Namespace) -> list[tuple[str, Task]]:
    kinds = split_words(arguments.kinds)
    offsets = tuple(parse_flag("--offsets", float, word) for word in split_words(arguments.offsets))
    askers = tuple(asker for asker in ASKERS if asker in split_words(arguments.ask))
    if not offsets or not askers:
        raise SettingsError("--offsets, --ask: missing. Name at least one, for example --offsets 0 --ask users.")
    if unknown := sorted({*split_words(arguments.signals)} - {*SIGNAL_SETS}):
        raise SettingsError(f"--signals: {unknown[0]!r} is not one of {', '.join(SIGNAL_SETS)}")
    found = [
        (str(path.relative_to(folder)), Task(path, offsets, askers, arguments.live, arguments.separate))
        for folder in map(Path, arguments.recordings)
        for path in labeled_recordings(folder)
        for incident in (read_incident(path),)
        if (not kinds or incident.kind in kinds) and arguments.split in (None, incident.split)
    ]
    if not found:
        raise SettingsError(
            f"--recordings: {', '.join(arguments.recordings)} holds no labeled recording of these. Name another folder."
        )
    return found
