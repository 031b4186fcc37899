"""`foreshock recording create` copies what a real Prometheus has scraped."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from foreshock_dashboard.cli.main import main
from foreshock_dashboard.model.query import Query
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording

if TYPE_CHECKING:
    from tests.sources.prometheus.conftest import Server

READ, OTHER = "gpu_power_watts", "fans_total"
"""A metric that the hub reads, and one that it does not."""


@pytest.mark.parametrize(("flags", "metrics"), [((), {READ}), (("--all-metrics",), {READ, OTHER})])
def test_a_range_of_a_prometheus_becomes_a_recording(
    own_prometheus: Server, tmp_path: Path, flags: tuple[str, ...], metrics: set[str]
) -> None:
    """With the times and values of each scrape, in pieces of ten minutes."""
    end = float(int(time.time()) - 5)
    times = [end - 15.0 * number for number in reversed(range(120))]
    host = labels_of({"instance": "host-1:10877", "gpu": "0"})
    own_prometheus.write(SampleBatch(at, "x", (Sample(READ, host, at - end), Sample(OTHER, host, 1.0))) for at in times)
    where = ("--prometheus-url", own_prometheus.url, "--output-dir", str(tmp_path / "made"))
    assert main(["recording", "create", *where, "--start", str(end - 1500), "--end", str(end), *flags]) == 0
    with Recording(tmp_path / "made") as recording:
        source = RecordedMetrics(recording)
        assert set(source.metric_names()) == metrics
        assert recording.meta.samples == 100 * len(metrics)
        matrix = source.fetch(Query(READ, by=None, window=60.0), end - 1485, end, 15.0)
    assert matrix.labels == (host,)
    assert matrix.values[0].tolist() == [at - end for at in times[-100:]]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "--prometheus-url: missing."),
        (("--prometheus-url", "http://127.0.0.1:1"), 1, "Connection refused"),
        (("--prometheus-url", "http://127.0.0.1:1", "--start", "now"), 2, "not a past time range"),
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
