"""Trace source over version 3 of Jaeger's HTTP API."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Unpack

import orjson

from foreshock_dashboard.model.partial import Partial
from foreshock_dashboard.model.span import Span, TraceQuery, TraceSummary, main_span, traffic_spans
from foreshock_dashboard.sources.otlp.codec import DecodedRequest, MalformedError
from foreshock_dashboard.sources.traces.http_client import HttpTraceSource, SourceOptions
from foreshock_dashboard.sources.traces.matching import duration_matches, matches
from foreshock_dashboard.sources.traces.otlp_json import decode_groups
from foreshock_dashboard.sources.traces.summary import assemble_trace, summary_of
from foreshock_dashboard.sources.traces.top_k import TopKSearch, top_k

MAX_ROUNDS = 8
"""Limit of requests per service for one search."""
PAGE_FACTOR, MIN_PAGE_TRACES, MAX_PAGE_TRACES = 2, 50, 1500
"""Traces per request: a multiple of the limit of the query, and the bounds. They are returned with all spans."""
MAX_SEARCHED_SERVICES = 30
"""Services that are searched if the query has none; Jaeger searches one service at a time."""
_LAST_SECOND = 2**32
_MICROSECOND_NS = 1000


@dataclass(frozen=True, slots=True)
class Hit:
    """A trace found by a search."""

    trace_id: str
    spans: tuple[Span, ...]
    head: Span


class JaegerTraces(HttpTraceSource):
    """A `TraceSource` over Jaeger's API (2.0 or newer, at its port 16686). Thread-safe.

    Jaeger returns complete traces, so conditions and values of lists are as exact as those of the store.

    Args:
        url: base URL of the API, such as http://jaeger:16686.
        options: see `SourceOptions`; the tenant is sent as x-tenant, and `max_rounds` is per service.

    Raises:
        ValueError: the URL or a file cannot be used.
    """

    def __init__(self, url: str, **options: Unpack[SourceOptions]) -> None:
        super().__init__("Jaeger", url, "x-tenant", MAX_ROUNDS, **options)

    def _check_health(self) -> None:
        self._services()

    def search(self, query: TraceQuery) -> Partial[TraceSummary]:
        """See `TraceSource.search`. The note says if traces may be missing."""
        services, note = ([query.service.name], "") if query.service else self._searched_services()
        rank = _duration if query.order == "slowest" else _start
        hits_by_id: dict[str, Hit] = {}
        for service in services:
            hits, service_note = self._search_service(query, service, rank)
            hits_by_id |= {hit.trace_id: hit for hit in hits}
            note = service_note or note
        ranked = sorted(hits_by_id.values(), key=lambda hit: (-rank(hit), hit.trace_id))[: query.limit]
        return Partial((summary_of(hit.trace_id, hit.spans) for hit in ranked), note)

    def _search_service(self, query: TraceQuery, service: str, rank: Callable[[Hit], int]) -> tuple[list[Hit], str]:
        """Return the best traces of a service, and why some may be missing.

        Jaeger's condition on durations is on spans of the service, not on traces. So all traces are requested first. If
        there are too many, only those with long spans of the service are, and others may be missing.
        """
        page = min(MAX_PAGE_TRACES, max(PAGE_FACTOR * query.limit, MIN_PAGE_TRACES))
        hits, has_more = self._fetch(query, service, page, None, durations=False)
        if not has_more:
            return hits, ""
        lowest = 0 if query.order == "slowest" else round(query.start * 1e9)
        search = TopKSearch(query.limit, page, MAX_PAGE_TRACES, self._max_rounds, _MICROSECOND_NS, lowest)
        best, complete = top_k(search, partial(self._fetch, query, service, durations=True), rank)
        has_span_conditions = query.service or query.operation or query.attributes or query.status
        by_span = has_span_conditions and (query.order == "slowest" or query.min_duration is not None)
        why = (
            f"after {self._max_rounds} requests there are more, and"
            if not complete
            else "by their spans' durations, and"
        )
        note = f"{self.name} gives the first traces that it finds: {why} some may be missing; ask for a shorter range"
        return hits + best, note if by_span or not complete else ""

    def get(self, trace_id: str) -> Partial[Span]:
        """See `TraceSource.get`. Times are as sent, without Jaeger's clock skew adjustment."""
        response = self._api.get(f"/api/v3/traces/{trace_id}", {"rawTraces": "true", "raw_traces": "true"})
        decoded = self._decode(response.body) if response.status == 200 else DecodedRequest((), 0, {})
        notes = [f"{decoded.rejected} of its spans cannot be read"] if decoded.rejected else []
        return assemble_trace(trace_id, decoded.spans, notes, self._max_trace_spans)

    def _searched_services(self) -> tuple[list[str], str]:
        names = self._services()
        if len(names) <= MAX_SEARCHED_SERVICES:
            return names, ""
        limit = f"{MAX_SEARCHED_SERVICES} of {len(names)} were asked for"
        note = f"{self.name} finds traces of one service at a time: {limit}; name one"
        return names[:MAX_SEARCHED_SERVICES], note

    def _services(self) -> list[str]:
        response = self._api.get("/api/v3/services")
        try:
            return sorted(map(str, orjson.loads(response.body)["services"] or []))
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise self._api.unexpected(f"{error}, to a question for its services") from error

    def _fetch(
        self, query: TraceQuery, service: str, limit: int, floor: int | None, *, durations: bool
    ) -> tuple[list[Hit], bool]:
        """Return traces with spans above the floor (ns of duration, or of start), and whether there are more."""
        params = _search_params(
            query if durations else replace(query, min_duration=None, max_duration=None), service, limit, floor
        )
        response = self._api.get("/api/v3/traces", params)
        traces: dict[str, list[Span]] = {}
        if response.status == 200:  # 404: no traces found
            for span in self._decode(response.body).spans:
                traces.setdefault(span.trace_id, []).append(span)
        elif b"No traces found" not in response.body:
            raise self._api.unexpected("404 at /api/v3/traces")
        hits = []
        for trace_id, spans in traces.items():
            trace = tuple(assemble_trace(trace_id, spans, max_spans=self._max_trace_spans))
            head = main_span(traffic_spans(trace))
            if duration_matches(head.duration_ns, query) and any(matches(span, query) for span in trace):
                hits.append(Hit(trace_id, trace, head))
        return hits, len(traces) >= limit

    def _decode(self, body: bytes) -> DecodedRequest:
        try:
            return decode_groups((orjson.loads(body).get("result") or {}).get("resourceSpans") or [])
        except (orjson.JSONDecodeError, MalformedError, AttributeError, TypeError, RecursionError) as error:
            raise self._api.unexpected(f"{error}, to a question for traces") from error


