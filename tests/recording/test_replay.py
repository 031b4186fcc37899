"""`foreshock replay` tells of a recording what a hub would have told while it happened."""

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
from foreshock_dashboard.cli.replay import played_text
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.model.seasonality import DAY_SECONDS
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.render.incident_summary import incident_sentence
from foreshock_dashboard.replay import replay
from foreshock_dashboard.replay.replay import ReplayResult, ReplayTiming, replay_folder, worlds

if TYPE_CHECKING:
    from tests.recording.conftest import Foreshock, Incident, Write


@pytest.fixture(scope="module")
def starve(incident: Incident) -> Path:
    """A recording in which batch work takes the GPUs of a service."""
    return incident("starve")


@pytest.fixture(scope="module")
def whole(starve: Path) -> ReplayResult:
    """All that is told of it."""
    return replay_folder(starve)


def test_an_incident_is_told_with_its_culprit_victims_and_what_it_said_when_it_paged(
    starve: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As JSON, complete: it opened after the fault began, and names who did it."""
    assert main(["replay", str(starve), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    truth = json.loads((starve / "truth.json").read_text())
    assert told["version"] == 1
    paged = [each for each in told["incidents"] if each["paged"] is not None]
    assert [each["at_page"] for each in told["incidents"] if each["paged"] is None] == [None] * (
        len(told["incidents"]) - len(paged)
    )
    first = next(each for each in paged if truth["onset"] <= each["opened"])
    assert first["at_page"]["culprit"]["service"].endswith(truth["culprit"])
    assert first["at_page"]["cause"] == truth["cause"]


def test_people_read_when_its_state_changed_what_it_is_and_on_what_evidence(
    starve: Path, whole: ReplayResult, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for each change of state, then the incident in full."""
    assert main(["replay", str(starve)]) == 0
    text = capsys.readouterr().out
    first = whole.final[0]
    assert text.startswith("2026-01-05 ")
    assert f"\n{first.id}\n" in text
    assert incident_sentence(first) in text
    assert text.count("usually") >= len(first.evidence)


def test_what_was_known_at_a_time_does_not_depend_on_what_came_later(starve: Path, whole: ReplayResult) -> None:
    """A replay up to then tells what a replay of all told then."""
    until = START + 2580.0
    part = replay_folder(starve, until)
    assert part.times[-1] == until
    assert part.history == tuple(each for each in whole.history if each[0] <= until)
    assert len(part.history) < len(whole.history)


def test_with_too_little_history_it_says_so(starve: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was found since nothing could be."""
    assert main(["replay", str(starve), "--until", str(START + 600)]) == 0
    assert "min of history that a baseline needs" in capsys.readouterr().out


def test_a_long_recording_is_judged_in_pieces_with_the_same_result(
    starve: Path, whole: ReplayResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one World of the whole tells is what Worlds of ten minutes tell, each with the hour before."""
    monkeypatch.setattr(replay, "MAX_WHOLE_SECONDS", 60.0)
    monkeypatch.setattr(replay, "PIECE_SECONDS", 600.0)
    pieces = replay_folder(starve)
    assert pieces.times.tolist() == whole.times.tolist()
    assert [(time, [item.phase for item in now]) for time, now in pieces.history] == [
        (time, [item.phase for item in now]) for time, now in whole.history
    ]
    assert pieces.final == whole.final


def test_every_grid_point_is_judged_once(starve: Path) -> None:
    """From the first in the recording to its last."""
    with Recording(starve) as recording:
        (world, first), *more = worlds(recording)
    assert (first, more) == (0, [])
    assert world.times[0] == math.ceil(START / 10) * 10 + 10
    assert set(np.diff(world.times)) == {10.0}


@pytest.mark.parametrize(
    ("interval", "step", "window"), [(5.0, 10.0, 59.0), (15.0, 15.0, 59.0), (300.0, 300.0, 1199.0)]
)
def test_the_grid_follows_the_samples(interval: float, step: float, window: float) -> None:
    """No finer than they come, and a rate looks at four of them."""
    pace = ReplayTiming.of(interval)
    assert (pace.step, pace.window) == (step, window)


def test_how_far_apart_samples_are_is_found_where_the_recording_does_not_say(write: Write) -> None:
    """By what most of its series do, whatever is lost or late."""
    chance = np.random.default_rng(1)
    batches = [
        SampleBatch(START + 15.0 * i + chance.uniform(-1, 1), "x", (Sample("up", labels_of({"job": f"j{j}"}), 1.0),))
        for j in range(5)
        for i in range(100)
        if chance.random() > 0.05
    ]
    with Recording(write(sorted(batches, key=lambda batch: batch.time))) as recording:
        assert recording.scrape_interval(default=10.0) == pytest.approx(15.0, abs=0.7)


def test_metrics_that_nobody_knows_of_make_no_incident(tmp_path: Path, foreshock: Foreshock) -> None:
    """It is replayed all the same, at the pace of its samples."""
    metrics = {"anything_total": {'job="x"': counter(wave(3.0, 1), 300.0)}}
    file = openmetrics(tmp_path / "x.om", metrics, 6 * 3600.0, 300.0)
    assert foreshock("import", "--openmetrics", file, "--out", tmp_path / "recording") == 0
    played = replay_folder(tmp_path / "recording")
    assert played.final == ()
    assert set(np.diff(played.times)) == {300.0}
    assert played_text(played).startswith("No incident from 2026-01-05 08:00:00 UTC to 2026-01-05 14:00:00 UTC.")


@pytest.mark.parametrize(
    ("spoil", "said"),
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
def test_what_cannot_be_read_is_refused_with_a_reason(
    starve: Path, tmp_path: Path, foreshock: Foreshock, spoil: Callable[[Path], object], said: str
) -> None:
    """Cut in the middle, half-written or gone: one line, exit code 1."""
    path = tmp_path / "copy"
    shutil.copytree(starve, path)
    spoil(path)
    assert foreshock("replay", path) == 1
    assert said in foreshock.said


def test_a_recording_without_samples_is_refused(write: Write, foreshock: Foreshock) -> None:
    """Nothing can be judged by nothing."""
    assert foreshock("replay", write()) == 1
    assert "nothing can be judged by that" in foreshock.said


@pytest.mark.parametrize(("until", "code"), [("noon", 2), ("2020-01-01T00:00:00Z", 1)])
def test_an_end_that_makes_no_sense_is_refused(starve: Path, foreshock: Foreshock, until: str, code: int) -> None:
    """It is named."""
    assert foreshock("replay", starve, "--until", until) == code
    assert ("'noon' is neither" if code == 2 else "name a later time") in foreshock.said


def test_pools_tells_where_tiers_meet_and_how_few_gpus_would_do(
    starve: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As text and as JSON: the batch job's namespace and the model's share GPUs."""
    assert main(["pools", "--recording", str(starve)]) == 0
    text = capsys.readouterr().out
    assert main(["pools", "--recording", str(starve), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["tier"] for row in told["tiers"]] == ["ml", "serving"]
    assert all(row["needed"] >= row["load"] for row in told["tiers"])
    shared = {row["gpu"] for row in told["mixed"]}
    assert shared
    assert all(row["tiers"].keys() == {"ml", "serving"} for row in told["mixed"])
    assert f"{len(shared)} GPUs are shared by several tiers:" in text
    assert all(f"  {gpu}  ml: ml/batch-embed; serving: " in text for gpu in shared)


def test_a_report_is_written_with_its_plots_beside_it_or_within(
    starve: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As files that name each other, or in one piece for a terminal."""
    out = tmp_path / "outage.md"
    assert main(["report", "latest", "--recording", str(starve), "--out", str(out)]) == 0
    text = out.read_text()
    assert re.fullmatch(rf"{re.escape(str(out))}: \S+, [1-9] plots beside it\n", capsys.readouterr().out)
    named = re.findall(r"\]\((\S+\.svg)\)", text)
    assert sorted(named) == sorted(path.name for path in tmp_path.glob("*.svg"))
    assert all((tmp_path / name).read_text().startswith("<svg ") for name in named)
    assert main(["report", "latest", "--recording", str(starve)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("](data:image/svg+xml;base64,") == len(named)
    assert printed.partition("\n")[0] == text.partition("\n")[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [(("nothing",), "no incident begins with 'nothing'"), (("latest", "--out", "meta.json"), "exists")],
)
def test_a_report_that_cannot_be_written_says_why(
    starve: Path, foreshock: Foreshock, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    """No such incident, or a file that is there already and is kept."""
    monkeypatch.chdir(starve)
    before = Path("meta.json").read_bytes()
    assert foreshock("report", *words, "--recording", ".") == 1
    assert said in foreshock.said
    assert Path("meta.json").read_bytes() == before
    for plot in Path().glob("*.svg"):
        plot.unlink()


def test_a_reader_that_wants_no_more_is_no_failure_worth_a_traceback(starve: Path) -> None:
    """`foreshock replay DIR | head`: it ends quietly."""
    command = f"{sys.executable} -m foreshock_dashboard replay {starve} --json | head -c 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=300, check=False)
    assert (done.stdout, done.stderr) == ("{", "")


def test_a_month_tells_what_every_day_brings(tmp_path: Path) -> None:
    """From the third week on a Monday is held against the Mondays before."""
    step, busy = 300.0, 13 * 3600.0
    rates = [5.0 if busy <= at % DAY_SECONDS < busy + 7200.0 else 2.0 for at in np.arange(0, 16 * DAY_SECONDS, step)]
    totals = step * np.cumsum(rates)
    labels = 'service_name="chat",service_namespace="serving",span_kind="SPAN_KIND_SERVER"'
    served = {"traces_span_metrics_calls_total": {labels: lambda _, time: float(totals[int(time / step)])}}
    file = openmetrics(tmp_path / "month.om", served, 15.9 * DAY_SECONDS, step)
    assert main(["import", "--openmetrics", str(file), "--out", str(tmp_path / "month")]) == 0

    with closing(Recording(tmp_path / "month")) as recording:
        *_, (world, _) = worlds(recording)

    chat = Service("serving", "chat")
    assert world.season.of(chat, START + 15 * DAY_SECONDS + busy + 600.0).growth == pytest.approx(2.5, rel=0.1)
    assert world.season.of(chat, START + 15 * DAY_SECONDS + busy - 7200.0).growth == pytest.approx(1.0, rel=0.1)
