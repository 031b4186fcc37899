"""Spans of the past become the metrics that a live hub would have counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.spans import T0, MakeSpan, span

__all__ = ["span"]

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.ingest.pipeline import IngestPipeline
from foreshock_dashboard.ingest.span_metrics import names
from foreshock_dashboard.model.samples import SampleBatch, is_stale
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.recording.convert import import_files
from foreshock_dashboard.recording.meta import RecordingMeta
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.span_counting import count_spans
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.sources.otlp.codec import encode_json

INTERVAL = 10.0


class Stored:
    """A sink that keeps what a hub writes."""

    def append_samples(self, batches: Sequence[SampleBatch]) -> None:
        """Samples are read from `collect`."""

    def append_spans(self, spans: Sequence[Span]) -> None:
        """Spans are not needed again."""


@pytest.fixture
def calls(span: MakeSpan) -> list[Span]:
    """A call a second of `cart` by `front`, of which every tenth fails: a minute, then none for five, then a minute."""
    spans = []
    for second in (*range(60), *range(360, 420)):
        status = "error" if second % 10 == 0 else "unset"
        common = {"start": float(second), "duration": 0.05, "status": status}
        spans += [
            span(second + 1, 1, service="front", kind="client", **common),
            span(second + 1, 2, parent=1, service="cart", kind="server", **common),
        ]
    return sorted(spans, key=lambda item: item.end_ns)


def totals(batch: SampleBatch, metric: str) -> float:
    """Sum of the series of a metric in a scrape."""
    return sum(sample.value for sample in batch.samples if sample.metric == metric)


def test_a_scrape_of_the_past_equals_one_of_a_live_hub(calls: list[Span]) -> None:
    """A hub that received each span when it ended had stored the same samples."""
    live = IngestPipeline(Stored(), Clock())
    first_minute = [item for item in calls if item.end_ns < (T0 + 60) * 10**9]
    for batch in count_spans([first_minute], INTERVAL):
        for item in first_minute:
            if batch.time - INTERVAL <= item.end_ns / 1e9 < batch.time:
                live.count([item], item.end_ns / 1e9)
        assert Counter(batch.samples) == Counter(live.collect(batch.time).samples)


def test_a_time_without_any_span_is_a_gap(calls: list[Span]) -> None:
    """Series end with staleness markers, and continue where they were before the first span after the gap."""
    batches = [*count_spans([calls], INTERVAL)]
    by_time = {round(batch.time - T0): batch for batch in batches}
    assert not [time for time in by_time if 90 < time < 350]
    (marked,) = [batch for batch in batches if batch.samples and all(is_stale(item.value) for item in batch.samples)]
    assert 60 <= marked.time - T0 <= 80
    requests = [totals(by_time[time], names.REQUESTS.name) for time in (360, 370)]
    assert requests == [60.0, 70.0]


@pytest.mark.parametrize("second", [200.0, 500.0], ids=["before a gap", "at the end"])
def test_the_only_burst_of_a_service_rises_from_0(calls: list[Span], span: MakeSpan, second: float) -> None:
    """`rate` would miss a series that ends at 0, and one that begins above 0."""
    burst = span(600, 1, start=second, duration=0.05, service="mail", kind="server")
    spans = sorted([*calls, burst], key=lambda item: item.end_ns)
    end = second + 100
    values = [
        sample.value
        for batch in count_spans([spans], INTERVAL)
        for sample in batch.samples
        if sample.metric == names.CALLS.name
        and {("service_name", "mail"), ("status_code", "STATUS_CODE_UNSET")} <= {*sample.labels}
        and batch.time < T0 + end
    ]
    assert [value for value in values if not is_stale(value)][:2] == [0.0, 1.0]


@pytest.mark.parametrize("second", [200.0, 500.0], ids=["before a gap", "at the end"])
def test_a_call_of_a_dead_server_is_counted_though_nothing_follows(
    calls: list[Span], span: MakeSpan, second: float
) -> None:
    """It waits for its server side at first, longer than the spans go on."""
    dead = {"service": "front", "kind": "client", "status": "error", "attributes": {"server.address": "mail"}}
    spans = sorted([*calls, span(600, 1, start=second, duration=0.05, **dead)], key=lambda item: item.end_ns)
    values = [
        sample.value
        for batch in count_spans([spans], INTERVAL)
        for sample in batch.samples
        if sample.metric == names.FAILED.name and ("server", "mail") in sample.labels
        if batch.time < T0 + second + 100 and not is_stale(sample.value)
    ]
    assert values == [0.0, 1.0]


def test_failed_calls_are_counted(calls: list[Span]) -> None:
    """The last scrape has every call, and one in ten of them as failed."""
    *_, last = count_spans([calls], INTERVAL)
    assert (totals(last, names.REQUESTS.name), totals(last, names.FAILED.name)) == (120.0, 12.0)


def test_import_of_spans_alone_gives_their_metrics(calls: list[Span], tmp_path: Path) -> None:
    """The recording answers queries on the service graph, and says how often it was scraped."""
    file = tmp_path / "traces.json"
    file.write_bytes(encode_json(calls) + b"\n")
    converted = import_files(None, file, tmp_path / "out", lambda *_: None)
    with Recording(tmp_path / "out") as recording:
        assert converted.counted == recording.meta.samples > 0
        assert names.REQUESTS.name in RecordedMetrics(recording).metric_names()
        assert recording.meta.scrape_interval == INTERVAL


def test_a_recording_of_spans_alone_is_counted_when_it_is_opened(calls: list[Span], tmp_path: Path) -> None:
    """Recordings of other tools need no import."""
    with RecordingWriter(tmp_path / "out", RecordingMeta()) as writer:
        writer.add_spans(calls)
    with Recording(tmp_path / "out") as recording:
        assert names.REQUESTS.name in RecordedMetrics(recording).metric_names()
        assert recording.meta.series == len(recording.series) > 0


@pytest.mark.parametrize(
    ("recorded", "added", "left_out"),
    [
        ([names.CALLS.name, names.REQUESTS.name], "", "traces_"),
        ([names.CALLS.name, "traces_span_metrics_duration_milliseconds_count"], names.REQUESTS.name, names.CALLS.name),
        ([f"{names.DURATION.name}_count"], names.REQUESTS.name, names.DURATION.name),
        ([f"{names.SERVER_SECONDS.name}_count"], names.CALLS.name, "traces_service_graph_"),
        (["up"], names.REQUESTS.name, "other"),
    ],
    ids=["hub", "Collector", "durations", "service graph", "no spans"],
)
def test_metrics_of_spans_that_are_recorded_are_not_counted_again(
    calls: list[Span], tmp_path: Path, recorded: list[str], added: str, left_out: str
) -> None:
    """Each connector has counted its own, also of spans that were not sampled; the others are missing."""
    with RecordingWriter(tmp_path / "out", RecordingMeta()) as writer:
        for metric in recorded:
            writer.series(metric, (("service_name", "front"),))
        writer.add_spans(calls)
        counted = writer.count_spans()
        new = [metric for metric, _ in [*writer.numbers][len(recorded) :]]
    assert not [metric for metric in new if metric.startswith(left_out)]
    assert added in new if added else not counted
