"""Traces read from Jaeger over its HTTP API of version 3."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import orjson

from foreshock_dashboard.model.partial import Partial
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.span import Span, TraceQuery, TraceSummary, head_of, traffic
from foreshock_dashboard.sources.otlp.codec import DecodedRequest, MalformedError
from foreshock_dashboard.sources.traces.http_client import ApiClient, Credentials
from foreshock_dashboard.sources.traces.matching import duration_matches, matches
from foreshock_dashboard.sources.traces.otlp_json import decode_groups
from foreshock_dashboard.sources.traces.summary import assemble_trace, summary_of
from foreshock_dashboard.sources.traces.top_k import TopKSearch, top_k

MAX_ROUNDS = 8
"""Requests that one search makes for each service, at most."""
PAGE_FACTOR, MIN_PAGE, MAX_PAGE = 2, 50, 1500
"""Traces asked for at once: so many times the limit, at least and at most. They come with all their spans."""
MAX_SEARCHED_SERVICES = 30
"""Services that are asked for where a search names none: Jaeger finds traces of a service."""
_LAST_SECOND = 2**32
_MICROSECOND = 1000


@dataclass(frozen=True, slots=True)
class Hit:
    """A trace."""

    trace_id: str
    spans: tuple[Span, ...]
    head: Span


class JaegerTraces:
    """A `TraceSource` over Jaeger's API (2.0 or newer, at its port 16686). Thread-safe.

    Jaeger gives whole traces, so conditions and figures of lists are as exact as those of the store.

    Args:
        url: the API's base, such as http://jaeger:16686.
        tenant: sent as x-tenant.
        credentials, ca, timeout, transport, monotonic: as for `Remote`; `credentials` is a file.
        rounds: requests for one search of one service, at most.

    Raises:
        ValueError: the URL or a file cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        tenant: str = "",
        credentials: Path | None = None,
        ca: Path | None = None,
        timeout: float = 30.0,
        rounds: int = MAX_ROUNDS,
        transport: httpx.BaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._remote = ApiClient(
            "Jaeger",
            url,
            headers={"x-tenant": tenant} if tenant else None,
            credentials=Credentials(credentials) if credentials else None,
            ca=ca,
            timeout=timeout,
            transport=transport,
            monotonic=monotonic,
        )
        self.name = self._remote.name
        self._rounds = rounds

    def close(self) -> None:
        """Close the connections."""
        self._remote.close()

    def probe(self) -> str:
        """Why it cannot answer; "" where it can."""
        try:
            self._services()
        except SourceError as error:
            return str(error)
        return ""

    def search(self, query: TraceQuery) -> Partial[TraceSummary]:
        """As `TraceSource.search`. The note says where traces may be missing."""
        services, note = ([query.service.name], "") if query.service else self._named()
        rank = _duration if query.order == "slowest" else _start
        found: dict[str, Hit] = {}
        for service in services:
            hits, missing = self._of(query, service, rank)
            found |= {hit.trace_id: hit for hit in hits}
            note = missing or note
        ranked = sorted(found.values(), key=lambda hit: (-rank(hit), hit.trace_id))[: query.limit]
        return Partial((summary_of(hit.trace_id, hit.spans) for hit in ranked), note)

    def _of(self, query: TraceQuery, service: str, rank: Callable[[Hit], int]) -> tuple[list[Hit], str]:
        """The best traces of a service, and why some may be missing.

        Jaeger can be asked how long a service's span took, not how long the trace did. So it is asked for all; where
        that is too many, for those with long spans of the service, among which others may be missing.
        """
        asked = min(MAX_PAGE, max(PAGE_FACTOR * query.limit, MIN_PAGE))
        found, more = self._ask(query, service, asked, None, durations=False)
        if not more:
            return found, ""
        lowest = 0 if query.order == "slowest" else round(query.start * 1e9)
        search = TopKSearch(query.limit, asked, MAX_PAGE, self._rounds, _MICROSECOND, lowest)
        narrowed, complete = top_k(search, partial(self._ask, query, service, durations=True), rank)
        named = query.service or query.operation or query.attributes or query.status
        by_span = named and (query.order == "slowest" or query.min_duration is not None)
        why = f"after {self._rounds} requests there are more, and" if not complete else "by their spans' durations, and"
        note = f"{self.name} gives the first traces that it finds: {why} some may be missing; ask for a shorter range"
        return found + narrowed, note if by_span or not complete else ""

    def get(self, trace_id: str) -> Partial[Span]:
        """As `TraceSource.get`; as the services told it, without Jaeger's own adjustment of clocks."""
        answer = self._remote.get(f"/api/v3/traces/{trace_id}", {"rawTraces": "true", "raw_traces": "true"})
        decoded = self._traces(answer.body) if answer.status == 200 else DecodedRequest((), 0, {})
        lost = [f"{decoded.rejected} of its spans cannot be read"] if decoded.rejected else []
        return assemble_trace(trace_id, decoded.spans, lost)

    def _named(self) -> tuple[list[str], str]:
        names = self._services()
        if len(names) <= MAX_SEARCHED_SERVICES:
            return names, ""
        asked = f"{MAX_SEARCHED_SERVICES} of {len(names)} were asked for"
        note = f"{self.name} finds traces of one service at a time: {asked}; name one"
        return names[:MAX_SEARCHED_SERVICES], note

    def _services(self) -> list[str]:
        answer = self._remote.get("/api/v3/services")
        try:
            return sorted(map(str, orjson.loads(answer.body)["services"] or []))
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise self._remote.strange(f"{error}, to a question for its services") from error

    def _ask(
        self, query: TraceQuery, service: str, limit: int, floor: int | None, *, durations: bool
    ) -> tuple[list[Hit], bool]:
        """Traces with spans above the floor (nanoseconds of duration, or since 1970), and whether there are more."""
        given = _conditions(
            query if durations else replace(query, min_duration=None, max_duration=None), service, limit, floor
        )
        answer = self._remote.get("/api/v3/traces", given)
        traces: dict[str, list[Span]] = {}
        if answer.status == 200:  # 404: no traces found
            for span in self._traces(answer.body).spans:
                traces.setdefault(span.trace_id, []).append(span)
        elif b"No traces found" not in answer.body:
            raise self._remote.strange("404 at /api/v3/traces")
        hits = []
        for trace_id, spans in traces.items():
            each = tuple(assemble_trace(trace_id, spans))
            head = head_of(traffic(each))
            if duration_matches(head.duration_ns, query) and any(matches(span, query) for span in each):
                hits.append(Hit(trace_id, each, head))
        return hits, len(traces) >= limit

    def _traces(self, body: bytes) -> DecodedRequest:
        try:
            return decode_groups((orjson.loads(body).get("result") or {}).get("resourceSpans") or [])
        except (orjson.JSONDecodeError, MalformedError, AttributeError, TypeError, RecursionError) as error:
            raise self._remote.strange(f"{error}, to a question for traces") from error


