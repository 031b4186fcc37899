"""Spans and trace summaries as JSON. Attribute values are unchanged; bytes become hex."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from foreshock_dashboard.analysis.traces.clock_skew import ClockSkew, clock_skew
from foreshock_dashboard.analysis.traces.critical_path import CriticalPath, TimeRange, critical_path
from foreshock_dashboard.analysis.traces.time_breakdown import time_breakdown
from foreshock_dashboard.ingest.otlp.detail import sent_span
from foreshock_dashboard.ingest.otlp.values import attributes_of
from foreshock_dashboard.model.query import total_of
from foreshock_dashboard.model.span import (
    Attributes,
    AttributeValue,
    Kind,
    Span,
    Status,
    TraceQuery,
    TraceSummary,
    main_span,
    traffic_spans,
)
from foreshock_dashboard.model.types import Activity, Json
from foreshock_dashboard.render.verdict.trace_sentence import clock_note
from foreshock_dashboard.web.charts.theme import service_color
from foreshock_dashboard.web.pages.traces import lanes_json
from foreshock_dashboard.web.pages.traces.gpu_time import GpuTime
from foreshock_dashboard.web.pages.traces.parameters import BY_WAIT, FIRST_PAGE, Order, SpanPage, WaitFilter
from foreshock_dashboard.web.state.numbers import number

MAX_SPAN_BYTES = 16 << 20
"""Bytes of the spans in one answer, as received, each with its resource and scope."""
MAX_DEPTH = 64
"""Levels of nested attribute values; OTLP has up to 50 (protobuf reads 100 messages deep)."""


class TraceRow(TypedDict):
    """A trace in a list."""

    trace_id: str
    service: str
    color: int
    operation: str
    start: float
    duration_seconds: float | None
    spans: int
    errors: int
    services: list[str]
    root: bool
    gpu_wait_seconds: NotRequired[float | None]


class QueryJson(TypedDict):
    """The search that was understood: times in Unix seconds, durations in seconds."""

    start: float
    end: float
    service: str | None
    operation: str | None
    attributes: dict[str, str]
    min_duration: float | None
    max_duration: float | None
    min_gpu_wait: float | None
    status: Status | None
    errors: bool
    order: Order
    limit: int


class Candidates(TypedDict):
    """The traces that a list by GPU wait was picked from, the slowest that match."""

    examined: int
    limit: int
    limit_reached: bool


class Traces(TypedDict):
    """A trace list."""

    query: QueryJson
    traces: list[TraceRow]
    note: Annotated[str, Field(description="why some may be missing; empty where none is")]
    candidates: NotRequired[
        Annotated[
            Candidates,
            Field(description="with order=gpu_wait or min_gpu_wait: traces whose GPU wait was computed"),
        ]
    ]


class EventJson(TypedDict):
    """An event of a span."""

    offset_seconds: float | None
    time_unix_nano: str
    name: str
    attributes: Json
    dropped_attributes_count: int


class LinkJson(TypedDict):
    """A link of a span."""

    trace_id: str
    span_id: str
    trace_state: str
    flags: int
    attributes: Json
    dropped_attributes_count: int


class SpanJson(TypedDict):
    """A span in full."""

    span_id: str
    parent_id: str
    name: str
    service: str
    color: int
    kind: Kind
    offset_seconds: float
    duration_seconds: float
    start_time_unix_nano: str
    end_time_unix_nano: str
    status: Status
    status_message: str
    clamped: bool
    trace_state: str
    flags: int
    attributes: Json
    dropped_attributes_count: int
    resource: Json
    resource_dropped_attributes_count: int
    resource_schema_url: str
    scope: str
    scope_version: str
    scope_attributes: Json
    scope_dropped_attributes_count: int
    scope_schema_url: str
    events: list[EventJson]
    dropped_events_count: int
    links: list[LinkJson]
    dropped_links_count: int


class SpanOnGpu(SpanJson):
    """A span with its GPU and its part of the critical path."""

    gpu: Annotated[
        lanes_json.SpanGpu | None,
        Field(description="what it had of its GPU; null where it is not known to have run on a shared one"),
    ]
    critical: Annotated[list[list[float]], Field(description="offset and duration of each part of the critical path")]
    gaps: Annotated[list[list[float]], Field(description="offset and duration of each part that no child span covers")]


class ClockRow(TypedDict):
    """A host and the offset of its clock."""

    host: str
    ahead_seconds: float | None
    within_seconds: float | None


class Clocks(TypedDict):
    """Clock offsets between the hosts of a trace."""

    skewed: Annotated[bool, Field(description="spans lie outside their parents: clocks of hosts differ")]
    clocks: Annotated[list[ClockRow], Field(description="the hosts whose clocks differ from that of the root's host")]
    clock_note: Annotated[str, Field(description="the same as a sentence; empty where the clocks agree")]


class TimePartJson(TypedDict):
    """A part of a trace's duration: what one service spent on one activity."""

    activity: Annotated[
        Activity,
        Field(
            description="failed_calls: of the calling service, retries and pauses included; queue: of a model server"
        ),
    ]
    service: str
    color: int
    seconds: float
    calls: Annotated[int, Field(description="failed calls; 0 for other activities")]


