"""Rarely used fields of a span, decoded from its bytes on demand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from foreshock_dashboard.ingest.otlp.values import attributes_of
from foreshock_dashboard.model.span import Attributes, Span


class LinkDetail(NamedTuple):
    """Rarely used fields of a link."""

    trace_state: str = ""
    flags: int = 0
    dropped_attributes: int = 0


@dataclass(frozen=True, slots=True)
class SpanDetail:
    """Fields as in trace.proto. Times in Unix nanoseconds as sent. `events`: dropped attributes per event."""

    start_ns: int
    end_ns: int
    flags: int = 0
    dropped_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0
    events: tuple[int, ...] = ()
    links: tuple[LinkDetail, ...] = ()
    scope_version: str = ""
    scope_attributes: Attributes = field(default_factory=dict)
    scope_dropped_attributes: int = 0
    scope_schema_url: str = ""
    resource_dropped_attributes: int = 0
    resource_schema_url: str = ""


def detail_of(span: Span) -> SpanDetail:
    """Return the details of a span; defaults if it was not received as OTLP."""
    if span.raw is None:
        return SpanDetail(
            span.start_ns, span.end_ns, events=(0,) * len(span.events), links=(LinkDetail(),) * len(span.links)
        )
    origin, raw = span.raw
    sent, scope = OtlpSpan.FromString(raw), InstrumentationScope.FromString(origin.scope)
    return SpanDetail(
        start_ns=sent.start_time_unix_nano,
        end_ns=sent.end_time_unix_nano,
        flags=sent.flags,
        dropped_attributes=sent.dropped_attributes_count,
        dropped_events=sent.dropped_events_count,
        dropped_links=sent.dropped_links_count,
        events=tuple(event.dropped_attributes_count for event in sent.events),
        links=tuple(LinkDetail(link.trace_state, link.flags, link.dropped_attributes_count) for link in sent.links),
        scope_version=scope.version,
        scope_attributes=attributes_of(scope.attributes),
        scope_dropped_attributes=scope.dropped_attributes_count,
        scope_schema_url=origin.scope_schema_url.decode(errors="replace"),
        resource_dropped_attributes=Resource.FromString(origin.resource).dropped_attributes_count,
        resource_schema_url=origin.resource_schema_url.decode(errors="replace"),
    )
