"""The evaluation from end to end, on the shortest suite there is, and what it refuses."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from foreshock_dashboard.model.query import Query
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.replay import worlds
from foreshock_evaluation.command import cache_of, main, recordings_in
from foreshock_evaluation.suite import LossyMetrics, uniform_hash
from foreshock_evaluation.truth import expected_of
from foreshock_simulator.scenarios.load import load


@pytest.fixture(scope="module", name="kept")
def _kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of recordings of a suite of one run, and what was written into a document about it."""
    home = tmp_path_factory.mktemp("evaluation")
    page = home / "evaluation.md"
    page.write_text("Before.\n<!-- evaluate dev -->\n<!-- end of evaluate dev -->\nAfter.\n")
    words = ["--scenarios", "starve", "--size", "small", "--seeds", "3", "--jobs", "1"]
    assert main([*words, "--cache", str(home), "--write-docs", str(page)]) == 0
    (folder,) = (home / "evaluation").iterdir()
    return folder, page.read_text()


def test_a_suite_is_simulated_scored_and_written_down(kept: tuple[Path, str]) -> None:
    """The recording is kept under its name; the document has the figures, the other detectors and the rankings."""
    folder, page = kept

    assert [path.name for path in folder.iterdir()] == ["small-3-starve"]
    assert page.startswith("Before.\n") and page.endswith("After.\n")  # noqa: PT018
    for part in (
        "Suite dev: 1 runs",
        "| starve | 1 |",
        "lost with 10 %",
        "burn rate",
        "EWMA",
        "max z",
        "without their culprit | 1.00",
    ):
        assert part in page


def test_kept_recordings_are_scored_again_and_one_that_cannot_be_played_costs_only_itself(
    kept: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without being simulated, as JSON; the truth is that of the recording; exit code 1 where one failed."""
    (tmp_path / "small-3-starve").symlink_to(kept[0] / "small-3-starve", target_is_directory=True)
    (tmp_path / "small-4-starve").mkdir()
    (tmp_path / "small-4-starve" / "meta.json").write_text("{}")

    assert main(["--recordings", str(tmp_path), "--quick", "--json", "--jobs", "1"]) == 1

    told = orjson.loads(capsys.readouterr().out)
    truth = orjson.loads((kept[0] / "small-3-starve" / "truth.json").read_bytes())
    (run,) = told["runs"]
    first = min(truth["breached"][victim.split("/")[-1]] for victim in truth["victims"])
    assert (run["run"], run["scored"], run["cascade"]) == ("small-3-starve", True, True)
    assert run["cascade_after_seconds"] == first - truth["onset"]
    assert told["curve"] == []
    (failed,) = told["failed"]
    assert failed["run"] == "small-4-starve"
    assert "it has no truth.json" in failed["error"]


def seen(source: RecordedMetrics, metric: str, recording: Recording) -> NDArray[np.bool_]:
    """At which grid points the first host's series of a metric had a sample within the last scrape."""
    start, end = recording.meta.start or 0.0, recording.meta.end or 0.0
    found = source.fetch(Query(metric, window=9.0), start + 5, end - 600, 10.0)
    rows = [i for i, labels in enumerate(found.labels) if dict(labels).get("instance") == "host-1:10877"]
    return np.asarray(~np.isnan(found.values[rows]).all(axis=0))


def test_a_tenth_of_the_scrapes_is_missing_whole(kept: tuple[Path, str]) -> None:
    """A scrape is there with all its samples or not at all; the same ones each time, others for another seed."""
    with Recording(kept[0] / "small-3-starve") as recording:
        power, memory, again = (
            seen(LossyMetrics(recording, 3), metric, recording)
            for metric in ("gpu_power_watts", "gpu_memory_used_bytes", "gpu_power_watts")
        )
        whole = seen(RecordedMetrics(recording), "gpu_power_watts", recording)
        other = seen(LossyMetrics(recording, 4), "gpu_power_watts", recording)
        ((world, _),) = worlds(recording, source=partial(LossyMetrics, seed=3))

    assert 0.05 < 1 - power.sum() / whole.sum() < 0.16
    assert (power == memory).all()
    assert (power == again).all()
    assert (power != other).any()
    assert not (power & ~whole).any()
    assert len(world.services) == 6


def test_chance_is_even() -> None:
    """Neighbouring keys have nothing to do with each other."""
    found = uniform_hash(np.arange(100_000, dtype=np.uint64))

    counts, _ = np.histogram(found, bins=10, range=(0.0, 1.0))
    assert abs(counts - 10_000).max() < 500
    assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 0.02


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scenarios", "storm"], "--scenarios: the suite has no scenario 'storm'; it has outage, starve"),
        (["--seeds", "one"], "--seeds: 'one' is not a whole number from 1 on"),
        (["--jobs", "0"], "--jobs: '0' is not a whole number from 1 on"),
        (["--recordings", "nowhere"], "--recordings: nowhere has no recording in a folder named SIZE-SEED-SCENARIO"),
        (["--write-docs", "nowhere.md"], "--write-docs: nowhere.md: No such file or directory"),
        (
            ["--scenarios", "outage", "--size", "large", "--write-docs", "page.md"],
            "page.md has no lines '<!-- evaluate",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_said_before_anything_is_simulated(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, the option and the remedy."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.md").write_text("Nothing here.\n")

    assert main(["--cache", str(tmp_path / "cache"), *words]) == 2

    assert message in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_recordings_are_kept_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the XDG specification, unless another is named."""
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_of(None) == Path("/home/ada/.cache/foreshock")
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch")
    assert cache_of(None) == Path("/scratch/foreshock")
    assert cache_of("here") == Path("here")


def test_a_folder_with_another_name_is_no_recording_of_a_run(tmp_path: Path) -> None:
    """Its size and seed could not be known."""
    (tmp_path / "starve").mkdir()
    (tmp_path / "starve" / "meta.json").write_text("{}")

    with pytest.raises(ValueError, match="'starve' is not of the form SIZE-SEED-SCENARIO"):
        recordings_in(tmp_path)


@pytest.mark.parametrize(
    ("scenario", "culprits"),
    [
        ("outage", {Service("product", "assistant-feature")}),
        ("starve", {Service("ml", "batch-embed")}),
        ("retry-storm", {Service("serving", "llm-chat")}),
        ("calm", set()),
    ],
)
def test_a_culprit_is_told_by_the_name_that_a_detector_can_know(scenario: str, culprits: set[Service]) -> None:
    """A flow by the service that it enters at, tenants and services by their own names."""
    found = expected_of(load(scenario))

    assert found.culprits == culprits
    assert found.cascade == bool(culprits)


def test_a_path_and_a_pool_are_told_by_their_ends_and_gpus() -> None:
    """Either end is right, and the edge."""
    path, pool = expected_of(load("packet-loss")), expected_of(load("starve"))

    assert path.edge == (Service("serving", "gateway"), Service("serving", "llm-chat"))
    assert path.culprits == set(path.edge)
    assert "host-1/gpu-0" in pool.gpus
    assert pool.objectives