class TraceSpans(Clocks, lanes_json.Lanes):
    """A trace and a page of its spans."""

    trace_id: str
    start: Annotated[float, Field(description="of the earliest span, Unix seconds; offsets count from it")]
    duration_seconds: Annotated[float, Field(description="of the root span; of the longest where the root is missing")]
    extent_seconds: Annotated[float, Field(description="first start to last end, each by the clock of its host")]
    root_offset_seconds: Annotated[float, Field(description="start of that span")]
    total: Annotated[int, Field(description="spans of the trace")]
    offset: Annotated[int, Field(description="spans before those given")]
    left_out: Annotated[int, Field(description="spans after those given")]
    next_offset: Annotated[int | None, Field(description="offset of the next page; null after the last")]
    critical_seconds: Annotated[
        dict[str, float], Field(description="seconds of the critical path by service, largest first")
    ]
    parts: Annotated[
        list[TimePartJson],
        Field(description="the critical path by activity, the longest first; adds up to duration_seconds"),
    ]
    spans: list[SpanOnGpu]


class Trace(TraceSpans):
    """A trace, and how complete it is."""

    note: Annotated[str, Field(description="why spans may be missing; empty where none is known to be")]


def query(query_: TraceQuery, wait: WaitFilter | None = None) -> QueryJson:
    """The search as it was parsed: an empty list states its conditions."""
    return {
        "start": query_.start,
        "end": query_.end,
        "service": str(query_.service) if query_.service else None,
        "operation": query_.operation,
        "attributes": dict(query_.attributes),
        "min_duration": query_.min_duration,
        "max_duration": query_.max_duration,
        "min_gpu_wait": wait.least if wait else None,
        "status": query_.status,
        "errors": query_.status == "error",
        "order": BY_WAIT if wait and wait.first else query_.order,
        "limit": query_.limit,
    }


def summary(item: TraceSummary) -> TraceRow:
    """One row of a trace list."""
    return {
        "trace_id": item.trace_id,
        "service": str(item.service),
        "color": service_color(str(item.service)),
        "operation": item.operation,
        "start": round(item.start, 6),
        "duration_seconds": number(item.duration),
        "spans": item.spans,
        "errors": item.errors,
        "services": [str(service) for service in item.services],
        "root": item.root,
    }


def traces(
    query_: TraceQuery,
    summaries: Sequence[TraceSummary],
    waits: Mapping[str, float | None],
    note: str,
    wait: WaitFilter | None = None,
    candidates: Candidates | None = None,
) -> Traces:
    """A trace list.

    waits: seconds that traces waited for a GPU, by id. note: why traces may be missing. wait: the filter or order by
    GPU wait. candidates: the traces that a list by GPU wait was picked from.
    """
    rows = []
    for item in summaries:
        row = summary(item)
        if item.trace_id in waits:
            row["gpu_wait_seconds"] = waits[item.trace_id]
        rows.append(row)
    if candidates is None:
        return {"query": query(query_), "traces": rows, "note": note}
    return {"query": query(query_, wait), "traces": rows, "candidates": candidates, "note": note}


def trace(
    trace_id: str, spans: Sequence[Span], gpu_time: GpuTime | None = None, page: SpanPage = FIRST_PAGE
) -> TraceSpans:
    """A trace and a page of its spans.

    Offsets in seconds from the earliest span, which starts at `start` (Unix seconds), each by the clock of its host.
    """
    gpu_time = gpu_time or GpuTime()
    requests = traffic_spans(spans)
    shown = _shown(requests, page)
    start = min((span.start_ns for span in requests), default=0)
    end = max((span.end_ns for span in requests), default=start)
    total, after = total_of(spans) - len(spans) + len(requests), page.offset + len(shown)
    path = critical_path(requests)
    return {
        "trace_id": trace_id,
        "start": start / 1e9,
        "duration_seconds": main_span(requests).duration_ns / 1e9 if requests else 0.0,
        "extent_seconds": (end - start) / 1e9,
        "root_offset_seconds": (main_span(requests).start_ns - start) / 1e9 if requests else 0.0,
        "total": total,
        "offset": page.offset,
        "left_out": max(0, total - after),
        "next_offset": after if shown and after < len(requests) else None,
        **_clocks(clock_skew(requests)),
        **lanes_json.lanes(gpu_time, start),
        "critical_seconds": _by_service(requests, path),
        "parts": [
            {
                "activity": part.activity,
                "service": str(part.service),
                "color": service_color(str(part.service)),
                "seconds": number(part.seconds) or 0.0,
                "calls": part.calls,
            }
            for part in time_breakdown(requests, path)
        ],
        "spans": [
            {
                **_span(span, start),
                "gpu": lanes_json.wait(gpu_time.lanes.waits.get((span.span_id, span.kind))),
                "critical": _stretches(path.own_time.get(at, ()), start),
                "gaps": _stretches(path.gaps.get(at, ()), start),
            }
            for at, span in enumerate(shown, page.offset)
        ],
    }


