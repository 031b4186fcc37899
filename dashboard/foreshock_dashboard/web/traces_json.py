"""Spans and trace summaries → plain dicts for JSON. Attribute values are kept as they are; bytes become hex."""

from __future__ import annotations

from collections.abc import Sequence

from foreshock_dashboard.model.query import Json
from foreshock_dashboard.model.span import Attributes, AttributeValue, Span, TraceQuery, TraceSummary, traffic
from foreshock_dashboard.web import lanes_json
from foreshock_dashboard.web.gpu_time import GpuTime
from foreshock_dashboard.web.params import BY_WAIT
from foreshock_dashboard.web.payloads import number
from foreshock_dashboard.web.theme import service_colour
from foreshock_dashboard.web.trace_search import CANDIDATES, Waited, WaitFilter

MOST_SPANS = 5000
"""Spans of one trace that are sent to a page; what was left out is counted."""
DEEPEST = 8
"""Levels of nested attribute values that are kept."""


def query(asked: TraceQuery, wait: WaitFilter | None = None) -> Json:
    """What was asked, so that an empty answer can say of what it is empty. Times in Unix seconds, durations in s."""
    return {
        "start": asked.start,
        "end": asked.end,
        "service": str(asked.service) if asked.service else None,
        "operation": asked.operation,
        "attributes": dict(asked.attributes),
        "min_duration": asked.min_duration,
        "max_duration": asked.max_duration,
        "min_gpu_wait": wait.least if wait else None,
        "errors": asked.errors_only,
        "order": BY_WAIT if wait and wait.first else asked.order,
        "limit": asked.limit,
    }


def summary(item: TraceSummary) -> Json:
    """One row of a trace list."""
    return {
        "trace_id": item.trace_id,
        "service": str(item.service),
        "colour": service_colour(str(item.service)),
        "operation": item.operation,
        "start": round(item.start, 6),
        "duration_seconds": number(item.duration),
        "spans": item.spans,
        "errors": item.errors,
        "services": [str(service) for service in item.services],
        "root": item.root,
    }


def traces(asked: TraceQuery, found: Sequence[TraceSummary]) -> Json:
    """A trace list with what was asked."""
    return {"query": query(asked), "traces": [summary(item) for item in found]}


def traces_by_wait(asked: TraceQuery, wait: WaitFilter, found: Waited) -> Json:
    """A trace list by the time waited for a GPU; `candidates` says among how many it was picked."""
    rows = [summary(item) | {"gpu_wait_seconds": found.seconds[item.trace_id]} for item in found.found]
    candidates = {"looked_at": found.looked_at, "bound": CANDIDATES, "bound_reached": found.bounded}
    return {"query": query(asked, wait), "traces": rows, "candidates": candidates, "note": found.note}


def trace(trace_id: str, spans: Sequence[Span], gpu_time: GpuTime | None = None) -> Json:
    """One trace. Offsets and durations in seconds from the earliest span, which starts at `start` (Unix seconds)."""
    gpu_time = gpu_time or GpuTime()
    told = traffic(spans)
    shown = told[:MOST_SPANS]
    start = min((span.start_ns for span in shown), default=0)
    end = max((span.end_ns for span in shown), default=start)
    return {
        "trace_id": trace_id,
        "start": start / 1e9,
        "duration_seconds": (end - start) / 1e9,
        "left_out": len(told) - len(shown),
        **lanes_json.lanes(gpu_time, start),
        "spans": [
            _span(span, start) | {"gpu": lanes_json.wait(gpu_time.lanes.waits.get((span.span_id, span.kind)))}
            for span in shown
        ],
    }


def _span(span: Span, origin: int) -> Json:
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "service": str(span.service),
        "colour": service_colour(str(span.service)),
        "kind": span.kind,
        "offset_seconds": (span.start_ns - origin) / 1e9,
        "duration_seconds": span.duration_ns / 1e9,
        "status": span.status,
        "status_message": span.status_message,
        "clamped": span.clamped,
        "scope": span.scope,
        "attributes": _attributes(span.attributes),
        "resource": _attributes(span.resource),
        "events": [
            {
                "offset_seconds": (event.time_ns - origin) / 1e9,
                "name": event.name,
                "attributes": _attributes(event.attributes),
            }
            for event in span.events
        ],
        "links": [
            {"trace_id": link.trace_id, "span_id": link.span_id, "attributes": _attributes(link.attributes)}
            for link in span.links
        ],
    }


def _attributes(attributes: Attributes) -> Json:
    return {name: _value(value) for name, value in attributes.items()}


def _value(value: AttributeValue, depth: int = 0) -> AttributeValue:
    if depth >= DEEPEST:
        return "…"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [_value(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {str(name): _value(item, depth + 1) for name, item in value.items()}
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return str(value)  # JavaScript's numbers are exact up to there only
    return value
