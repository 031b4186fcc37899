"""Whether a span is one that was asked for, where the source cannot tell exactly."""

from __future__ import annotations

from foreshock_dashboard.model.span import AttributeValue, Span, TraceQuery


def matches(span: Span, query: TraceQuery) -> bool:
    """All conditions of the query, order and limit aside."""
    least, most = query.min_duration, query.max_duration
    return (
        round(query.start * 1e9) <= span.start_ns <= round(query.end * 1e9)
        and (query.occupancy or not span.occupancy)
        and (query.service is None or span.service == query.service)
        and (query.operation is None or span.name == query.operation)
        and all(_text(_value(span, key)) == value for key, value in query.attributes.items())
        and (least is None or span.duration_ns >= round(least * 1e9))
        and (most is None or span.duration_ns <= most * 1e9)
        and (not query.errors_only or span.status == "error")
    )


def _value(span: Span, key: str) -> AttributeValue:
    return span.attributes[key] if key in span.attributes else span.resource.get(key)


def _text(value: AttributeValue) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    return None
