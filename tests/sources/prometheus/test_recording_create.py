"""`foreshock recording create` copies what a real Prometheus has scraped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from foreshock_dashboard.cli.main import main
from foreshock_dashboard.model.query import LimitError, Query, SourceError
from foreshock_dashboard.model.samples import Labels, Sample, SampleBatch, labels_of
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.record import record

if TYPE_CHECKING:
    from tests.sources.prometheus.conftest import Server

READ, OTHER = "gpu_power_watts", "fans_total"
"""A metric that the hub reads, and one that it does not."""


@pytest.mark.parametrize(
    ("flags", "metrics"),
    [((), {READ, OTHER}), (("--known-metrics",), {READ}), (("--match", f'__name__="{OTHER}"'), {OTHER})],
)
def test_a_range_of_a_prometheus_becomes_a_recording(
    own_prometheus: Server, tmp_path: Path, flags: tuple[str, ...], metrics: set[str]
) -> None:
    """With the times and values of each scrape; all metrics, because `explain` reads any."""
    end = float(int(time.time()) - 5)
    times = [end - 15.0 * number for number in reversed(range(120))]
    host = labels_of({"instance": "host-1:10877", "gpu": "0"})
    own_prometheus.write(SampleBatch(at, "x", (Sample(READ, host, at - end), Sample(OTHER, host, 1.0))) for at in times)
    where = ("--from", own_prometheus.url, "--output-dir", str(tmp_path / "made"))
    assert main(["recording", "create", *where, "--start", str(end - 1500), "--end", str(end), *flags]) == 0
    with Recording(tmp_path / "made") as recording:
        source = RecordedMetrics(recording)
        assert set(source.metric_names()) == metrics
        assert recording.meta.samples == 100 * len(metrics)
        matrix = source.fetch(Query(READ, by=None, window=60.0), end - 1485, end, 15.0)
    if READ in metrics:
        assert matrix.labels == (host,)
        assert matrix.values[0].tolist() == [at - end for at in times[-100:]]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "--from: missing."),
        (("--from", "http://127.0.0.1:1"), 1, "Connection refused"),
        (("--prometheus-url", "http://127.0.0.1:1", "--start", "now"), 2, "invalid time range"),
        (("--prometheus-url", "http://127.0.0.1:1", "--end", "noon"), 2, "--end: 'noon' is not a valid time"),
    ],
)
def test_what_cannot_be_recorded_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, message: str
) -> None:
    """Nothing is left behind."""
    assert main(["recording", "create", "--output-dir", str(tmp_path / "made"), *words]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_a_range_without_samples_is_refused(
    own_prometheus: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder does not appear."""
    where = ("--prometheus-url", own_prometheus.url, "--output-dir", str(tmp_path / "made"))
    assert main(["recording", "create", *where, "--start", "now-10m"]) == 1
    assert "no samples in this time range" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


class _Limited:
    """A source that gives samples of at most `limit` seconds at once, one a second."""

    name = "limited"

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.lengths: list[float] = []

    def names_between(self, start: float, end: float) -> frozenset[str]:  # noqa: ARG002
        return frozenset(["m"])

    def samples(self, metric: str, start: float, end: float) -> Iterator[tuple[Labels, Floats]]:  # noqa: ARG002
        self.lengths.append(end - start)
        if end - start > self.limit:
            raise LimitError("limited: returned 422 execution: query would load too many samples.")
        times = np.arange(start + 1, end + 1)
        yield labels_of({"a": "b"}), np.column_stack([times, times])


def test_a_metric_is_read_in_pieces_as_long_as_the_server_allows(tmp_path: Path) -> None:
    """A refused length is not tried again."""
    source = _Limited(1000.0)
    assert record(source, 0.0, 7200.0, tmp_path / "made", known_only=False, progress=lambda *_: None) == 7200
    assert source.lengths == [7200.0, 3600.0, 1800.0, *[900.0] * 8]


def test_a_server_whose_limit_is_too_small_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"too many samples\. Reading 60 s of m is too much: .* with --match, or raise"
    ):
        record(_Limited(30.0), 0.0, 7200.0, tmp_path / "made", known_only=False, progress=lambda *_: None)
    assert not (tmp_path / "made").exists()
