"""Exceptions and status codes that spans report are counted, however the spans arrive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from tests.spans import as_sent

from foreshock_dashboard.ingest.indexed_attributes import attribute_reader
from foreshock_dashboard.ingest.otlp.decode import decode_spans
from foreshock_dashboard.ingest.otlp.encode import encode_spans
from foreshock_dashboard.ingest.span_metrics.counters import MAX_EXCEPTION_TYPES
from foreshock_dashboard.ingest.span_metrics.names import EXCEPTIONS, RESPONSES, VERSIONS
from foreshock_dashboard.ingest.span_metrics.registry import OTHER
from foreshock_dashboard.ingest.span_metrics.span_metrics import SpanMetrics
from foreshock_dashboard.model.span import AttributeValue, Event, Kind, Span

Make = Callable[..., Span]
Arrive = Callable[[Sequence[Span]], Sequence[Span]]


def as_sent_without_search(spans: Sequence[Span]) -> Sequence[Span]:
    """Spans as a receiver decodes them if no attribute is indexed."""
    return decode_spans(encode_spans(spans), attribute_reader(())).spans


def counted(spans: Sequence[Span], now: float, metric: str, label: str) -> dict[str, float]:
    """Values of a metric by one of its labels."""
    metrics = SpanMetrics()
    metrics.add(spans, now)
    metrics.collect(now)
    return {dict(sample.labels)[label]: sample.value for sample in metrics.collect(now + 1) if sample.metric == metric}


@pytest.mark.parametrize("arrive", [as_sent, list])
@pytest.mark.parametrize("kind", ["internal", "server"])
def test_exceptions_are_counted_by_type_in_spans_of_all_kinds(
    span: Make, now: float, kind: Kind, arrive: Arrive
) -> None:
    """Other events do not count, and an exception without a type is unknown."""
    events = (
        Event(1, "retry", {}),
        Event(2, "exception", {"exception.type": "TimeoutError"}),
        Event(3, "exception", {"exception.type": "TimeoutError"}),
        Event(4, "exception", {}),
    )
    spans = [replace(span(kind, "cart", 1), events=events), span("server", "cart", 2)]
    found = counted(arrive(spans), now, EXCEPTIONS.name, "exception_type")
    assert found == {"TimeoutError": 2.0, "unknown": 1.0}


@pytest.mark.parametrize("arrive", [as_sent, list])
@pytest.mark.parametrize("kind", ["internal", "server"])
@pytest.mark.parametrize(("ended", "seconds"), [("now and again", 0.0), ("too long ago", 1000.0)])
def test_exceptions_of_late_and_duplicate_spans_are_not_counted(
    span: Make, now: float, kind: Kind, arrive: Arrive, ended: str, seconds: float
) -> None:
    """A batch that is sent again after a lost answer holds the same spans."""
    failed = replace(span(kind, "cart", 1), events=(Event(1, "exception", {"exception.type": "E"}),))
    found = counted(arrive([failed, failed]), now + seconds, EXCEPTIONS.name, "exception_type")
    assert found == ({} if seconds else {"E": 1.0}), ended


def test_further_exception_types_are_counted_together(span: Make, now: float) -> None:
    """A message in place of a type does not make series without limit."""
    events = tuple(Event(1, "exception", {"exception.type": f"E{i}"}) for i in range(MAX_EXCEPTION_TYPES + 5))
    found = counted([replace(span("server", "cart", 1), events=events)], now, EXCEPTIONS.name, "exception_type")
    assert len(found) == MAX_EXCEPTION_TYPES + 1
    assert found[OTHER] == 5.0


@pytest.mark.parametrize("arrive", [as_sent, as_sent_without_search, list])
@pytest.mark.parametrize("key", ["http.response.status_code", "http.status_code"], ids=["current", "old"])
def test_responses_are_counted_by_status_code_at_the_server(span: Make, now: float, key: str, arrive: Arrive) -> None:
    """Client spans and values that are no status code do not count."""
    codes = [("server", 200), ("server", 200), ("server", 404), ("server", 99_999), ("client", 500)]
    spans = [
        replace(span(kind, "cart", number), attributes={key: code}) for number, (kind, code) in enumerate(codes, 1)
    ]
    assert counted(arrive(spans), now, RESPONSES.name, "http_response_status_code") == {"200": 2.0, "404": 1.0}


@pytest.mark.parametrize("arrive", [as_sent, as_sent_without_search, list])
def test_of_both_status_codes_the_current_one_counts(span: Make, now: float, arrive: Arrive) -> None:
    """SDKs send both during a migration, and a service may be mixed."""
    both = {"http.response.status_code": 500, "http.status_code": 404}
    spans = [
        replace(span("server", "cart", number), attributes=attributes)
        for number, attributes in enumerate([both, {"http.status_code": 404}], 1)
    ]
    assert counted(arrive(spans), now, RESPONSES.name, "http_response_status_code") == {"500": 1.0, "404": 1.0}


@pytest.mark.parametrize("arrive", [as_sent, list])
@pytest.mark.parametrize(
    ("resource", "version"),
    [
        ({"service.version": "1.4.2", "container.image.tags": ["sha"]}, "1.4.2"),
        ({"container.image.tags": ["v2", "latest"]}, "v2"),
        ({"container.image.name": "registry:5000/serving/llm:v3"}, "v3"),
        ({"container.image.name": "registry:5000/llm@sha256:0123456789abcdef"}, "0123456789ab"),
        ({"container.image.name": "registry:5000/llm"}, None),
        ({}, None),
    ],
)
def test_spans_are_counted_by_the_version_of_their_resource(
    span: Make, now: float, resource: dict[str, AttributeValue], version: str | None, arrive: Arrive
) -> None:
    spans = [replace(span("server", "cart", id_), resource={"service.name": "cart", **resource}) for id_ in (1, 2)]
    assert counted(arrive(spans), now, VERSIONS.name, "service_version") == ({version: 2.0} if version else {})
