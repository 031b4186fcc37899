"""Trace summaries and complete traces made from spans, for sources that return less."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from foreshock_dashboard.model.partial import Partial
from foreshock_dashboard.model.span import Span, TraceSummary, main_span, traffic_spans

MAX_TRACE_SPANS = 100_000
"""Spans of one trace that are returned, the earliest first."""


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
