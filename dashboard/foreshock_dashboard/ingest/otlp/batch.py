"""A batch of spans that is decoded as far as needed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import starmap
from typing import overload

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from foreshock_dashboard.ingest.otlp.attribute_reader import SearchColumns
from foreshock_dashboard.ingest.otlp.values import attributes_of
from foreshock_dashboard.model.span import Event, Link, Origin, Outline, Outlines, Span

RawSpans = list[tuple[Origin, bytes]]
"""Encoded spans, each with its encoded resource and scope."""


class SpanBatch(Sequence[Span]):
    """Spans as bytes, with an outline of each, and the searchable attributes. An item is decoded when accessed."""

    __slots__ = ("outlines", "raw_spans", "search_columns")

    def __init__(self, outlines: Outlines, raw_spans: RawSpans, search_columns: SearchColumns) -> None:
        self.outlines, self.raw_spans, self.search_columns = outlines, raw_spans, search_columns

    def __len__(self) -> int:
        return len(self.raw_spans)

    @overload
    def __getitem__(self, index: int) -> Span: ...
    @overload
    def __getitem__(self, index: slice) -> SpanBatch: ...

    def __getitem__(self, index: int | slice) -> Span | SpanBatch:
        if isinstance(index, slice):
            outlines = Outlines._make(column[index] for column in self.outlines)
            return SpanBatch(outlines, self.raw_spans[index], self.search_columns.select(index))
        return _decode(Outline._make(column[index] for column in self.outlines), self.raw_spans[index])

    def __iter__(self) -> Iterator[Span]:
        return map(_decode, starmap(Outline, self.outlines.rows()), self.raw_spans)

    def without(self, rows: Collection[int]) -> SpanBatch:
        """Return the batch without these rows."""
        kept = [row for row in range(len(self)) if row not in rows]
        outlines = Outlines._make([column[row] for row in kept] for column in self.outlines)
        return SpanBatch(outlines, [self.raw_spans[row] for row in kept], self.search_columns.select(kept))


def links_of(span: OtlpSpan) -> tuple[Link, ...]:
    """Return the links of an OTLP span."""
    return tuple(Link(link.trace_id.hex(), link.span_id.hex(), attributes_of(link.attributes)) for link in span.links)


def events_of(span: OtlpSpan) -> tuple[Event, ...]:
    """Return the events of an OTLP span."""
    return tuple(Event(event.time_unix_nano, event.name, attributes_of(event.attributes)) for event in span.events)


def _decode(outline: Outline, raw_span: tuple[Origin, bytes]) -> Span:
    origin, raw = raw_span
    sent = OtlpSpan.FromString(raw)
    span = Span(
        trace_id=outline.key[:16].hex(),
        span_id=outline.key[16:].hex(),
        parent_id=outline.parent_key[16:].hex(),
        name=outline.name,
        kind=outline.kind,
        start_ns=outline.start_ns,
        end_ns=outline.end_ns,
        status=outline.status,
        status_message=sent.status.message,
        resource=outline.resource,
        attributes=attributes_of(sent.attributes),
        events=events_of(sent),
        links=links_of(sent),
        scope=InstrumentationScope.FromString(origin.scope).name,
        trace_state=sent.trace_state,
        clamped=outline.clamped,
    )
    span.attach_raw(raw_span)
    return span
