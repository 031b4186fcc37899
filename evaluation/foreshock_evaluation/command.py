"""Command line of the evaluation: scores the analysis on recordings with known root causes."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

import orjson

from foreshock_dashboard.cli.commands import run
from foreshock_dashboard.common.progress import ProgressBar
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.settings.option_types import parse_count
from foreshock_dashboard.settings.settings import SettingsError, parse_flag
from foreshock_evaluation.counterfactual import counterfactual_runs
from foreshock_evaluation.evaluation import as_json, summarize
from foreshock_evaluation.outcome import Run
from foreshock_evaluation.report import between, document, terminal
from foreshock_evaluation.scoring import Task, run_all
from foreshock_evaluation.suite import SUITES, Suite, fingerprint, instant_scenarios, load_suite
from foreshock_evaluation.truth import Expected, SloTarget
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.scenarios.parsing.problems import ScenarioError
from foreshock_simulator.scenarios.platforms.topology import SIZES
from foreshock_simulator.spec.scenario import ScenarioSpec

DESCRIPTION = """\
Scores the analysis on recordings whose truth is known: is somebody warned before a cascade, how long before, is the
right culprit named, and how often is somebody called for nothing. Simpler detectors are scored beside it.

  python -m foreshock_evaluation                                  on the seeds that thresholds are set on
  python -m foreshock_evaluation --suite heldout                  on those that nothing is set on
  python -m foreshock_evaluation --scenarios starve,calm --runs   a part of it, with a line for each run
  python -m foreshock_evaluation --recordings DIR --quick         recordings in folders named SIZE-SEED-SCENARIO

Recordings are simulated once and kept; for all held-out seeds that takes most of an hour on two cores."""

MAKERS = (
    "foreshock_simulator",
    "foreshock_exporter",
    "foreshock_dashboard.recording",
    "foreshock_dashboard.simulated",
)
"""Packages that determine a recording; a change in one of them invalidates the cached recordings."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation and return its exit code: 0, 1 for a failure, 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        "python -m foreshock_evaluation",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--suite", default="dev", choices=SUITES, help="which seeds (default: dev)")
    parser.add_argument("--size", choices=SIZES, help="of the platforms (default: small and medium)")
    parser.add_argument("--scenarios", default="", metavar="NAMES", help="only these, separated by commas")
    parser.add_argument("--seeds", default="", metavar="SEEDS", help="these in place of the suite's, with commas")
    parser.add_argument("--recordings", metavar="DIR", help="score what is in this folder in place of a suite")
    parser.add_argument(
        "--quick", action="store_true", help="only our own figures: no other detectors, no scrapes missing"
    )
    parser.add_argument("--runs", action="store_true", help="print a line for each run as well")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write-docs", metavar="FILE", help="write the tables into this document as well")
    parser.add_argument("--jobs", metavar="N", help="runs at a time (default: as many as there are cores)")
    parser.add_argument("--cache", metavar="DIR", help="where recordings are kept (default: ~/.cache/foreshock)")
    parser.set_defaults(run=evaluate)
    return run(parser.parse_args(argv))


def evaluate(arguments: argparse.Namespace) -> int:
    """Evaluate; returns 0, or 1 if a run could not be replayed.

    Raises:
        SettingsError: an option cannot be used.
    """
    title, picked, day = _picked(arguments)
    jobs = parse_flag("--jobs", parse_count, arguments.jobs) if arguments.jobs else os.cpu_count() or 1
    page = _document(arguments.write_docs, arguments.suite) if arguments.write_docs else ""
    cache = cache_of(arguments.cache) / "evaluation" / fingerprint(MAKERS)
    specs = {run: spec_of(run) for run, _ in picked}
    without = counterfactual_runs(specs)
    tasks = [
        Task(run, expected_of(specs[run]), cache, path, arguments.quick, without=run in without) for run, path in picked
    ]
    tasks.sort(key=lambda task: -_size(task.run, specs[task.run]))
    began, bar = time.monotonic(), ProgressBar()
    entries, failed = run_all(tasks, jobs, bar)
    bar.end(
        f"{len(tasks)} runs in {(time.monotonic() - began) / 60:.1f} min, recordings in {arguments.recordings or cache}"
    )
    long = [entry.ours for entry in entries if entry.ours.run == day]
    rest = [entry for entry in entries if entry.ours.run != day]
    result = summarize(title, rest, instant_scenarios(), long[0] if long else None, failed)
    if arguments.json:
        print(orjson.dumps(as_json(result), option=orjson.OPT_INDENT_2).decode())
    else:
        print(terminal(result, runs=arguments.runs or bool(arguments.recordings)))
    if page:
        Path(arguments.write_docs).write_text(between(page, arguments.suite, document(result)), encoding="utf-8")
    return 1 if failed else 0


