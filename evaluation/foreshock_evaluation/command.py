"""Command line of the evaluation: scores the analysis on recordings with known root causes."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from foreshock_dashboard.cli.commands import exit_code
from foreshock_dashboard.common.progress import ProgressBar
from foreshock_dashboard.recording.meta import META
from foreshock_dashboard.settings.option_types import parse_count, split_words
from foreshock_dashboard.settings.settings import SettingsError, parse_flag
from foreshock_evaluation.evaluation import dump_json, summarize
from foreshock_evaluation.options import document_text
from foreshock_evaluation.report import document, terminal
from foreshock_evaluation.scores.outcome import Run
from foreshock_evaluation.scores.tables import between
from foreshock_evaluation.scores.truth import expected_of
from foreshock_evaluation.scoring import Task, counterfactual_runs, run_all
from foreshock_evaluation.suites.lab import KEPT, lab_runs
from foreshock_evaluation.suites.simulated import (
    FOLDERS,
    SUITES,
    classes_of,
    fingerprint,
    instant_scenarios,
    load_suite,
    scenario_place,
)
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.scenarios.parsing.document import ScenarioError
from foreshock_simulator.scenarios.platforms.topology import SIZES
from foreshock_simulator.spec.scenario import ScenarioSpec

DESCRIPTION = """\
Benchmarks detection on labeled recordings against simpler detectors: recall, lead time, root-cause precision, and
false pages.

  foreshock dev evaluate                                  on the development seeds
  foreshock dev evaluate --suite heldout                  on the held-out seeds
  foreshock dev evaluate --scenarios starve,calm --runs   a subset, one line per run
  foreshock dev evaluate --recordings DIR --quick         recordings in folders named SIZE-SEED-SCENARIO
  foreshock dev evaluate --suite lab                      recordings of the laboratory, on development seeds
  foreshock dev evaluate --suite lab --recordings DIR     other ones, or recordings labeled by feedback

Recordings are simulated once and cached; simulating all held-out seeds takes most of an hour on two cores."""

MAKERS = (
    "foreshock_simulator",
    "foreshock_exporter",
    "foreshock_dashboard.recording",
    "foreshock_dashboard.simulated",
    *(f"foreshock_evaluation.suites/{folder}" for folder in FOLDERS),
)
"""Packages and folders that determine a recording; a change in one of them invalidates the cached recordings."""
LAB_MAKERS = ("foreshock_dashboard.recording", "foreshock_evaluation.streams")
"""As `MAKERS`, of recordings that are cut out of streams."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation and return its exit code: 0, 1 for a failure, 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        "foreshock dev evaluate",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--suite", default="dev", choices=(*SUITES, *KEPT), help="suite to score (default: dev)")
    parser.add_argument("--size", choices=SIZES, help="platform size (default: small and medium)")
    parser.add_argument("--scenarios", default="", metavar="NAMES", help="comma-separated scenarios (default: all)")
    parser.add_argument("--seeds", default="", metavar="SEEDS", help="comma-separated seeds (default: the suite's)")
    parser.add_argument("--recordings", metavar="DIR", help="folder of recordings to score (default: a suite)")
    parser.add_argument(
        "--quick", action="store_true", help="score foreshock only, without baseline detectors and lost scrapes"
    )
    parser.add_argument("--runs", action="store_true", help="also print each run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write-docs", metavar="FILE", help="document whose tables to update as well")
    parser.add_argument("--section", metavar="NAME", help="name of the table markers (default: the suite)")
    parser.add_argument("--jobs", metavar="N", help="parallel runs (default: number of cores)")
    parser.add_argument("--cache", metavar="DIR", help="cache of recordings (default: ~/.cache/foreshock)")
    arguments = parser.parse_args(argv)
    return exit_code(lambda: evaluate(arguments))


def evaluate(arguments: argparse.Namespace) -> int:
    """Evaluate; returns 0, or 1 if a run could not be replayed.

    Raises:
        SettingsError: an option cannot be used.
    """
    of_lab = arguments.suite in KEPT
    cache = cache_of(arguments.cache) / "evaluation" / fingerprint(LAB_MAKERS if of_lab else MAKERS)
    title, tasks, instant, day, classes = (_lab_tasks if of_lab else _simulated_tasks)(arguments, cache)
    jobs = parse_flag("--jobs", parse_count, arguments.jobs) if arguments.jobs else os.cpu_count() or 1
    section = arguments.section or arguments.suite
    page = document_text(arguments.write_docs, section) if arguments.write_docs else ""
    began, bar = time.monotonic(), ProgressBar()
    entries, failed = run_all(tasks, jobs, bar)
    minutes = (time.monotonic() - began) / 60
    bar.end(f"{len(tasks)} runs in {minutes:.1f} min, recordings in {arguments.recordings or cache}")
    day_outcome = next((entry.ours for entry in entries if entry.ours.run == day), None)
    others = [entry for entry in entries if entry.ours.run != day]
    evaluation = summarize(title, others, instant, day_outcome, failed, classes)
    if arguments.json:
        print(dump_json(evaluation).decode())
    else:
        print(terminal(evaluation, runs=arguments.runs or bool(arguments.recordings)))
    if page:
        text = between(page, section, document(evaluation, runs=arguments.runs or of_lab))
        Path(arguments.write_docs).write_text(text, encoding="utf-8")
    return 1 if failed else 0


