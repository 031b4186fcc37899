"""Scores of explain on labeled recordings: questions, baselines, and shares."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pytest

from foreshock_dashboard.analysis.root_cause import parameters
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.recording.meta import RecordingError, RecordingMeta
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_evaluation.explain_command import main
from foreshock_evaluation.explanations.cross_validation import CHOICES, IN_USE, Trial, cross_validation, try_all
from foreshock_evaluation.explanations.incident import labeled_recordings, read_incident
from foreshock_evaluation.explanations.questions import fault_questions, quiet_questions
from foreshock_evaluation.explanations.rankers import robust_scores, sigma_scores
from foreshock_evaluation.explanations.report import method_table, summarize
from foreshock_evaluation.explanations.scoring import METHODS, OURS, Answer, Task, services_of, signal_sets

START, ONSET, END = 1_790_000_000.0, 1_790_001_800.0, 1_790_002_400.0
TRUTH: Json = {
    "scenario": "cpu",
    "kind": "cpu",
    "seed": 1,
    "start": START,
    "end": END,
    "onset": ONSET,
    "root_cause": "cart",
    "asked": "front",
}


def labeled(folder: Path, **truth: object) -> Path:
    """A recording of CPU and latency of three services at 10 s resolution, of which `cart` gets busy at the onset."""
    times = np.arange(START, END + 1, 10.0)
    random = np.random.default_rng(7)
    with RecordingWriter(folder, RecordingMeta()) as writer:
        for service in ("front", "cart", "ads"):
            busy = 0.2 + 0.01 * random.standard_normal(len(times))
            busy[(times >= ONSET) & (service == "cart")] = 0.9
            labels = (("container", service), ("namespace", "shop"), ("pod", f"{service}-0"))
            for metric, values in (("app_busy_ratio", busy), ("app_latency_seconds", busy / 10)):
                number = writer.series(metric, labels)
                writer.add(np.full(len(times), number, np.int32), np.rint(times * 1000).astype(np.int64), values)
        writer.add_ground_truth({**TRUTH, **truth})
    return folder


def test_a_labeled_recording_says_what_was_injected_and_who_asks(tmp_path: Path) -> None:
    """Missing keys have defaults; users notice at the onset unless the truth says otherwise."""
    folder = labeled(tmp_path / "nested" / "one", noticed=ONSET + 30)
    assert [*labeled_recordings(tmp_path)] == [folder]
    incident = read_incident(folder)
    assert (incident.kind, incident.asked, incident.time) == ("cpu", Service("", "front"), ONSET + 30)
    assert incident.is_root_cause(Service("shop", "cart"))
    assert not incident.is_root_cause(Service("shop", "front"))


def test_truth_that_cannot_be_read_names_the_recording(tmp_path: Path) -> None:
    """The message has the folder."""
    folder = labeled(tmp_path / "one")
    (folder / "truth.json").write_bytes(orjson.dumps({"scenario": "cpu"}))
    with pytest.raises(RecordingError, match=r"one: truth\.json cannot be used"):
        read_incident(folder)


def test_a_path_between_services_has_two_right_ends(tmp_path: Path) -> None:
    """Either end of a network path is a right answer."""
    incident = read_incident(labeled(tmp_path / "one", root_cause="front -> cart"))
    assert incident.root_causes == {Service("", "front"), Service("", "cart")}


def test_quiet_questions_keep_away_from_known_faults(tmp_path: Path) -> None:
    """Windows before the fault count unless another fault is near; their data ends before the onset."""
    services = [Service("", name) for name in ("front", "cart", "ads")]
    incident = read_incident(labeled(tmp_path / "one"))
    questions = quiet_questions(incident, START, END, services, ("users",), live=False)
    assert questions
    assert all(item.at < ONSET and item.end < ONSET for item in questions)
    near = read_incident(labeled(tmp_path / "two", faults=[{"start": ONSET - 300, "end": ONSET - 60}]))
    assert quiet_questions(near, START, END, services, ("users",), live=False) == []


def test_a_live_question_hides_what_came_after_it(tmp_path: Path) -> None:
    """Otherwise, the answer may use all of the recording."""
    incident = read_incident(labeled(tmp_path / "one"))
    assert {item.end for item in fault_questions(incident, END, (0, 60), ("users",), live=True)} == {ONSET, ONSET + 60}
    assert {item.end for item in fault_questions(incident, END, (0, 60), ("users",), live=False)} == {END}


@pytest.mark.parametrize(("scorer", "expected"), [(robust_scores, 4.0), (sigma_scores, 8.0)])
def test_scorers_measure_the_distance_in_scales(scorer: Callable[[Floats, int], Floats], expected: float) -> None:
    """Here the quartiles are 2 apart, and the standard deviation is 1; rows without enough points score 0."""
    past = [1.0, 3.0, 1.0, 3.0, 1.0, 3.0]
    values = np.array([[*past, 2.0, 10.0], [*past, 2.0, 2.0], [math.nan] * 6 + [1.0, 9.0]])
    assert scorer(values, 6) == pytest.approx([expected, 0.0, 0.0])


def test_the_command_scores_every_method_on_faults_and_fault_free_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The JSON has a row per method, and the robust scorer finds a service whose CPU and latency jump."""
    labeled(tmp_path / "recordings" / "one")
    assert main(["--recordings", str(tmp_path / "recordings"), "--offsets", "60", "--jobs", "1", "--json"]) == 0
    report = orjson.loads(capsys.readouterr().out)
    rows = {row["method"]: row for row in report["methods"] if row["group"][2] == "all services"}
    assert rows.keys() == set(METHODS)
    assert rows["robust scorer"]["top"][0] == 1.0
    assert rows[OURS]["quiet"] == 1