def _size(run: Run, spec: ScenarioSpec) -> float:
    """Approximate work of a run, in service-seconds."""
    return (run.duration or spec.duration) * len(spec.platform.services)


def _picked(arguments: argparse.Namespace) -> tuple[str, list[tuple[Run, Path | None]], Run | None]:
    """Title of the evaluation, its runs with their recordings if they exist, and the long calm run, if any.

    Raises:
        SettingsError: an option cannot be used, or no run is left.
    """
    if arguments.recordings:
        found = recordings_in(Path(arguments.recordings))
        present: list[tuple[Run, Path | None]] = [(run, path) for run, path in found if _wanted(run, arguments)]
        if not present:
            raise SettingsError("--scenarios, --size, --seeds: no recording is left; name others")
        usual = [run for run, _ in present if run.duration is None]
        long = next((run for run, _ in present if run.duration is not None), None)
        return f"Recordings: {_described(usual)}", present, long
    chosen = _suite(arguments)
    runs = (*([chosen.day] if chosen.day else []), *chosen.runs)
    return f"Suite {chosen.name}: {_described(chosen.runs)}", [(run, None) for run in runs], chosen.day


def _suite(arguments: argparse.Namespace) -> Suite:
    sizes = (arguments.size,) if arguments.size else ()
    seeds = [parse_flag("--seeds", parse_count, word) for word in _words(arguments.seeds)]
    try:
        return load_suite(arguments.suite, sizes, _words(arguments.scenarios), seeds)
    except ValueError as error:
        raise SettingsError(f"--scenarios: {error}") from None


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _described(runs: Sequence[Run]) -> str:
    seeds = ", ".join(map(str, sorted({run.seed for run in runs})))
    sizes = " and ".join(sorted({run.size for run in runs}))
    return f"{len(runs)} runs, {len({run.scenario for run in runs})} scenarios, {sizes}, seeds {seeds}"


def _document(file: str, name: str) -> str:
    """The text of a document with the markers of a suite."""
    try:
        text = Path(file).read_text(encoding="utf-8")
        between(text, name, "")
    except OSError as error:
        raise SettingsError(f"--write-docs: {file}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"--write-docs: {file} {error}") from None
    return text


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
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not path.name.startswith(".") and (path / "meta.json").exists():
            try:
                found.append((Run.parse(path.name), path))
            except ValueError as error:
                raise SettingsError(f"--recordings: {error}") from None
    if not found:
        raise SettingsError(f"--recordings: {folder} has no recording in a folder named SIZE-SEED-SCENARIO")
    return found


def _wanted(run: Run, arguments: argparse.Namespace) -> bool:
    scenarios, seeds = _words(arguments.scenarios), _words(arguments.seeds)
    fits = arguments.size in (None, run.size) and (not seeds or str(run.seed) in seeds)
    return fits and (not scenarios or run.scenario in scenarios)


def spec_of(run: Run) -> ScenarioSpec:
    """The scenario of a run, on its platform.

    Raises:
        SettingsError: there is no such scenario or size.
    """
    try:
        return load(run.scenario, run.size, run.seed)
    except ScenarioError as error:
        raise SettingsError(str(error)) from None


def expected_of(spec: ScenarioSpec) -> Expected:
    """The expected result of a scenario, with all acceptable names of its root cause.

    A flow counts as its entry service, a path as its edge or either end.
    """
    platform, culprit = spec.platform, spec.expects.culprit
    services = (*(each.name for each in platform.services), *(each.name for each in platform.tenants))
    names = {name.name: Service(*name) for name in services}
    entries = {flow.name: names[flow.service] for flow in platform.flows}
    caller, arrow, callee = culprit.partition(" -> ")
    edge = (names[caller], names[callee]) if arrow else None
    origin = next((each for each in platform.services if each.name.name == spec.expects.origin), None)
    places = next((pool.places for pool in platform.pools if origin and pool.name == origin.pool), ())
    return Expected(
        cascade=spec.expects.cascade,
        culprits=frozenset(edge or ([entries.get(culprit) or names[culprit]] if culprit else ())),
        edge=edge,
        gpus=frozenset(f"{place.host}/gpu-{place.gpu}" for place in places),
        objectives={names[e.name.name]: SloTarget(e.slo.latency, e.slo.objective) for e in platform.services if e.slo},
    )