def _search_params(query: TraceQuery, service: str, limit: int, floor: int | None) -> dict[str, str]:
    """Return parameters under their current names (after 2.20) and former ones; a server ignores unknown ones."""
    slowest = query.order == "slowest"
    # In microseconds, the resolution of most storage backends; traces equal to the floor are not requested again.
    min_duration = max(int((query.min_duration or 0) * 1e6), floor // 1000 + 1 if floor is not None and slowest else 0)
    first = max(round(query.start * 1e9), floor + 1 if floor is not None and not slowest else 0)
    params = {
        "serviceName": service,
        "operationName": query.operation or "",
        "startTimeMin": _rfc3339(first),
        "startTimeMax": _rfc3339(max(first, math.ceil(query.end * 1e9)) + 1000),
        "durationMin": f"{min_duration}us" if min_duration else "",
        "durationMax": f"{math.ceil(query.max_duration * 1e6)}us" if query.max_duration is not None else "",
        "searchDepth": str(limit),
        "rawTraces": "true",
        "attributes": orjson.dumps(dict(query.attributes)).decode() if query.attributes else "",
    }
    snake_case = {"".join(f"_{c.lower()}" if c.isupper() else c for c in name): value for name, value in params.items()}
    return {f"query.{name}": value for name, value in {**params, **snake_case}.items() if value}


def _rfc3339(nanoseconds: int) -> str:
    """Return a time in RFC 3339 with nanoseconds."""
    seconds, rest = divmod(max(0, nanoseconds), 10**9)
    return f"{datetime.fromtimestamp(min(seconds, _LAST_SECOND), UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _duration(hit: Hit) -> int:
    return hit.head.duration_ns


def _start(hit: Hit) -> int:
    return hit.head.start_ns