def test_signals_can_be_scored_separately(tmp_path: Path) -> None:
    """Of a recording with both, traces alone are the metrics counted from spans, and metrics alone are the others."""
    with RecordingWriter(tmp_path / "one", RecordingMeta()) as writer:
        for metric in ("traces_span_metrics_calls_total", "app_busy_ratio"):
            number = writer.series(metric, (("service_name", "cart"),))
            writer.add(np.array([number], np.int32), np.array([1000], np.int64), np.array([1.0]))
    with Recording(tmp_path / "one") as recording:
        sets = {name: source.metric_names() for name, source in signal_sets(RecordedMetrics(recording), separate=True)}
        assert services_of(recording) == [Service("", "cart")]
    assert sets["traces"] == {"traces_span_metrics_calls_total"}
    assert sets["metrics"] == {"app_busy_ratio"}
    assert sets["both"] == sets["traces"] | sets["metrics"]


def test_a_folder_without_labeled_recordings_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the option."""
    assert main(["--recordings", str(tmp_path)]) == 2
    assert "--recordings" in capsys.readouterr().err


def test_empty_answers_to_fault_free_questions_are_specific() -> None:
    """Specificity is the share of fault-free questions without an answer, for the same signals and asker."""
    fault = Answer("one", "shop", "cpu", "metrics", "users", 0.0, OURS, (1.0, 1.0, 1.0), empty=False)
    quiet = [fault._replace(kind="fault-free", offset=None, hits=(0.0,) * 3, empty=empty) for empty in (True, False)]
    report = summarize("title", [fault, *quiet], [])
    row = next(row for row in report.methods if row.method == OURS)
    assert (row.top, row.empty, row.specificity, row.quiet) == ((1.0, 1.0, 1.0), 0.0, 0.5, 2)


def test_answers_of_low_confidence_are_counted_in_both_ways() -> None:
    """A table shows the share of fault-free questions without an answer, and without one above low confidence."""
    fault = Answer("one", "shop", "cpu", "metrics", "users", 0.0, OURS, (1.0, 1.0, 1.0), empty=False)
    answered = fault._replace(kind="fault-free", offset=None, hits=(0.0,) * 3)
    report = summarize("title", [fault, answered, answered._replace(above_low=True)], [])
    head, line = method_table([row for row in report.methods if row.method == OURS])
    cells = dict(zip(head, line, strict=True))
    assert (cells["specificity"], cells["none above low confidence"]) == ("0.00", "0.50")
    (baseline,) = [row for row in report.methods if row.method == "N-sigma"]
    assert math.isnan(baseline.at_most_low)


def trial(system: str, *, is_fault: bool, passes_up_to: float) -> Trial:
    """A question that is answered, rightly, by gates up to a value."""
    answered = tuple(values.gate_z <= passes_up_to for values in CHOICES)
    return Trial(system, is_fault, answered if is_fault else (False,) * len(CHOICES), answered)


def test_the_gate_is_chosen_on_the_other_systems_only() -> None:
    """Where these have false answers up to a gate of 4, the one left out loses its faults between 4 and 4.2."""
    noisy = [trial("noisy", is_fault=True, passes_up_to=9.0), trial("noisy", is_fault=False, passes_up_to=4.0)]
    quiet = [trial("quiet", is_fault=True, passes_up_to=4.0), trial("quiet", is_fault=False, passes_up_to=0.0)]
    header, left_noisy, left_quiet = cross_validation([*noisy, *quiet])
    assert header[:2] == ["left out", "chosen on the others"]
    assert left_noisy == ["noisy", "3.4 / 0.2 / 0.4", "1.00 / 0.00 / 0.00", "1.00 / 0.00 / 1.00", "1", "1"]
    assert left_quiet == ["quiet", "4.2 / 0.4 / 0.5", "0.00 / 1.00 / 1.00", "0.00 / 1.00 / 1.00", "1", "1"]


def test_all_signals_of_a_system_are_left_out_together() -> None:
    """They are of the same faults, which would choose the values for themselves."""
    shop = [trial(f"shop, {signals}", is_fault=True, passes_up_to=3.4) for signals in ("traces", "metrics")]
    noise = [trial("desk, both", is_fault=False, passes_up_to=4.0)]
    chosen = {row[0]: row[1] for row in cross_validation([*shop, *noise])[1:]}
    assert chosen["shop, traces"] == chosen["shop, metrics"] == "4.2 / 0.4 / 0.5"


def test_the_values_in_use_are_among_the_choices_once() -> None:
    """Also where they are not on the grid."""
    assert CHOICES.count(IN_USE) == 1


def test_a_cross_validation_leaves_the_values_in_use_as_they_are(tmp_path: Path) -> None:
    """It asks about a recording under all values."""
    task = Task(labeled(tmp_path / "one", topology="shop-1"), (60.0,), ("users",), live=False, separate=False)
    before = parameters.GATE_Z, parameters.SYMPTOM_WEIGHT, parameters.GATE_WEIGHTS
    found = try_all(task)
    assert before == (parameters.GATE_Z, parameters.SYMPTOM_WEIGHT, parameters.GATE_WEIGHTS)
    assert [item.right for item in found if item.is_fault] == [(True,) * len(CHOICES)]
    assert {item.system for item in found} == {"shop, metrics"}
