"""The evaluation from end to end on a suite of one run, and its usage errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import orjson
import pytest
from tests.conftest import Incident

from foreshock_dashboard.model.query import Query
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Bools
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.replay import worlds
from foreshock_evaluation.command import cache_of, main, recordings_in
from foreshock_evaluation.explain_command import main as explain_main
from foreshock_evaluation.scores.truth import expected_of
from foreshock_evaluation.suites.simulated import LossyMetrics, uniform_hash
from foreshock_simulator.scenarios.load import load

pytestmark = pytest.mark.slow

SUITE = ("--scenarios", "starve", "--size", "small", "--seeds", "3", "--jobs", "1")


@pytest.fixture(name="starve")
def _starve(incident: Incident, tmp_path: Path) -> Path:
    """A folder of one recording, named as the evaluation expects it."""
    (tmp_path / "small-3-starve").symlink_to(incident("starve"), target_is_directory=True)
    return tmp_path


@pytest.mark.parametrize(
    ("main", "lines"),
    [
        (main, ["comma-separated seeds (default: the suite's)", "folder of recordings to score (default: a suite)"]),
        (explain_main, ["--ask SCOPES any of users,all (default: both)", "folder of labeled recordings (repeatable)"]),
    ],
)
def test_help_says_what_an_option_takes_and_its_default(
    main: Callable[[Sequence[str]], int], lines: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In the words of the field."""
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert [line for line in lines if line not in shown] == []


@pytest.mark.soak
def test_a_suite_is_simulated_scored_and_written_into_a_document(tmp_path: Path) -> None:
    """The recording is cached under its name; the document keeps its other text."""
    page = tmp_path / "evaluation.md"
    page.write_text("Before.\n<!-- evaluate dev -->\n<!-- end of evaluate dev -->\nAfter.\n")
    assert main([*SUITE, "--cache", str(tmp_path), "--write-docs", str(page)]) == 0

    (folder,) = (tmp_path / "evaluation").iterdir()
    assert [path.name for path in folder.iterdir()] == ["small-3-starve"]
    text = page.read_text()
    assert text.startswith("Before.\n") and text.endswith("After.\n")  # noqa: PT018
    for part in (
        *("Suite dev: 1 runs", "| starve | 1 |"),
        *("lost with 10%", "burn rate", "EWMA", "max z", "without their root cause | 1.00"),
    ):
        assert part in text


def test_tables_replace_the_lines_between_their_markers(starve: Path) -> None:
    page = starve / "evaluation.md"
    page.write_text("Before.\n<!-- evaluate mine -->\nold\n<!-- end of evaluate mine -->\nAfter.\n")
    flags = ("--recordings", str(starve), "--quick", "--jobs", "1", "--write-docs", str(page), "--section", "mine")
    assert main(flags) == 0

    text = page.read_text()
    assert text.startswith("Before.\n") and text.endswith("After.\n")  # noqa: PT018
    assert "| starve | 1 |" in text
    assert "old" not in text


