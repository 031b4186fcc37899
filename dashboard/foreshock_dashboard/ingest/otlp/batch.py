"""Spans that came together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import starmap
from typing import overload

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from foreshock_dashboard.ingest.otlp.attribute_filter import Searched
from foreshock_dashboard.ingest.otlp.values import attributes_of
from foreshock_dashboard.model.span import Event, Link, Origin, Outline, Outlines, Span

Came = list[tuple[Origin, bytes]]


class SpanBatch(Sequence[Span]):
    """Spans as they came, an outline of each, and what they are searched by. One of them is read whole when it is
    asked for."""

    __slots__ = ("came", "outlines", "searched")

    def __init__(self, outlines: Outlines, came: Came, searched: Searched) -> None:
        self.outlines, self.came, self.searched = outlines, came, searched

    def __len__(self) -> int:
        return len(self.came)

    @overload
    def __getitem__(self, at: int) -> Span: ...
    @overload
    def __getitem__(self, at: slice) -> SpanBatch: ...

    def __getitem__(self, at: int | slice) -> Span | SpanBatch:
        if isinstance(at, slice):
            outlines = Outlines._make(column[at] for column in self.outlines)
            return SpanBatch(outlines, self.came[at], self.searched.rows(at))
        return _whole(Outline._make(column[at] for column in self.outlines), self.came[at])

    def __iter__(self) -> Iterator[Span]:
        return map(_whole, starmap(Outline, self.outlines.rows()), self.came)

    def without(self, rows: Collection[int]) -> SpanBatch:
        """All but some of them."""
        chosen = [row for row in range(len(self)) if row not in rows]
        outlines = Outlines._make([column[row] for row in chosen] for column in self.outlines)
        return SpanBatch(outlines, [self.came[row] for row in chosen], self.searched.rows(chosen))


def _whole(outline: Outline, came: tuple[Origin, bytes]) -> Span:
    origin, raw = came
    sent = OtlpSpan.FromString(raw)
    span = Span(
        trace_id=outline.key[:16].hex(),
        span_id=outline.key[16:].hex(),
        parent_id=outline.above[16:].hex(),
        name=outline.name,
        kind=outline.kind,
        start_ns=outline.start_ns,
        end_ns=outline.end_ns,
        status=outline.status,
        status_message=sent.status.message,
        resource=outline.resource,
        attributes=attributes_of(sent.attributes),
        events=tuple(Event(each.time_unix_nano, each.name, attributes_of(each.attributes)) for each in sent.events),
        links=tuple(
            Link(each.trace_id.hex(), each.span_id.hex(), attributes_of(each.attributes)) for each in sent.links
        ),
        scope=InstrumentationScope.FromString(origin.scope).name,
        trace_state=sent.trace_state,
        clamped=outline.clamped,
    )
    object.__setattr__(span, "_came", came)
    return span
