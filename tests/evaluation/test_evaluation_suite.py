"""The frozen suites, and the recordings that are kept of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from foreshock_dashboard.recording.errors import RecordingError
from foreshock_evaluation.outcome import Run
from foreshock_evaluation.suite import ensure_recording, fingerprint, instant_scenarios, load_suite
from foreshock_simulator.scenarios.load import load, names


def test_every_scenario_is_in_both_suites_on_both_sizes() -> None:
    """On two seeds to tune on, and five others."""
    dev, heldout = load_suite("dev"), load_suite("heldout")

    assert {run.scenario for run in dev.runs} == {run.scenario for run in heldout.runs} == set(names())
    assert {run.size for run in heldout.runs} == {"small", "medium"}
    assert not {run.seed for run in dev.runs} & {run.seed for run in heldout.runs}
    assert len(heldout.runs) == len(names()) * 2 * 5


def test_what_cannot_be_warned_of_is_a_cascade() -> None:
    """And is in the suite."""
    assert instant_scenarios()
    assert all(load(name).expects.cascade for name in instant_scenarios())


def test_only_the_whole_heldout_suite_has_a_day_of_calm() -> None:
    """Which takes a quarter of an hour to simulate."""
    day = load_suite("heldout").day

    assert day is not None
    assert (day.duration, load(day.scenario).expects.cascade) == (86_400.0, False)
    assert load_suite("dev").day is None
    assert load_suite("heldout", scenarios=["calm"]).day is None


def test_large_platforms_are_a_part_of_their_own() -> None:
    """Two seeds of four scenarios."""
    large = load_suite("heldout", sizes=["large"])

    assert len(large.runs) == 8
    assert large.day is None


def test_a_part_of_a_suite_may_be_asked_for() -> None:
    """Other seeds as well; what is not in it is named with what is."""
    runs = load_suite("dev", sizes=["small"], scenarios=["starve"], seeds=[7]).runs

    assert runs == (Run("starve", "small", 7),)
    with pytest.raises(ValueError, match="no scenario 'storm'; it has outage, starve"):
        load_suite("dev", scenarios=["storm"])


def test_a_fingerprint_changes_with_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text, its name, and those in folders; not with what Python keeps beside them."""
    package = tmp_path / "recorded_things"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "data" / "a.csv").write_text("1")
    monkeypatch.syspath_prepend(str(tmp_path))
    seen = [fingerprint(["recorded_things"])]
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__" / "x.pyc").write_text("x")
    assert fingerprint(["recorded_things"]) == seen[0]

    (package / "data" / "a.csv").write_text("2")
    seen.append(fingerprint(["recorded_things"]))
    (package / "data" / "a.csv").rename(package / "data" / "b.csv")
    seen.append(fingerprint(["recorded_things"]))

    assert len(set(seen)) == 3
    assert "recorded_things" in sys.modules  # it was found by its name


def test_a_run_that_cannot_be_simulated_says_why(tmp_path: Path) -> None:
    """In the words of `foreshock simulate`."""
    with pytest.raises(RecordingError, match="cannot be simulated: foreshock: there is no scenario 'strave'"):
        ensure_recording(Run("strave", "small", 1), tmp_path)
