"""Spans that came together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import overload

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from foreshock_dashboard.model.otlp.values import attributes_of
from foreshock_dashboard.model.span import Event, Link, Origin, Outline, Span


class SpanBatch(Sequence[Span]):
    """Spans as they came, and an outline of each. One of them is read whole when it is asked for.

    keys: the attributes that outlines have, where a span has them.
    """

    __slots__ = ("came", "keys", "outlines")

    def __init__(
        self, outlines: list[Outline], came: list[tuple[Origin, bytes]], keys: frozenset[str] = frozenset()
    ) -> None:
        self.outlines, self.came, self.keys = outlines, came, keys

    def __len__(self) -> int:
        return len(self.came)

    @overload
    def __getitem__(self, at: int) -> Span: ...
    @overload
    def __getitem__(self, at: slice) -> SpanBatch: ...

    def __getitem__(self, at: int | slice) -> Span | SpanBatch:
        if isinstance(at, slice):
            return SpanBatch(self.outlines[at], self.came[at], self.keys)
        return _whole(self.outlines[at], self.came[at])

    def __iter__(self) -> Iterator[Span]:
        return map(_whole, self.outlines, self.came)

    def without(self, rows: Collection[int]) -> SpanBatch:
        """All but some of them."""
        chosen = [row for row in range(len(self)) if row not in rows]
        return SpanBatch([self.outlines[row] for row in chosen], [self.came[row] for row in chosen], self.keys)


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
