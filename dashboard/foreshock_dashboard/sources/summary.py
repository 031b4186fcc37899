"""What a list says of a trace, made of its spans: for sources whose own lists say less."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from foreshock_dashboard.model.partial import Partial
from foreshock_dashboard.model.span import Span, TraceSummary, traffic

MAX_SPANS = 100_000
"""Spans of one trace that are given, the earliest first."""


def summary_of(trace_id: str, spans: Sequence[Span]) -> TraceSummary:
    """The summary of a trace of one span or more. Occupancy does not count where there is anything else."""
    counted = traffic(spans)
    head = min(counted, key=lambda span: (span.parent_id != "", span.start_ns))
    first, last = min(span.start_ns for span in counted), max(span.end_ns for span in counted)
    return TraceSummary(
        trace_id=trace_id,
        service=head.service,
        operation=head.name,
        start=first / 1e9,
        duration=(last - first) / 1e9,
        spans=len(counted),
        errors=sum(span.status == "error" for span in counted),
        services=tuple(sorted({span.service for span in counted})),
        root=any(not span.parent_id for span in counted),
    )


def whole(trace_id: str, spans: Iterable[Span], notes: Sequence[str] = ()) -> Partial[Span]:
    """A trace as `TraceSource.get` gives it: each span once, by start time, and what is known to be missing."""
    found: dict[tuple[str, str], Span] = {}
    for span in spans:
        if span.trace_id == trace_id:
            found.setdefault((span.span_id, span.kind), span)
    ordered = sorted(found.values(), key=lambda span: (span.start_ns, span.end_ns, span.span_id))
    if len(ordered) > MAX_SPANS:
        notes = [*notes, f"{len(ordered) - MAX_SPANS} of its {len(ordered)} spans, the latest, are left out"]
    return Partial(ordered[:MAX_SPANS], "; ".join(notes))
