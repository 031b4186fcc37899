"""What the hub writes of itself: staleness markers are not lost with a write that failed."""

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

OWN = Sample("foreshock_incident", (("id", "x"),), 1.0)


class Keeper:
    """Keeps batches, unless told to fail."""

    def __init__(self) -> None:
        self.failing = False
        self.batches: list[SampleBatch] = []
        self.spans: list[Span] = []

    def append_samples(self, batches: Sequence[SampleBatch]) -> None:
        """Keep."""
        if self.failing:
            raise StoreError("the disk is full")
        self.batches += batches

    def append_spans(self, spans: Sequence[Span]) -> None:
        """Keep."""
        if self.failing:
            raise StoreError("the disk is full")
        self.spans += spans


def ended(batch: SampleBatch) -> list[str]:
    """The metrics that the batch marks as stale."""
    return [sample.metric for sample in batch.samples if is_stale(sample.value)]


def span(number: int, kind: str) -> Span:
    """Half of a call."""
    own, parent = ("b" * 16, "") if kind == "client" else ("c" * 16, "b" * 16)
    name = {"service.name": "web" if kind == "client" else "llm"}
    return Span(f"{number:032x}", own, parent, "POST", kind, 0, 1, "unset", "", name, {})  # type: ignore[arg-type] # a kind


def test_a_series_that_ended_is_marked_once() -> None:
    """In the first write without it."""
    keeper = Keeper()
    intake = IngestPipeline(keeper, Clock())
    for own in ([OWN], [], []):
        intake.write(0.0, own)

    assert [ended(batch) for batch in keeper.batches] == [[], ["foreshock_incident"], []]


def test_a_marker_is_written_again_after_a_write_that_failed() -> None:
    """Or the series would look alive for ever."""
    keeper = Keeper()
    intake = IngestPipeline(keeper, Clock())
    intake.write(0.0, [OWN])
    keeper.failing = True
    with pytest.raises(StoreError):
        intake.write(10.0)
    keeper.failing = False
    intake.write(20.0)

    assert ended(keeper.batches[-1]) == ["foreshock_incident"]


def test_spans_that_could_not_be_kept_are_not_counted() -> None:
    """The sender will send them again."""
    keeper = Keeper()
    intake = IngestPipeline(keeper, Clock())
    halves = [span(1, "client"), span(1, "server")]
    keeper.failing = True
    with pytest.raises(StoreError):
        intake.accept(halves, 1.0)
    keeper.failing = False
    intake.accept(halves, 2.0)
    intake.collect(3.0)

    counts = {s.metric: s.value for s in intake.collect(4.0).samples}
    assert counts["traces_service_graph_request_total"] == 1.0
    assert len(keeper.spans) == 2


def test_whoever_asks_sees_all_that_was_accepted() -> None:
    """Whether or not so much came since that it is counted without being asked for, each as of when it came."""
    for number in (1, MAX_QUEUED_BATCHES - 1, MAX_QUEUED_BATCHES, 3 * MAX_QUEUED_BATCHES + 1):
        intake = IngestPipeline(Keeper(), Clock())
        for at in range(number):
            intake.accept([span(2 * at + 1, "server"), span(2 * at + 2, "server")], at / 1e3)
        assert intake.usage()["counts"]["foreshock_spans_late_total"] == 0.0
        intake.accept([span(9999, "server")], 100.0)
        assert intake.usage()["counts"]["foreshock_spans_late_total"] == 1.0
        intake.collect(100.0)
        calls = [s.value for s in intake.collect(101.0).samples if s.metric == "traces_span_metrics_calls_total"]
        assert calls == [2.0 * number]


def test_what_comes_from_many_threads_is_counted_whole() -> None:
    """None of it twice, whoever counts it."""
    intake = IngestPipeline(Keeper(), Clock())
    numbers = iter(range(1, 10_000))
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda _: intake.accept([span(next(numbers), "server")], 0.0), range(400)):
            intake.usage()
    intake.collect(0.0)
    calls = [s.value for s in intake.collect(0.0).samples if s.metric == "traces_span_metrics_calls_total"]
    assert calls == [400.0]


def test_what_has_no_room_for_series_is_said_in_the_log_and_in_the_status(caplog: pytest.LogCaptureFixture) -> None:
    """Once, with the remedy, until there has been room again."""
    intake = IngestPipeline(Keeper(), Clock(), max_series=100)
    told = intake.usage()
    assert told == {"series": 0, "series_limit": 100, "warning": "", "counts": dict.fromkeys(told["counts"], 0.0)}
    assert "foreshock_spans_late_total" in told["counts"]
    for number in range(1, 10):
        intake.count([replace(span(number, "server"), name=f"GET /{number}")], number / 1e9)

    assert [record.getMessage() for record in caplog.records] == [intake.usage()["warning"]]
    assert "more than 100 series" in caplog.text
    assert "raise --span-series" in caplog.text
    intake.collect(2000.0)
    assert intake.usage()["warning"] == ""


def test_spans_that_are_kept_are_accepted_though_counting_them_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with a line in the log and a count; those that come next are counted again."""

    def fail(*_: object) -> None:
        raise OverflowError("no room")

    keeper = Keeper()
    intake = IngestPipeline(keeper, Clock())
    assert "foreshock_spans_uncounted_total 0.0" in intake.text(0.0)
    with monkeypatch.context() as patched:
        patched.setattr(SpanMetrics, "add", fail)
        intake.accept([span(1, "server"), span(2, "server")], 0.0)
        assert "foreshock_spans_uncounted_total 2.0" in intake.text(600.0)
    assert len(keeper.spans) == 2
    assert [record.message for record in caplog.records] == ["2 spans were kept, but not all of them could be counted"]
    intake.accept([span(3, "server")], 0.0)
    assert "traces_span_metrics_calls_total" in intake.text(0.0)
    assert "foreshock_spans_uncounted_total 2.0" in intake.text(600.0)
