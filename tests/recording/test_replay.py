"""`foreshock recording replay` reports what a hub would have reported live."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.recording.platform import START, counter, openmetrics, wave

from foreshock_dashboard.cli.main import main
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.render.incident_summary import incident_sentence
from foreshock_dashboard.replay.replay import ReplayResult, ReplayTiming, replay, replay_folder, worlds

if TYPE_CHECKING:
    from tests.conftest import Incident
    from tests.recording.conftest import Foreshock, Write


@pytest.fixture(scope="module")
def starve(incident: Incident) -> Path:
    """A recording in which batch work contends for the GPUs of a service."""
    return incident("starve")


@pytest.fixture(scope="module")
def whole(starve: Path) -> ReplayResult:
    """The replay of all of it."""
    return replay_folder(starve)


def test_json_holds_incidents_with_root_cause_and_state_at_the_page(
    starve: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The incident opened after the fault began, and names the right service."""
    assert main(["recording", "replay", str(starve), "-o", "json"]) == 0
    output = json.loads(capsys.readouterr().out)
    truth = json.loads((starve / "truth.json").read_text())
    assert output["version"] == 3
    paged = [incident for incident in output["incidents"] if incident["paged"] is not None]
    assert [incident["at_page"] for incident in output["incidents"] if incident["paged"] is None] == [None] * (
        len(output["incidents"]) - len(paged)
    )
    first = next(incident for incident in paged if truth["onset"] <= incident["opened"])
    assert first["at_page"]["suspect"]["service"].endswith(truth["root_cause"])
    assert first["at_page"]["cause"] == truth["cause"]


def test_text_holds_state_changes_incident_and_evidence(
    starve: Path, whole: ReplayResult, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line per change of state, then the incident in full."""
    assert main(["recording", "replay", str(starve)]) == 0
    text = capsys.readouterr().out
    first = whole.final[0]
    assert text.startswith("2026-01-05 ")
    assert f"\n  ID: {first.id}\n" in text
    assert incident_sentence(first) in text
    assert text.count("  Evidence: ") >= len(first.evidence)


def test_a_replay_does_not_depend_on_later_data(starve: Path, whole: ReplayResult) -> None:
    """A replay up to a time equals a full replay at that time."""
    until = START + 2580.0
    part = replay_folder(starve, until)
    assert part.times[-1] == until
    assert part.history == tuple(state for state in whole.history if state[0] <= until)
    assert len(part.history) < len(whole.history)


def test_too_little_history_is_reported(starve: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a baseline nothing can be detected."""
    assert main(["recording", "replay", str(starve), "--until", str(START + 600)]) == 0
    assert "min of history; the recording contains" in capsys.readouterr().out


def test_a_long_recording_is_evaluated_in_pieces_with_the_same_result(starve: Path, whole: ReplayResult) -> None:
    """Pieces of ten minutes, each with the hour before, equal one World."""
    with Recording(starve) as recording:
        pieces = replay(recording, max_whole_seconds=60.0, piece_seconds=600.0)
    assert pieces.times.tolist() == whole.times.tolist()
    assert [(time, [(item.severity, item.state) for item in now]) for time, now in pieces.history] == [
        (time, [(item.severity, item.state) for item in now]) for time, now in whole.history
    ]
    assert pieces.final == whole.final


def test_every_grid_point_is_evaluated_once(starve: Path) -> None:
    """From the first in the recording to its last."""
    with Recording(starve) as recording:
        (world, first), *more = worlds(recording)
    assert (first, more) == (0, [])
    assert world.times[0] == math.ceil(START / 10) * 10 + 10
    assert set(np.diff(world.times)) == {10.0}


@pytest.mark.parametrize(
    ("interval", "step", "window"), [(5.0, 10.0, 59.0), (15.0, 15.0, 59.0), (300.0, 300.0, 1199.0)]
)
def test_step_and_rate_window_follow_the_scrape_interval(interval: float, step: float, window: float) -> None:
    """The step is at least one interval, the window holds four samples."""
    pace = ReplayTiming.of(interval)
    assert (pace.step, pace.window) == (step, window)


def test_the_scrape_interval_is_estimated_from_the_samples(write: Write) -> None:
    """As the median of the series, whatever is lost or late."""
    chance = np.random.default_rng(1)
    batches = [
        SampleBatch(START + 15.0 * i + chance.uniform(-1, 1), "x", (Sample("up", labels_of({"job": f"j{j}"}), 1.0),))
        for j in range(5)
        for i in range(100)
        if chance.random() > 0.05
    ]
    with Recording(write(sorted(batches, key=lambda batch: batch.time))) as recording:
        assert recording.scrape_interval(default=10.0) == pytest.approx(15.0, abs=0.7)


def test_unknown_metrics_make_no_incident(tmp_path: Path, foreshock: Foreshock) -> None:
    """They are replayed at their own interval."""
    metrics = {"anything_total": {'job="x"': counter(wave(3.0, 1), 300.0)}}
    file = openmetrics(tmp_path / "x.om", metrics, 6 * 3600.0, 300.0)
    assert foreshock("recording", "import", "--openmetrics", file, "--output-dir", tmp_path / "recording") == 0
    played = replay_folder(tmp_path / "recording")
    assert played.final == ()
    assert set(np.diff(played.times)) == {300.0}
    assert foreshock("recording", "replay", tmp_path / "recording") == 0
    assert "No incidents from 2026-01-05 08:00:00 UTC to 2026-01-05 14:00:00 UTC." in foreshock.printed


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: (path / "meta.json").unlink(), "it was not written to its end"),
        (
            lambda path: os.truncate(path / "metrics.parquet", 5000),
            "damaged",
        ),
        (lambda path: (path / "metrics.parquet").unlink(), "copy the whole folder"),
        (shutil.rmtree, "there is no such folder"),
    ],
)
def test_an_unreadable_recording_is_refused_with_the_reason(
    starve: Path, tmp_path: Path, foreshock: Foreshock, spoil: Callable[[Path], object], message: str
) -> None:
    """Truncated, incomplete or missing: one line, exit code 1."""
    path = tmp_path / "copy"
    shutil.copytree(starve, path)
    spoil(path)
    assert foreshock("recording", "replay", path) == 1
    assert message in foreshock.said