def _stretches(parts: Sequence[TimeRange], origin: int) -> list[list[float]]:
    """Offset and duration of each part, seconds."""
    return [[(start - origin) / 1e9, (end - start) / 1e9] for start, end in parts]


def _by_service(spans: Sequence[Span], path: CriticalPath) -> dict[str, float]:
    seconds_by_service: dict[str, int] = {}
    for at, own in path.own_time.items():
        name = str(spans[at].service)
        seconds_by_service[name] = seconds_by_service.get(name, 0) + sum(end - start for start, end in own)
    return {
        name: nanos / 1e9 for name, nanos in sorted(seconds_by_service.items(), key=lambda item: (-item[1], item[0]))
    }


def _shown(spans: Sequence[Span], page: SpanPage) -> Sequence[Span]:
    """The spans of a page: fewer than its limit where they are large, but at least one."""
    wanted = spans[page.offset : page.offset + page.limit]
    size = 0
    for count, span in enumerate(wanted):
        size += sum(map(len, (*span.raw[0], span.raw[1]))) if span.raw else 0
        if count and size > MAX_SPAN_BYTES:
            return wanted[:count]
    return wanted


def _clocks(skew: ClockSkew) -> Clocks:
    clocks: list[ClockRow] = [
        {"host": host.host, "ahead_seconds": _nanos(host.seconds), "within_seconds": _nanos(host.within)}
        for host in skew.hosts
    ]
    return {"skewed": bool(clocks), "clocks": clocks, "clock_note": clock_note(skew)}


def _nanos(seconds: float | None) -> float | None:
    """Seconds to a nanosecond; the rest is rounding error."""
    return None if seconds is None else round(seconds, 9)


def _span(span: Span, origin: int) -> SpanJson:
    messages = sent_span(span)
    sent, scope = messages.span, messages.scope
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "service": str(span.service),
        "color": service_color(str(span.service)),
        "kind": span.kind,
        "offset_seconds": (span.start_ns - origin) / 1e9,
        "duration_seconds": span.duration_ns / 1e9,
        "start_time_unix_nano": str(sent.start_time_unix_nano),
        "end_time_unix_nano": str(sent.end_time_unix_nano),
        "status": span.status,
        "status_message": span.status_message,
        "clamped": span.clamped,
        "trace_state": span.trace_state,
        "flags": sent.flags,
        "attributes": _attributes(span.attributes),
        "dropped_attributes_count": sent.dropped_attributes_count,
        "resource": _attributes(span.resource),
        "resource_dropped_attributes_count": messages.resource.dropped_attributes_count,
        "resource_schema_url": messages.resource_schema_url,
        "scope": span.scope,
        "scope_version": scope.version,
        "scope_attributes": _attributes(attributes_of(scope.attributes)),
        "scope_dropped_attributes_count": scope.dropped_attributes_count,
        "scope_schema_url": messages.scope_schema_url,
        "events": [
            {
                "offset_seconds": (event.time_ns - origin) / 1e9 if event.time_ns else None,
                "time_unix_nano": str(event.time_ns),
                "name": event.name,
                "attributes": _attributes(event.attributes),
                "dropped_attributes_count": more.dropped_attributes_count,
            }
            for event, more in zip(span.events, sent.events, strict=True)
        ],
        "dropped_events_count": sent.dropped_events_count,
        "links": [
            {
                "trace_id": link.trace_id,
                "span_id": link.span_id,
                "trace_state": more.trace_state,
                "flags": more.flags,
                "attributes": _attributes(link.attributes),
                "dropped_attributes_count": more.dropped_attributes_count,
            }
            for link, more in zip(span.links, sent.links, strict=True)
        ],
        "dropped_links_count": sent.dropped_links_count,
    }


def _attributes(attributes: Attributes) -> Json:
    return {name: _value(value) for name, value in attributes.items()}


def _value(value: AttributeValue, depth: int = 0) -> AttributeValue:
    if depth >= MAX_DEPTH:
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
