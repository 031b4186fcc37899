"""The frozen suites and their cached recordings."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from foreshock_dashboard.recording.meta import RecordingError
from foreshock_evaluation.command import MAKERS
from foreshock_evaluation.scores.outcome import Run
from foreshock_evaluation.scoring import counterfactual_runs
from foreshock_evaluation.suites.simulated import (
    classes_of,
    ensure_recording,
    fingerprint,
    instant_scenarios,
    load_suite,
    scenario_place,
)
from foreshock_simulator.scenarios.load import load, names


def test_every_scenario_is_in_the_dev_suite_and_the_heldout_suite_is_frozen() -> None:
    """With two dev seeds and five held-out seeds, on both sizes. Scenarios that came later are scored on dev only."""
    dev, heldout = load_suite("dev"), load_suite("heldout")
    frozen = {run.scenario for run in heldout.runs}

    assert {run.scenario for run in dev.runs} == set(names())
    releases = {"slow-release", "failing-release", "chatty-release", "harmless-release", "canary", "rollback"}
    assert set(names()) - frozen == {"gpu-lost", "crash-loop", *releases}
    assert {run.size for run in heldout.runs} == {"small", "medium"}
    assert not {run.seed for run in dev.runs} & {run.seed for run in heldout.runs}
    assert len(heldout.runs) == len(frozen) * 2 * 5


def test_the_suites_of_changes_have_bad_releases_and_releases_that_are_no_cause() -> None:
    """On seeds of their own for development and held-out."""
    runs, heldout = load_suite("changes").runs, load_suite("changes-heldout").runs
    causes = {run.scenario: load(scenario_place(run.scenario)).expects.cause for run in runs}
    assert sorted(causes) == sorted({run.scenario for run in heldout})
    assert not {run.seed for run in runs} & {run.seed for run in heldout}
    assert sum(cause == "change" for cause in causes.values()) == 8
    assert sum(cause != "change" for cause in causes.values()) == 5


def test_scenarios_without_time_for_a_warning_are_cascades() -> None:
    assert instant_scenarios()
    assert all(load(scenario_place(name)).expects.cascade for name in instant_scenarios())


def test_the_suite_of_minutes_has_slow_burns_look_alikes_and_random_runs_on_seeds_of_their_own() -> None:
    """Every scenario has a class; a random run is on the size that its seed draws."""
    runs, heldout = load_suite("minutes").runs, load_suite("minutes-heldout").runs
    classes = classes_of("minutes")
    assert {run.scenario for run in runs} == {name for members in classes.values() for name in members}
    assert instant_scenarios() >= set(classes["sudden cascades"])
    assert len(classes["slow burns"]) + len(classes["sudden cascades"]) >= 12
    for name, members in classes.items():
        cascades = {load(scenario_place(member)).expects.cascade for member in members}
        assert cascades == {{"look-alikes": False, "random": None}.get(name, True)}
    assert not {(run.scenario, run.seed) for run in runs} & {(run.scenario, run.seed) for run in heldout}
    random = [run for run in heldout if run.scenario == "random"]
    assert len(random) == 20
    assert {run.size for run in random} == {"small", "medium"}
    assert load_suite("minutes", sizes=["medium"]).runs[0].size == "medium"
    assert classes_of("dev") == {}


def test_only_the_whole_heldout_suite_has_a_day_of_calm() -> None:
    """Its simulation takes a quarter of an hour."""
    day = load_suite("heldout").day

    assert day is not None
    assert (day.duration, load(day.scenario).expects.cascade) == (86_400.0, False)
    assert load_suite("dev").day is None
    assert load_suite("heldout", scenarios=["calm"]).day is None


def test_large_platforms_have_their_own_scenarios_and_seeds() -> None:
    """Four scenarios with two seeds."""
    large = load_suite("heldout", sizes=["large"])

    assert len(large.runs) == 8
    assert large.day is None


def test_a_suite_can_be_restricted() -> None:
    """Other seeds are allowed; an unknown scenario is refused with the list of scenarios."""
    runs = load_suite("dev", sizes=["small"], scenarios=["starve"], seeds=[7]).runs

    assert runs == (Run("starve", "small", 7),)
    with pytest.raises(ValueError, match="no scenario 'storm'; it has outage, starve"):
        load_suite("dev", scenarios=["storm"])


def test_a_fingerprint_changes_with_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its content and its name, also in subfolders; not with compiled bytecode."""
    package = tmp_path / "sample_package"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "data" / "a.csv").write_text("1")
    monkeypatch.syspath_prepend(str(tmp_path))
    fingerprints = [fingerprint(["sample_package"])]
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__" / "x.pyc").write_text("x")
    assert fingerprint(["sample_package"]) == fingerprints[0]

    (package / "data" / "a.csv").write_text("2")
    fingerprints.append(fingerprint(["sample_package"]))
    (package / "data" / "a.csv").rename(package / "data" / "b.csv")
    fingerprints.append(fingerprint(["sample_package"]))

    assert len(set(fingerprints)) == 3
    assert "sample_package" in sys.modules  # it was found by its name


def test_a_scenario_file_of_a_suite_changes_the_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each folder of scenarios makes recordings, without the rest of its package."""
    parts = {
        Path(place).parent.name
        for run in load_suite("minutes").runs
        if (place := scenario_place(run.scenario)) != run.scenario
    }
    assert {f"foreshock_evaluation.suites/{part}" for part in parts} <= set(MAKERS)
    (tmp_path / "sample_suite" / "part").mkdir(parents=True)
    (tmp_path / "sample_suite" / "__init__.py").write_text("")
    (tmp_path / "sample_suite" / "part" / "a.yaml").write_text("1")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = fingerprint(["sample_suite/part"])
    (tmp_path / "sample_suite" / "other.toml").write_text("1")
    assert fingerprint(["sample_suite/part"]) == before
    (tmp_path / "sample_suite" / "part" / "a.yaml").write_text("2")
    assert fingerprint(["sample_suite/part"]) != before


def test_each_scenario_is_simulated_without_its_root_cause_on_its_first_three_small_platforms() -> None:
    """Random seeds are smaller than those of the suite, and take no place from it."""
    chosen = counterfactual_runs(load_suite("minutes").runs)
    small = [run.seed for run in load_suite("minutes").runs if run.scenario == "random" and run.size == "small"]

    assert {run.scenario for run in chosen} == {run.scenario for run in load_suite("minutes").runs}
    assert sorted(run.seed for run in chosen if run.scenario == "random") == small[:3]
    assert {run.seed for run in counterfactual_runs(load_suite("heldout").runs)} == {101, 102, 103}


def test_a_failed_simulation_gives_its_reason(tmp_path: Path) -> None:
    """The last line of `foreshock dev simulate`."""
    with pytest.raises(RecordingError, match="cannot be simulated: there is no scenario 'strave'"):
        ensure_recording(Run("strave", "small", 1), tmp_path)