def test_a_recording_without_samples_is_refused(write: Write, foreshock: Foreshock) -> None:
    assert foreshock("recording", "replay", write()) == 1
    assert "no samples to evaluate." in foreshock.said


@pytest.mark.parametrize(("until", "code"), [("noon", 2), ("2020-01-01T00:00:00Z", 1)])
def test_an_invalid_end_is_refused(starve: Path, foreshock: Foreshock, until: str, code: int) -> None:
    """The message names it."""
    assert foreshock("recording", "replay", starve, "--until", until) == code
    assert ("--until: 'noon' is not a valid time; use" if code == 2 else "Choose a later time.") in foreshock.said


def test_pools_shows_shared_gpus_and_the_needed_number(starve: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As text and as JSON: the batch job's namespace and the model's share GPUs."""
    assert main(["get", "pools", "--from", str(starve)]) == 0
    text = capsys.readouterr().out
    assert main(["get", "pools", "--from", str(starve), "-o", "json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert [row["tier"] for row in output["tiers"]] == ["ml", "serving"]
    assert all(row["needed"] >= row["load"] for row in output["tiers"])
    shared = {row["gpu"] for row in output["mixed"]}
    assert shared
    assert all(row["tiers"].keys() == {"ml", "serving"} for row in output["mixed"])
    lines = [line.split() for line in text.splitlines()]
    assert {line[0] for line in lines if line[-4:-2] == ["ml:", "ml/batch-embed;"]} == shared


def test_a_report_is_written_with_plots_beside_it_or_embedded(
    starve: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As files with links, or as one text for a terminal."""
    out = tmp_path / "outage.md"
    assert main(["incident", "report", "latest", "--from", str(starve), "--output-file", str(out)]) == 0
    text = out.read_text()
    assert re.fullmatch(rf"{re.escape(str(out))}: Incident \S+, [1-9] plots next to it\n", capsys.readouterr().out)
    named = re.findall(r"\]\((\S+\.svg)\)", text)
    assert sorted(named) == sorted(path.name for path in tmp_path.glob("*.svg"))
    assert all((tmp_path / name).read_text().startswith("<svg ") for name in named)
    assert main(["incident", "report", "latest", "--from", str(starve)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("](data:image/svg+xml;base64,") == len(named)
    assert printed.partition("\n")[0] == text.partition("\n")[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [(("nothing",), "no incident 'nothing'"), (("latest", "--output-file", "meta.json"), "exists")],
)
def test_a_report_that_cannot_be_written_names_the_reason(
    starve: Path, foreshock: Foreshock, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    """No such incident, or an existing file, which is not changed."""
    monkeypatch.chdir(starve)
    before = Path("meta.json").read_bytes()
    assert foreshock("incident", "report", *words, "--from", ".") == 1
    assert message in foreshock.said
    assert Path("meta.json").read_bytes() == before
    assert not [*Path().glob("*.svg")]


def test_a_closed_pipe_ends_the_command_quietly(starve: Path) -> None:
    """As in `foreshock recording replay DIR | head`."""
    command = f"{sys.executable} -m foreshock_dashboard recording replay {starve} -o json | head -c 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=300, check=False)
    assert (done.stdout, done.stderr) == ("{", "")


def test_seasonality_is_learned_within_a_month(tmp_path: Path) -> None:
    """From the third week on a Monday is compared with earlier Mondays."""
    step, busy = 300.0, 13 * 3600.0
    rates = [5.0 if busy <= at % DAY_SECONDS < busy + 7200.0 else 2.0 for at in np.arange(0, 16 * DAY_SECONDS, step)]
    totals = step * np.cumsum(rates)
    labels = 'service_name="chat",service_namespace="serving",span_kind="SPAN_KIND_SERVER"'
    served = {"traces_span_metrics_calls_total": {labels: lambda _, time: float(totals[int(time / step)])}}
    file = openmetrics(tmp_path / "month.om", served, 15.9 * DAY_SECONDS, step)
    assert main(["recording", "import", "--openmetrics", str(file), "--output-dir", str(tmp_path / "month")]) == 0

    with closing(Recording(tmp_path / "month")) as recording:
        *_, (world, _) = worlds(recording)

    chat = Service("serving", "chat")
    assert world.season.of(chat, START + 15 * DAY_SECONDS + busy + 600.0).growth == pytest.approx(2.5, rel=0.1)
    assert world.season.of(chat, START + 15 * DAY_SECONDS + busy - 7200.0).growth == pytest.approx(1.0, rel=0.1)
