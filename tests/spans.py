"""Spans for the tests of stores, of trace sources, and of ingest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from foreshock_dashboard.ingest.indexed_attributes import attribute_reader
from foreshock_dashboard.ingest.otlp.decode import decode_spans
from foreshock_dashboard.ingest.otlp.encode import encode_spans
from foreshock_dashboard.model.span import TRACE_KEYS, AttributeValue, Kind, Span, Status

T0 = 1_790_000_000
"""Unix seconds around which the spans of these tests lie."""

MakeSpan = Callable[..., Span]


@pytest.fixture(scope="session")
def span() -> MakeSpan:
    """Makes a span; times in seconds after T0."""

    def make(
        trace: int = 1,
        number: int = 1,
        *,
        parent: int = 0,
        name: str = "GET /",
        service: str = "gateway",
        namespace: str = "",
        start: float = 0.0,
        duration: float = 0.1,
        status: Status = "unset",
        kind: Kind = "server",
        attributes: dict[str, AttributeValue] | None = None,
        resource: dict[str, AttributeValue] | None = None,
    ) -> Span:
        begin = T0 * 10**9 + round(start * 1e9)
        named: dict[str, AttributeValue] = {"service.name": service}
        if namespace:
            named["service.namespace"] = namespace
        return Span(
            trace_id=f"{trace:032x}",
            span_id=f"{number:016x}",
            parent_id=f"{parent:016x}" if parent else "",
            name=name,
            kind=kind,
            start_ns=begin,
            end_ns=begin + round(duration * 1e9),
            status=status,
            status_message="",
            resource={**named, **(resource or {})},
            attributes=attributes or {},
        )

    return make


def as_sent(spans: Sequence[Span]) -> Sequence[Span]:
    """Spans as a receiver decodes them."""
    return decode_spans(encode_spans(spans), attribute_reader(TRACE_KEYS)).spans
