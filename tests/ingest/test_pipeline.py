"""The ingest pipeline stores spans before it counts them, and repeats staleness markers after a failed write."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.ingest.pipeline import MAX_QUEUED_BATCHES, IngestPipeline
from foreshock_dashboard.ingest.span_metrics.span_metrics import SpanMetrics
from foreshock_dashboard.model.samples import Sample, SampleBatch, is_stale
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.store import StoreError

OWN = Sample("foreshock_incident_open", (("id", "x"),), 1.0)


class FakeSink:
    """Stores batches and spans in lists; raises StoreError while `failing`."""

    def __init__(self) -> None:
        self.failing = False
        self.batches: list[SampleBatch] = []
        self.spans: list[Span] = []

    def append_samples(self, batches: Sequence[SampleBatch]) -> None:
        """Store or raise."""
        if self.failing:
            raise StoreError("the disk is full")
        self.batches += batches

    def append_spans(self, spans: Sequence[Span]) -> None:
        """Store or raise."""
        if self.failing:
            raise StoreError("the disk is full")
        self.spans += spans


def ended(batch: SampleBatch) -> list[str]:
    """Return the metrics with a staleness marker."""
    return [sample.metric for sample in batch.samples if is_stale(sample.value)]


def span(number: int, kind: str) -> Span:
    """Return a client or server span of one call."""
    own, parent = ("b" * 16, "") if kind == "client" else ("c" * 16, "b" * 16)
    name = {"service.name": "web" if kind == "client" else "llm"}
    return Span(f"{number:032x}", own, parent, "POST", kind, 0, 1, "unset", "", name, {})  # type: ignore[arg-type] # a kind


def test_an_ended_series_is_marked_stale_once() -> None:
    """The first write without the series has the marker."""
    sink = FakeSink()
    pipeline = IngestPipeline(sink, Clock())
    for own in ([OWN], [], []):
        pipeline.write(0.0, own)

    assert [ended(batch) for batch in sink.batches] == [[], ["foreshock_incident_open"], []]


def test_a_staleness_marker_is_repeated_after_a_failed_write() -> None:
    """Without it, the series would look alive."""
    sink = FakeSink()
    pipeline = IngestPipeline(sink, Clock())
    pipeline.write(0.0, [OWN])
    sink.failing = True
    with pytest.raises(StoreError):
        pipeline.write(10.0)
    sink.failing = False
    pipeline.write(20.0)

    assert ended(sink.batches[-1]) == ["foreshock_incident_open"]


def test_spans_that_could_not_be_stored_are_not_counted() -> None:
    """The sender retries them."""
    sink = FakeSink()
    pipeline = IngestPipeline(sink, Clock())
    call = [span(1, "client"), span(1, "server")]
    sink.failing = True
    with pytest.raises(StoreError):
        pipeline.accept(call, 1.0)
    sink.failing = False
    pipeline.accept(call, 2.0)
    pipeline.collect(3.0)

    counts = {s.metric: s.value for s in pipeline.collect(4.0).samples}
    assert counts["traces_service_graph_request_total"] == 1.0
    assert len(sink.spans) == 2


def test_reads_include_all_accepted_spans() -> None:
    """Queued spans are counted before a read, each with its time of arrival."""
    for number in (1, MAX_QUEUED_BATCHES - 1, MAX_QUEUED_BATCHES, 3 * MAX_QUEUED_BATCHES + 1):
        pipeline = IngestPipeline(FakeSink(), Clock())
        for at in range(number):
            pipeline.accept([span(2 * at + 1, "server"), span(2 * at + 2, "server")], at / 1e3)
        assert pipeline.usage()["counts"]["foreshock_spans_late_total"] == 0.0
        pipeline.accept([span(9999, "server")], 100.0)
        assert pipeline.usage()["counts"]["foreshock_spans_late_total"] == 1.0
        pipeline.collect(100.0)
        calls = [s.value for s in pipeline.collect(101.0).samples if s.metric == "traces_span_metrics_calls_total"]
        assert calls == [2.0 * number, 0.0]


def test_spans_from_many_threads_are_counted_once() -> None:
    """No span is lost or counted twice."""
    pipeline = IngestPipeline(FakeSink(), Clock())
    numbers = iter(range(1, 10_000))
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda _: pipeline.accept([span(next(numbers), "server")], 0.0), range(400)):
            pipeline.usage()
    pipeline.collect(0.0)
    calls = [s.value for s in pipeline.collect(0.0).samples if s.metric == "traces_span_metrics_calls_total"]
    assert calls == [400.0, 0.0]


def test_an_exceeded_series_limit_is_logged_once_and_in_the_status(caplog: pytest.LogCaptureFixture) -> None:
    """The warning names the remedy and ends when series have expired."""
    pipeline = IngestPipeline(FakeSink(), Clock(), max_series=100)
    usage = pipeline.usage()
    assert usage == {"series": 0, "series_limit": 100, "warning": "", "counts": dict.fromkeys(usage["counts"], 0.0)}
    assert "foreshock_spans_late_total" in usage["counts"]
    for number in range(1, 10):
        pipeline.count([replace(span(number, "server"), name=f"GET /{number}")], number / 1e9)

    assert [record.getMessage() for record in caplog.records] == [pipeline.usage()["warning"]]
    assert "more than 100 series" in caplog.text
    assert "raise --span-metrics-max-series" in caplog.text
    pipeline.collect(2000.0)
    assert pipeline.usage()["warning"] == ""


def test_stored_spans_are_accepted_even_if_counting_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged and counted, and later spans are counted."""

    def fail(*_: object) -> None:
        raise OverflowError("no room")

    sink = FakeSink()
    pipeline = IngestPipeline(sink, Clock())
    assert "foreshock_spans_uncounted_total 0.0" in pipeline.text(0.0)
    with monkeypatch.context() as patched:
        patched.setattr(SpanMetrics, "add", fail)
        pipeline.accept([span(1, "server"), span(2, "server")], 0.0)
        assert "foreshock_spans_uncounted_total 2.0" in pipeline.text(600.0)
    assert len(sink.spans) == 2
    assert [record.message for record in caplog.records] == ["2 spans were kept, but not all of them could be counted"]
    pipeline.accept([span(3, "server")], 0.0)
    assert "traces_span_metrics_calls_total" in pipeline.text(0.0)
    assert "foreshock_spans_uncounted_total 2.0" in pipeline.text(600.0)
