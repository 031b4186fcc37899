"""Feedback on an incident becomes the ground truth of a recording, which the evaluation reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.web.worlds import NOW, SCENES, FakeHub

from foreshock_dashboard.cli.main import main
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.recording.meta import TRUTH
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.response import entries
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.http.server import WebServer
from foreshock_evaluation.explanations.incident import read_incident
from foreshock_evaluation.scores.truth import read_truth
from foreshock_evaluation.suites.lab import lab_runs


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with an open incident, at the address of FORESHOCK_HUB."""
    seen = FakeHub(SCENES["contended"]())
    with closing(WebServer(create_app(seen, version="1.2.3"), "127.0.0.1", 0)) as server:
        server.start()
        monkeypatch.setenv("FORESHOCK_HUB", server.url)
        yield seen


def recorded(folder: Path) -> Path:
    """A recording of a minute."""
    with RecordingWriter(folder) as writer:
        for at in (NOW - 60, NOW):
            writer.add_batch(SampleBatch(at, "job", (Sample("up", labels_of({"job": "a"}), 1.0),)))
    return folder


def test_feedback_labels_a_recording_for_the_evaluation(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last feedback counts, also if it came after the recording; without a real cause there is no truth."""
    folder = recorded(tmp_path / "incident")
    incident = hub.snapshot.incidents[0]
    assert main(["recording", "label", str(folder)]) == 1
    assert "Give feedback first" in capsys.readouterr().err
    hub.journal.append("incident", NOW + 600, "dana", entries.feedback(incident.id, "wrong_cause", None, None, ""))
    assert main(["recording", "label", str(folder)]) == 1
    assert "does not name the actual cause" in capsys.readouterr().err
    said = entries.feedback(incident.id, "wrong_cause", "network", Service("ml", "switch"), "")
    hub.journal.append("incident", NOW + 700, "dana", said)
    assert main(["recording", "label", str(folder)]) == 0
    assert "wrong cause, it was ml/switch (network)" in capsys.readouterr().out

    truth, labeled = read_truth(folder), read_incident(folder)
    assert (truth.onset, truth.cause, truth.origin) == (incident.since, "network", Service("ml", "switch"))
    assert labeled.root_causes == {Service("ml", "switch")}
    assert labeled.asked == incident.service
    [run] = lab_runs(tmp_path)
    assert run.expected.root_causes == {Service("ml", "switch")}
    assert truth.cascaded == run.expected.cascade


def test_feedback_on_a_cause_that_was_not_stated_is_no_truth(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At low confidence the page named candidates only; as feedback on a stated cause, it is."""
    folder = recorded(tmp_path / "incident")
    stated = hub.snapshot.incidents[0]
    hub.journal.append("incident", NOW + 600, "dana", entries.feedback(stated.id, "correct", None, None, ""))
    hub.snapshot = replace(hub.snapshot, incidents=(replace(stated, confidence=0.49),))
    assert main(["recording", "label", str(folder)]) == 1
    assert "states no cause" in capsys.readouterr().err
    assert not (folder / TRUTH).exists()
    hub.snapshot = replace(hub.snapshot, incidents=(stated,))
    assert main(["recording", "label", str(folder)]) == 0
    assert read_truth(folder).origin == stated.suspect.service