def test_existing_recordings_are_scored_and_an_unreadable_one_fails_alone(
    starve: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As JSON, with the ground truth of the recording; exit code 1 if a run fails."""
    (starve / "small-4-starve").mkdir()
    (starve / "small-4-starve" / "meta.json").write_text("{}")

    assert main(["--recordings", str(starve), "--quick", "--json", "--jobs", "1"]) == 1

    result = orjson.loads(capsys.readouterr().out)
    truth = orjson.loads((starve / "small-3-starve" / "truth.json").read_bytes())
    (run,) = result["runs"]
    first = min(truth["breached"][victim.split("/")[-1]] for victim in truth["victims"])
    assert (run["run"], run["scored"], run["cascade"]) == ("small-3-starve", True, True)
    assert run["cascade_after_seconds"] == first - truth["onset"]
    assert result["curve"] == []
    (failed,) = result["failed"]
    assert failed["run"] == "small-4-starve"
    assert "it has no truth.json" in failed["error"]


def present(source: RecordedMetrics, metric: str, recording: Recording) -> Bools:
    """Grid points with a sample of the first host within one scrape interval."""
    start, end = recording.meta.start or 0.0, recording.meta.end or 0.0
    matrix = source.fetch(Query(metric, window=9.0), start + 5, end - 600, 10.0)
    rows = [i for i, labels in enumerate(matrix.labels) if dict(labels).get("instance") == "host-1:10877"]
    return np.asarray(~np.isnan(matrix.values[rows]).all(axis=0))


def test_a_tenth_of_the_scrapes_is_lost(starve: Path) -> None:
    """A scrape is lost as a whole; equal seeds lose the same scrapes, other seeds others."""
    with Recording(starve / "small-3-starve") as recording:
        power, memory, again = (
            present(LossyMetrics(recording, 3), metric, recording)
            for metric in ("gpu_power_watts", "gpu_memory_used_bytes", "gpu_power_watts")
        )
        whole = present(RecordedMetrics(recording), "gpu_power_watts", recording)
        other = present(LossyMetrics(recording, 4), "gpu_power_watts", recording)
        ((world, _),) = worlds(recording, source=partial(LossyMetrics, seed=3))

    assert 0.05 < 1 - power.sum() / whole.sum() < 0.16
    assert (power == memory).all()
    assert (power == again).all()
    assert (power != other).any()
    assert not (power & ~whole).any()
    assert len(world.services) == 6


def test_the_hash_is_uniform() -> None:
    """Neighboring keys are uncorrelated."""
    numbers = uniform_hash(np.arange(100_000, dtype=np.uint64))

    counts, _ = np.histogram(numbers, bins=10, range=(0.0, 1.0))
    assert abs(counts - 10_000).max() < 500
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.02


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scenarios", "storm"], "--scenarios: the suite has no scenario 'storm'; it has outage, starve"),
        (["--seeds", "one"], "--seeds: 'one' is not a valid count; use a positive integer"),
        (["--jobs", "0"], "--jobs: '0' is not a valid count; use a positive integer"),
        (["--recordings", "nowhere"], "--recordings: nowhere has no recording in a folder named SIZE-SEED-SCENARIO"),
        (["--write-docs", "nowhere.md"], "--write-docs: nowhere.md: No such file or directory"),
        (
            ["--scenarios", "outage", "--size", "large", "--write-docs", "page.md"],
            "page.md has no lines '<!-- evaluate",
        ),
    ],
)
def test_invalid_options_are_refused_before_the_simulation(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2; the message names the option and the problem."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.md").write_text("Nothing here.\n")

    assert main(["--cache", str(tmp_path / "cache"), *words]) == 2

    assert message in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_recordings_are_cached_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the XDG Base Directory Specification; `--cache` overrides it."""
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_of(None) == Path("/home/ada/.cache/foreshock")
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch")
    assert cache_of(None) == Path("/scratch/foreshock")
    assert cache_of("here") == Path("here")


def test_a_recording_folder_must_be_named_after_its_run(tmp_path: Path) -> None:
    """The name holds size, seed, and scenario."""
    (tmp_path / "starve").mkdir()
    (tmp_path / "starve" / "meta.json").write_text("{}")

    with pytest.raises(ValueError, match="'starve' is not of the form SIZE-SEED-SCENARIO"):
        recordings_in(tmp_path)


@pytest.mark.parametrize(
    ("scenario", "root_causes"),
    [
        ("outage", {Service("product", "assistant-feature")}),
        ("starve", {Service("ml", "batch-embed")}),
        ("retry-storm", {Service("serving", "llm-chat")}),
        ("calm", set()),
    ],
)
def test_the_expected_root_cause_is_a_service(scenario: str, root_causes: set[Service]) -> None:
    """Of a flow, its entry service."""
    expected = expected_of(load(scenario))

    assert expected.root_causes == root_causes
    assert expected.cascade == bool(root_causes)


def test_a_path_is_expected_as_its_edge_or_either_end_and_a_pool_by_its_gpus() -> None:
    path, pool = expected_of(load("packet-loss")), expected_of(load("starve"))

    assert path.edge == (Service("serving", "gateway"), Service("serving", "llm-chat"))
    assert path.root_causes == set(path.edge)
    assert "host-1/gpu-0" in pool.gpus
    assert pool.slos
