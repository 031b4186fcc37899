"""`foreshock evaluate`: how good the analysis is, on recordings whose truth is known."""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from foreshock_dashboard.evaluation.figures import figures
from foreshock_dashboard.evaluation.groups import by_scenario, grouped
from foreshock_dashboard.evaluation.outcome import Outcome, Run, outcome_of
from foreshock_dashboard.evaluation.resampling import Resampling
from foreshock_dashboard.evaluation.suite import NAMES, instant
from foreshock_dashboard.evaluation.text import figure_table, plain, run_table, scenario_table
from foreshock_dashboard.evaluation.truth import Expected, Objective, read_truth
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.progress import Bar
from foreshock_dashboard.replaying import play
from foreshock_dashboard.settings import SettingsError
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.scenarios.problems import ScenarioError
from foreshock_simulator.spec.scenario import ScenarioSpec

EVALUATE = """\
Scores the analysis on recordings whose truth is known: is it warned before a cascade, how long before, is the right
culprit named, and how often is somebody called for nothing.

  foreshock evaluate --recordings DIR                      score recordings in folders named SIZE-SEED-SCENARIO"""


def add_evaluate_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument("--suite", default="dev", choices=NAMES, help="which seeds (default: dev)")
    parser.add_argument(
        "--recordings", metavar="DIR", help="score the recordings in this folder, named SIZE-SEED-SCENARIO each"
    )
    parser.add_argument("--scenarios", metavar="NAMES", help="only these, separated by commas")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: cores)")


def evaluate(arguments: argparse.Namespace) -> int:
    """Evaluate. 0: the table is printed, whether or not what is asked was reached."""
    wanted = tuple(filter(None, (arguments.scenarios or "").split(",")))
    tasks = [
        (path, run, expected_of(spec_of(run)))
        for path, run in recordings_in(Path(arguments.recordings))
        if not wanted or run.scenario in wanted
    ]
    bar, outcomes = Bar(), []
    with ProcessPoolExecutor(max(1, arguments.jobs), mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(score, *task) for task in tasks]
        for done in as_completed(futures):
            outcomes.append(done.result())
            bar(outcomes[-1].run.name, len(outcomes) / len(tasks))
    bar.end()
    outcomes.sort(key=lambda each: (not each.expected, each.run.scenario, each.run.size, each.run.seed))
    groups = grouped(outcomes, instant())
    draws = Resampling([(each.run.scenario, each.run.seed) for each in outcomes])
    for table in (run_table(outcomes), scenario_table(by_scenario(groups)), figure_table(figures(groups, draws))):
        print(plain(table) + "\n")
    return 0


def score(path: Path, run: Run, expected: Expected) -> Outcome:
    """Play a recording and score what was said."""
    played = play(path)
    return outcome_of(run, read_truth(path), expected, played.world, played.history)


def recordings_in(folder: Path) -> list[tuple[Path, Run]]:
    """The recordings of a folder.

    Raises:
        SettingsError: it has none.
    """
    found = []
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        if (path / "meta.json").exists():
            try:
                found.append((path, Run.parse(path.name)))
            except ValueError as error:
                raise SettingsError(f"--recordings: {error}") from None
    if not found:
        raise SettingsError(f"--recordings: {folder} has no recording named SIZE-SEED-SCENARIO")
    return found


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
    """What the scenario's author meant, with the names that are right for its culprit.

    A flow is told by the service that it enters at, a path by its edge or either end.
    """
    platform, culprit = spec.platform, spec.expects.culprit
    names = {
        name.name: Service(*name)
        for name in (*(s.name for s in platform.services), *(t.name for t in platform.tenants))
    }
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
        objectives={names[e.name.name]: Objective(e.slo.latency, e.slo.objective) for e in platform.services if e.slo},
    )
