"""Whether a span, or a trace, is one that was asked for, where the source cannot tell exactly."""

from __future__ import annotations

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import AttributeValue, Span, TraceQuery


def matches(span: Span, query: TraceQuery) -> bool:
    """What a query asks of a span; durations, order and limit are of its trace."""
    return (
        round(query.start * 1e9) <= span.start_ns <= round(query.end * 1e9)
        and (query.occupancy or not span.occupancy)
        and service_matches(span.service, query)
        and (query.operation is None or span.name == query.operation)
        and all(_text(_value(span, key)) == value for key, value in query.attributes.items())
        and query.status in (None, span.status)
    )


def service_matches(service: Service, query: TraceQuery) -> bool:
    """Whether a service is the one that is asked for, if any is."""
    wanted = query.service
    return wanted is None or service == wanted or (query.any_namespace and service.name == wanted.name)


def duration_matches(nanoseconds: int, query: TraceQuery) -> bool:
    """Whether a trace may take that long."""
    least, most = query.min_duration, query.max_duration
    return (least is None or nanoseconds >= round(least * 1e9)) and (most is None or nanoseconds <= most * 1e9)


def _value(span: Span, key: str) -> AttributeValue:
    return span.attributes[key] if key in span.attributes else span.resource.get(key)


def _text(value: AttributeValue) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    return None
