"""Streams: the recordings of one system without what they have in common, and the same recordings cut out again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from foreshock_dashboard.model.samples import labels_of
from foreshock_dashboard.recording.meta import RecordingError, RecordingMeta
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_evaluation.streams.codec import SeriesSamples, decode, encode
from foreshock_evaluation.streams.stream import FAULTS, SAMPLES, cut, ensure_cut, merge, read_faults
from foreshock_evaluation.suites.lab import lab_runs
from foreshock_lab.__main__ import parser_of_commands
from foreshock_lab.commands.merge import merge_systems

START = 1_796_099_804_515
"""Milliseconds of the first scrape."""
SCRAPES = 720
Samples = dict[tuple[str, str], list[tuple[int, float]]]


def series(metric: str, values: list[float], *, instance: str = "a:1", first: int = 0, hole: int = 0) -> SeriesSamples:
    """A series that is scraped every 10 s from its scrape `first` on, without some scrapes after its second one."""
    places = first + np.arange(len(values))
    places[2:] += hole
    labels = labels_of({"job": "shop", "instance": instance, "path": "ä"})
    return SeriesSamples(metric, labels, START + 10_000 * places, np.array(values))


@pytest.mark.parametrize(
    "values",
    [
        [0.0, 3.0, 3.0, 500.0, 1e9],
        [7.0, 2.0, -4.0],
        [0.25, 0.2501, 1234567.8912],
        [math.nan, math.inf, -math.inf, 0.1],
        [9.2e18, 1e300, 5e-324],
        [1.0],
    ],
    ids=["counter", "falling", "fractions", "not finite", "huge and tiny", "one sample"],
)
def test_samples_survive(values: list[float]) -> None:
    """Also beside series of the same target and of another one, which begin later or lack scrapes."""
    given = [
        series("one", values),
        series("other", values, hole=3),
        series("later", values, first=4),
        series("one", values, instance="b:1", first=1),
    ]

    found = {item[:2]: item for item in decode(encode(given))}

    assert len(found) == len(given)
    for item in given:
        _, _, times, read = found[item[:2]]
        np.testing.assert_array_equal(times, item.times)
        np.testing.assert_array_equal(read, item.values)


def test_values_that_are_not_whole_are_rounded_without_drift() -> None:
    sums = np.cumsum(np.full(SCRAPES, 0.123456789))

    [found] = decode(encode([series("seconds_sum", sums.tolist())]))

    assert np.abs(found.values - sums).max() <= 0.00005 * (1 + 1e-9)


def test_no_series_are_no_samples() -> None:
    assert [*decode(encode([]))] == []


def test_buckets_of_two_hours_take_a_fraction_of_their_samples() -> None:
    """Counts of a few requests in each scrape take less than a byte each."""
    rng = np.random.default_rng(1)
    buckets = [series(f"bucket{i}", np.cumsum(rng.poisson(0.3, SCRAPES)).astype(float).tolist()) for i in range(20)]

    assert len(encode(buckets)) < 20 * SCRAPES / 3


# --- streams


def truth(
    kind: str,
    start: float,
    onset: float,
    end: float,
    *others: tuple[float, float],
    **more: Any,  # noqa: ANN401 - JSON
) -> dict[str, Any]:
    """Ground truth of a fault; seconds after the first scrape."""
    first = START / 1000
    return {
        "kind": kind,
        "scenario": f"{kind}-2",
        "strength": 2,
        "seed": 11,
        "topology": "shop-11",
        "split": "dev",
        "start": first + start,
        "onset": first + onset,
        "end": first + end,
        "root_cause": "shop/cart",
        "also_right": [],
        "develops_seconds": 180.0,
        "lookalike": False,
        "faults": [{"start": first + begin, "end": first + over} for begin, over in others],
    } | more


def write(path: Path, labeled: dict[str, Any]) -> Path:
    """A recording of the laboratory: scrapes every 10 s within its time, but for that of other faults."""
    with RecordingWriter(path, RecordingMeta(scrape_interval=10.0)) as writer:
        for place in range(SCRAPES):
            time = START / 1000 + 10 * place
            left_out = any(item["start"] < time <= item["end"] for item in labeled["faults"])
            if labeled["start"] < time <= labeled["end"] and not left_out:
                for number, metric in enumerate(("up", "requests_total", "request_seconds_sum")):
                    index = writer.series(metric, labels_of({"job": "shop", "instance": "a:1"}))
                    value = (1.0, 3.0 * place, 0.0625 * place)[number]
                    writer.add(np.array([index], np.int32), np.array([round(time * 1000)]), np.array([value]))
        writer.add_ground_truth(labeled)
    return path


def samples_of(path: Path) -> Samples:
    """Samples of a recording by series."""
    with Recording(path) as recording:
        times, values = recording.rows(0, recording.series[-1].last)
        return {
            (one.metric, str(one.labels)): [*zip(times[part].tolist(), values[part].tolist(), strict=True)]
            for one in recording.series
            for part in (slice(one.first, one.last),)
        }


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    """Of two faults of a system, the second without the first."""
    return [
        write(tmp_path / "made" / "first", truth("hang", 0, 1900, 2155)),
        write(tmp_path / "made" / "second", truth("cpu-limit", 300, 2800, 3100, (1900, 2300))),
    ]


def test_recordings_are_cut_out_of_a_stream_as_they_were(recordings: list[Path], tmp_path: Path) -> None:
    merge(recordings, tmp_path / "shop-11")
    names = [fault.name for fault in read_faults(tmp_path / "shop-11")]
    assert names == ["shop-11-hang-2", "shop-11-cpu-limit-2"]

    for name, made in zip(names, recordings, strict=True):
        cut(tmp_path / "shop-11", name, tmp_path / name)

        assert samples_of(tmp_path / name) == samples_of(made)
        assert (tmp_path / name / "truth.json").read_bytes() == (made / "truth.json").read_bytes()
        with Recording(tmp_path / name) as recording, Recording(made) as before:
            assert recording.scrape_interval(0.0) == before.scrape_interval(0.0)


def test_a_cut_recording_is_kept_until_its_stream_changes(recordings: list[Path], tmp_path: Path) -> None:
    merge(recordings, tmp_path / "shop-11")
    first = ensure_cut(tmp_path / "shop-11", "shop-11-hang-2", tmp_path / "cache")
    written = (first / "meta.json").stat().st_mtime_ns
    assert ensure_cut(tmp_path / "shop-11", "shop-11-hang-2", tmp_path / "cache") == first
    assert (first / "meta.json").stat().st_mtime_ns == written

    (tmp_path / "shop-11" / FAULTS).write_bytes(orjson.dumps([truth("hang", 0, 1900, 2200)]))

    assert ensure_cut(tmp_path / "shop-11", "shop-11-hang-2", tmp_path / "cache") != first


@pytest.mark.parametrize("name", [FAULTS, SAMPLES])
def test_a_damaged_stream_is_refused(name: str, recordings: list[Path], tmp_path: Path) -> None:
    merge(recordings, tmp_path / "shop-11")
    (tmp_path / "shop-11" / name).write_bytes(b"{")

    with pytest.raises(RecordingError, match="shop-11: shop-11-hang-2 cannot be read"):
        cut(tmp_path / "shop-11", "shop-11-hang-2", tmp_path / "out")


@pytest.mark.usefixtures("recordings")
def test_each_system_of_a_campaign_becomes_a_stream_of_its_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = truth("hang", 0, 1900, 2155, seed=103, topology="desk-103", split="heldout")
    write(tmp_path / "made" / "other", other)
    words = ["merge", "--recordings", str(tmp_path / "made"), "--output-dir", str(tmp_path / "kept")]
    options = parser_of_commands().parse_args(words)

    assert merge_systems(options) == 0

    assert {
        (found.run.name, found.path.relative_to(tmp_path / "kept").as_posix()) for found in lab_runs(tmp_path / "kept")
    } == {
        ("desk-103-hang-2", "heldout/desk-103"),
        ("shop-11-cpu-limit-2", "dev/shop-11"),
        ("shop-11-hang-2", "dev/shop-11"),
    }
    assert merge_systems(options) == 1
    assert "exists; remove it" in capsys.readouterr().out
