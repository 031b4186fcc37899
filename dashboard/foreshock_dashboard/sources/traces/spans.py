"""Conditions, summaries, and complete traces computed from spans, for sources that return less."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from foreshock_dashboard.model.query import Partial
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Span, TraceQuery, TraceSummary, main_span, traffic_spans

MAX_TRACE_SPANS = 100_000
"""Spans of one trace that are returned, the earliest first."""


def matches(span: Span, query: TraceQuery) -> bool:
    """Whether a span fulfills all conditions on spans; durations, order and limit are conditions on traces."""
    return (
        round(query.start * 1e9) <= span.start_ns <= round(query.end * 1e9)
        and (query.occupancy or not span.occupancy)
        and service_matches(span.service, query)
        and query.operation in (None, span.name)
        and all(_attribute(span, key) == value for key, value in query.attributes.items())
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


def _attribute(span: Span, key: str) -> str | None:
    """Return an attribute of the span, or of its resource, as text."""
    value = span.attributes.get(key, span.resource.get(key))
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def summary_of(trace_id: str, spans: Sequence[Span]) -> TraceSummary:
    """Return the summary of a trace. Occupancy spans are left out unless there are no others."""
    spans = traffic_spans(spans)
    head = main_span(spans)
    return TraceSummary(
        trace_id=trace_id,
        service=head.service,
        operation=head.name,
        start=head.start_ns / 1e9,
        duration=head.duration_ns / 1e9,
        spans=len(spans),
        errors=sum(span.status == "error" for span in spans),
        services=tuple(sorted({span.service for span in spans})),
        root=not head.parent_id,
    )


def assemble_trace(
    trace_id: str, spans: Iterable[Span], notes: Sequence[str] = (), max_spans: int = MAX_TRACE_SPANS
) -> Partial[Span]:
    """Return a trace as `TraceSource.get` does: each span once, by start time, with notes on missing spans."""
    distinct: dict[tuple[str, str], Span] = {}
    for span in spans:
        if span.trace_id == trace_id:
            distinct.setdefault((span.span_id, span.kind), span)
    ordered = sorted(distinct.values(), key=lambda span: (span.start_ns, span.end_ns, span.span_id))
    if len(ordered) > max_spans:
        notes = [*notes, f"only the first {max_spans:,} of its {len(ordered):,} spans can be read"]
    return Partial(ordered[:max_spans], "; ".join(notes), len(ordered))
