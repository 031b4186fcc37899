"""What a list says of a trace, made of its spans: for sources whose own lists say less."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from foreshock_dashboard.model.partial import Partial
from foreshock_dashboard.model.span import Span, TraceSummary, head_of, traffic

MAX_TRACE_SPANS = 100_000
"""Spans of one trace that are given, the earliest first."""


def summary_of(trace_id: str, spans: Sequence[Span]) -> TraceSummary:
    """The summary of a trace of one span or more. Occupancy does not count where there is anything else."""
    counted = traffic(spans)
    head = head_of(counted)
    return TraceSummary(
        trace_id=trace_id,
        service=head.service,
        operation=head.name,
        start=head.start_ns / 1e9,
        duration=head.duration_ns / 1e9,
        spans=len(counted),
        errors=sum(span.status == "error" for span in counted),
        services=tuple(sorted({span.service for span in counted})),
        root=not head.parent_id,
    )


def assemble_trace(trace_id: str, spans: Iterable[Span], notes: Sequence[str] = ()) -> Partial[Span]:
    """A trace as `TraceSource.get` gives it: each span once, by start time, and what is known to be missing."""
    found: dict[tuple[str, str], Span] = {}
    for span in spans:
        if span.trace_id == trace_id:
            found.setdefault((span.span_id, span.kind), span)
    ordered = sorted(found.values(), key=lambda span: (span.start_ns, span.end_ns, span.span_id))
    if len(ordered) > MAX_TRACE_SPANS:
        notes = [*notes, f"only the first {MAX_TRACE_SPANS:,} of its {len(ordered):,} spans can be read"]
    return Partial(ordered[:MAX_TRACE_SPANS], "; ".join(notes), len(ordered))