class Selection(NamedTuple):
    """What to evaluate: title, and tasks.

    instant: scenarios without a possible warning. day: the long run without faults. classes: scenarios of each class.
    """

    title: str
    tasks: Sequence[Task]
    instant: frozenset[str]
    day: Run | None = None
    classes: Mapping[str, Sequence[str]] = MappingProxyType({})


def _simulated_tasks(arguments: argparse.Namespace, cache: Path) -> Selection:
    """Runs of a suite of simulations, or those of a folder."""
    title, selected, day = _selection(arguments)
    specs = {run: spec_of(run) for run, _ in selected}
    counterfactual = counterfactual_runs(specs)
    tasks = [
        Task(run, expected_of(specs[run]), cache, path, arguments.quick, run in counterfactual)
        for run, path in sorted(selected, key=lambda item: -_service_seconds(item[0], specs[item[0]]))
    ]
    return Selection(title, tasks, instant_scenarios(), day, classes_of(arguments.suite))


def _lab_tasks(arguments: argparse.Namespace, cache: Path) -> Selection:
    """Recordings of the laboratory.

    Raises:
        SettingsError: the folder has none, or one cannot be used.
    """
    folder = Path(arguments.recordings or KEPT[arguments.suite])
    if not folder.exists() and not arguments.recordings:
        raise SettingsError(
            f"--suite {arguments.suite}: only the repository has its recordings; name other ones with --recordings DIR"
        )
    try:
        runs = lab_runs(folder, split_words(arguments.seeds), split_words(arguments.scenarios))
    except ValueError as error:
        raise SettingsError(f"--recordings: {error}") from None
    if not runs:
        raise SettingsError(f"--recordings: {folder} has no such recording of the laboratory")
    tasks = [Task(item.run, item.expected, cache, item.path, arguments.quick) for item in runs]
    instant = frozenset(item.run.scenario for item in runs if item.is_instant)
    return Selection(f"Laboratory: {_runs_text([task.run for task in tasks])}", tasks, instant)


def _service_seconds(run: Run, spec: ScenarioSpec) -> float:
    """Approximate work of a run; the largest begin first."""
    return (run.duration or spec.duration) * len(spec.platform.services)


def _selection(arguments: argparse.Namespace) -> tuple[str, list[tuple[Run, Path | None]], Run | None]:
    """Title of the evaluation, its runs with their recordings if they exist, and the long run without faults, if any.

    Raises:
        SettingsError: an option cannot be used, or no run is left.
    """
    scenarios, seeds = split_words(arguments.scenarios), split_words(arguments.seeds)
    if arguments.recordings:
        present: list[tuple[Run, Path | None]] = [
            (run, path)
            for run, path in recordings_in(Path(arguments.recordings))
            if arguments.size in (None, run.size)
            and (not seeds or str(run.seed) in seeds)
            and (not scenarios or run.scenario in scenarios)
        ]
        if not present:
            raise SettingsError("--scenarios, --size, --seeds: no recording is left; name others")
        short = [run for run, _ in present if run.duration is None]
        day = next((run for run, _ in present if run.duration is not None), None)
        return f"Recordings: {_runs_text(short)}", present, day
    numbers = [parse_flag("--seeds", parse_count, word) for word in seeds]
    try:
        suite = load_suite(arguments.suite, (arguments.size,) if arguments.size else (), scenarios, numbers)
    except ValueError as error:
        raise SettingsError(f"--scenarios: {error}") from None
    runs = (*([suite.day] if suite.day else []), *suite.runs)
    return f"Suite {suite.name}: {_runs_text(suite.runs)}", [(run, None) for run in runs], suite.day


def _runs_text(runs: Sequence[Run]) -> str:
    seeds = ", ".join(map(str, sorted({run.seed for run in runs})))
    sizes = " and ".join(sorted({run.size for run in runs}))
    return f"{len(runs)} runs, {len({run.scenario for run in runs})} scenarios, {sizes}, seeds {seeds}"


def cache_of(folder: str | None) -> Path:
    """The folder of the cached recordings (XDG Base Directory Specification).

    Raises:
        SettingsError: no folder is given, and the user has no home.
    """
    if folder:
        return Path(folder)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "foreshock"
    except RuntimeError:
        raise SettingsError("--cache: you have no home folder; name one to keep recordings in") from None


def recordings_in(folder: Path) -> list[tuple[Run, Path]]:
    """The recordings of a folder.

    Raises:
        SettingsError: the folder has no recording, or one with an invalid name.
    """
    paths = sorted(path for path in folder.glob("[!.]*") if (path / META).exists())
    if not paths:
        raise SettingsError(f"--recordings: {folder} has no recording in a folder named SIZE-SEED-SCENARIO")
    try:
        return [(Run.parse(path.name), path) for path in paths]
    except ValueError as error:
        raise SettingsError(f"--recordings: {error}") from None


def spec_of(run: Run) -> ScenarioSpec:
    """The scenario of a run, on its platform.

    Raises:
        SettingsError: there is no such scenario or size.
    """
    try:
        return load(scenario_place(run.scenario), run.size, run.seed)
    except ScenarioError as error:
        raise SettingsError(str(error)) from None
