"""Conditions of a trace query, checked on spans where a source cannot check them exactly."""

from __future__ import annotations

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import AttributeValue, Span, TraceQuery


def matches(span: Span, query: TraceQuery) -> bool:
    """Whether a span fulfills all conditions on spans; durations, order and limit are conditions on traces."""
    return (
        round(query.start * 1e9) <= span.start_ns <= round(query.end * 1e9)
        and (query.occupancy or not span.occupancy)
        and service_matches(span.service, query)
        and (query.operation is None or span.name == query.operation)
        and all(_text(_attribute(span, key)) == value for key, value in query.attributes.items())
        and query.status in (None, span.status)
    )


def service_matches(service: Service, query: TraceQuery) -> bool:
    """Whether the query is for this service, or for any."""
    wanted = query.service
    return wanted is None or service == wanted or (query.any_namespace and service.name == wanted.name)


def duration_matches(duration_ns: int, query: TraceQuery) -> bool:
    """Whether the duration of a trace is within the limits of the query."""
    shortest, longest = query.min_duration, query.max_duration
    return (shortest is None or duration_ns >= round(shortest * 1e9)) and (
        longest is None or duration_ns <= longest * 1e9
    )


def _attribute(span: Span, key: str) -> AttributeValue:
    return span.attributes[key] if key in span.attributes else span.resource.get(key)


def _text(value: AttributeValue) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    return None