def _conditions(query: TraceQuery, service: str, limit: int, floor: int | None) -> dict[str, str]:
    """Parameters under their names (after 2.20) and under those of before; a server reads those that it knows."""
    slowest = query.order == "slowest"
    # In microseconds, which is all that most of Jaeger's storages keep: of equals at the floor none is asked for again.
    least = max(int((query.min_duration or 0) * 1e6), floor // 1000 + 1 if floor is not None and slowest else 0)
    first = max(round(query.start * 1e9), floor + 1 if floor is not None and not slowest else 0)
    given = {
        "serviceName": service,
        "operationName": query.operation or "",
        "startTimeMin": _instant(first),
        "startTimeMax": _instant(max(first, math.ceil(query.end * 1e9)) + 1000),
        "durationMin": f"{least}us" if least else "",
        "durationMax": f"{math.ceil(query.max_duration * 1e6)}us" if query.max_duration is not None else "",
        "searchDepth": str(limit),
        "rawTraces": "true",
        "attributes": orjson.dumps(dict(query.attributes)).decode() if query.attributes else "",
    }
    snake = {"".join(f"_{c.lower()}" if c.isupper() else c for c in name): value for name, value in given.items()}
    return {f"query.{name}": value for name, value in {**given, **snake}.items() if value}


def _instant(nanoseconds: int) -> str:
    """RFC 3339 with nanoseconds."""
    seconds, rest = divmod(max(0, nanoseconds), 10**9)
    return f"{datetime.fromtimestamp(min(seconds, _LAST_SECOND), UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _duration(hit: Hit) -> int:
    return hit.head.duration_ns


def _start(hit: Hit) -> int:
    return hit.head.start_ns
