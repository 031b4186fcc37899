"""Trace source over version 3 of Jaeger's HTTP API."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import orjson

from foreshock_dashboard.model.query import Partial
from foreshock_dashboard.model.span import Span, TraceQuery, TraceSummary, main_span, traffic_spans
from foreshock_dashboard.sources.otlp.codec import DecodedRequest, MalformedError, decode_groups
from foreshock_dashboard.sources.traces.source import HttpTraceSource, PageSize, first_hits
from foreshock_dashboard.sources.traces.spans import assemble_trace, duration_matches, matches, summary_of

MAX_SEARCHED_SERVICES = 30
"""Services that are searched if the query has none; Jaeger searches one service at a time."""
_LAST_SECOND = 2**32


class _Hit(NamedTuple):
    """A trace found by a search."""

    trace_id: str
    spans: tuple[Span, ...]
    head: Span

    def rank(self, query: TraceQuery) -> int:
        return self.head.duration_ns if query.order == "slowest" else self.head.start_ns


class JaegerTraces(HttpTraceSource):
    """A `TraceSource` over Jaeger's API (2.0 or newer, at its port 16686). Thread-safe. `max_rounds` is per service.

    Jaeger returns complete traces, so conditions and values of lists are as exact as those of the store.
    """

    kind, default_max_rounds = "Jaeger", 8
    page_size = PageSize(2, 50, 1500)
    resolution_ns = {"slowest": 1000, "newest": 1000}  # noqa: RUF012 - never changed

    def _check_health(self) -> None:
        self._services()

    def search(self, query: TraceQuery) -> Partial[TraceSummary]:
        """See `TraceSource.search`. The note says if traces may be missing."""
        services, note = [query.service.name] if query.service else self._services(), ""
        if len(services) > MAX_SEARCHED_SERVICES:
            limit = f"{MAX_SEARCHED_SERVICES} of {len(services)} searched"
            note = f"{self.name} searches one service at a time: {limit}; filter by service"
        hits: list[_Hit] = []
        for service in services[:MAX_SEARCHED_SERVICES]:
            hits_of_service, service_note = self._search_service(query, service)
            hits += hits_of_service
            note = service_note or note
        return Partial((summary_of(hit.trace_id, hit.spans) for hit in first_hits(hits, query)), note)

    def _search_service(self, query: TraceQuery, service: str) -> tuple[list[_Hit], str]:
        """Return the best traces of a service, and why some may be missing.

        Jaeger's condition on durations is on spans of the service, not on traces. So all traces are requested first. If
        there are too many, only those with long spans of the service are, and others may be missing.
        """
        hits, has_more = self._fetch(query, service, self.page_size.first(query), None, durations=False)
        if not has_more:
            return hits, ""
        best, complete = self._top_hits(query, partial(self._fetch, query, service, durations=True))
        has_span_conditions = query.service or query.operation or query.attributes or query.status
        by_span = has_span_conditions and (query.order == "slowest" or query.min_duration is not None)
        why = "by their spans' durations" if complete else f"more traces remain after {self._max_rounds} requests"
        note = (
            f"{self.name} returns the first traces that it finds: {why}, and some may be missing; use a shorter range"
        )
        return hits + best, note if by_span or not complete else ""

    def get(self, trace_id: str) -> Partial[Span]:
        """See `TraceSource.get`. Times are as sent, without Jaeger's clock skew adjustment."""
        response = self._api.get(f"/api/v3/traces/{trace_id}", {"rawTraces": "true", "raw_traces": "true"})
        decoded = self._decode(response.body) if response.status == 200 else DecodedRequest((), 0, {})
        notes = [f"{decoded.rejected} of its spans cannot be read"] if decoded.rejected else []
        return assemble_trace(trace_id, decoded.spans, notes, self._max_trace_spans)

    def _services(self) -> list[str]:
        response = self._api.get("/api/v3/services")
        try:
            return sorted(map(str, orjson.loads(response.body)["services"] or []))
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise self._api.unexpected(f"{error} (query for services)") from error

    def _fetch(
        self, query: TraceQuery, service: str, limit: int, floor: int | None, *, durations: bool
    ) -> tuple[list[_Hit], bool]:
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
                hits.append(_Hit(trace_id, trace, head))
        return hits, len(traces) >= limit

    def _decode(self, body: bytes) -> DecodedRequest:
        try:
            return decode_groups((orjson.loads(body).get("result") or {}).get("resourceSpans") or [])
        except (orjson.JSONDecodeError, MalformedError, AttributeError, TypeError, RecursionError) as error:
            raise self._api.unexpected(f"{error} (query for traces)") from error


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
