"""Traces read from Tempo over its HTTP API."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import httpx

from foreshock_dashboard.model.partial import Partial
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Span, TraceQuery, TraceSummary
from foreshock_dashboard.sources.traces.http_client import ApiClient, Credentials
from foreshock_dashboard.sources.traces.matching import duration_matches, service_matches
from foreshock_dashboard.sources.traces.summary import assemble_trace, summary_of
from foreshock_dashboard.sources.traces.tempo_json import PROTOBUF, Hit, Matched, Trace, read_search, read_trace
from foreshock_dashboard.sources.traces.tempo_namespaces import NamespaceCache
from foreshock_dashboard.sources.traces.top_k import TopKSearch, top_k
from foreshock_dashboard.sources.traces.traceql import traceql, whole_seconds

log = logging.getLogger(__name__)

MAX_ROUNDS = 12
"""Requests that one search makes of Tempo at most, to be sure of the slowest or newest."""
PAGE_FACTOR, MIN_PAGE = 4, 200
"""Traces asked for at once: so many times the limit, and at least these."""
MAX_PAGE = 10_000
"""Traces asked for at once, at most."""
MAX_SPANS_PER_TRACE = 100
"""Matching spans told of one trace."""
_SECOND = 10**9
_UNKNOWN = Service("", "unknown_service")


class TempoTraces:
    """A `TraceSource` over Tempo's HTTP API (2.4 or newer). Thread-safe.

    Args:
        url: the API's base, such as http://tempo:3200 or https://gateway/tempo.
        tenant: sent as X-Scope-OrgID.
        credentials: a file as `Credentials` reads it.
        ca: authorities of Tempo's certificate, PEM, in place of the system's.
        timeout: seconds for one answer.
        rounds: requests for one search, at most.
        transport, monotonic: the doors to the network and to the time.

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
            "Tempo",
            url,
            headers={"X-Scope-OrgID": tenant} if tenant else None,
            credentials=Credentials(credentials) if credentials else None,
            ca=ca,
            timeout=timeout,
            transport=transport,
            monotonic=monotonic,
        )
        self.name = self._remote.name
        self._rounds = rounds
        self._second_version = False
        self._tells_roots = True
        self._namespaces = NamespaceCache(self._remote, monotonic)

    def close(self) -> None:
        """Close the connections."""
        self._remote.close()

    def probe(self) -> str:
        """Why it cannot answer; "" where it can. Asks the query frontend for nothing but an echo."""
        try:
            answer = self._remote.get("/api/echo", accept="*/*")
        except SourceError as error:
            return str(error)
        return "" if answer.status == 200 else str(self._remote.strange("404 at /api/echo"))

    def search(self, query: TraceQuery) -> Partial[TraceSummary]:
        """As `TraceSource.search`. The note says what may be missing.

        A Tempo before 2.5 does not tell root spans: the traces with the longest spans are read one by one.
        """
        try:
            hits, note = self._best(query)
        except ValueError as error:
            raise SourceError(f"{self.name}: {error}") from error
        found = [item for item in self._summaries(hits, query) if duration_matches(round(item.duration * 1e9), query)]
        slowest = query.order == "slowest"
        found.sort(key=lambda item: (-(item.duration if slowest else item.start), item.trace_id))
        if note:
            log.info("%s", note)
        return Partial(found[: query.limit], note)

    def _best(self, query: TraceQuery) -> tuple[list[Hit], str]:
        """The slowest or newest, although Tempo gives the first that it finds (`narrow.best`); and what is not sure.

        Traces whose root has not arrived are asked for apart, by their own spans, and only those that could come before
        the last of the others. Beginnings can be asked for by whole seconds only; among those of one second Tempo's own
        order holds.
        """
        slowest = query.order == "slowest"
        rank = _duration if slowest else _start
        asked = min(MAX_PAGE, max(PAGE_FACTOR * query.limit, MIN_PAGE))
        lowest = 0 if slowest else round(query.start * _SECOND)
        search = TopKSearch(query.limit, asked, MAX_PAGE, self._rounds, 1 if slowest else _SECOND, lowest)

        def ask(limit: int, floor: int | None, *, roots: bool, least: int | None = None) -> tuple[list[Hit], bool]:
            floor = max((each for each in (floor, least) if each is not None), default=None)
            answer = self._ask(query, limit, floor, roots=roots)
            fitting = [hit for hit in _fitting(answer, query) if roots or hit.root is None or not self._tells_roots]
            return fitting, len(answer) >= limit

        found: list[Hit] = []
        complete = True
        if self._tells_roots:
            try:
                found, complete = top_k(search, partial(ask, roots=True), rank)
            except SourceError as error:
                if "answers 400" not in str(error):
                    raise
                self._tells_roots = False  # it does not know the question, or refuses any: the next one tells
        least = rank(found[-1]) if len(found) == query.limit else None
        try:
            more, all_of_them = top_k(search, partial(ask, roots=False, least=least), rank)
        except SourceError:
            self._tells_roots = True
            raise
        note = ""
        if not (complete and all_of_them):
            note = (
                f"{self.name} gives the first traces that it finds, not the {query.order}: after {self._rounds} "
                "requests there are more, and some may be missing; ask for a longer minimum duration or a shorter range"
            )
        elif not self._tells_roots and len(more) == query.limit:
            note = f"{self.name} does not tell root spans, as 2.5 does: by how long traces took, some may be missing"
        return list({hit.trace_id: hit for hit in found + more}.values()), note

    def _ask(self, query: TraceQuery, limit: int, floor: int | None, *, roots: bool) -> tuple[Hit, ...]:
        """Those above the floor, nanoseconds of duration or since 1970, as the order is."""
        start, end = whole_seconds(query)
        if floor is not None and query.order == "newest":
            start = max(start, min(floor // _SECOND, end - 1))
        given = {
            "q": traceql(query, floor if query.order == "slowest" else None, roots=roots),
            "start": str(start),
            "end": str(end),
            "limit": str(limit),
            "spss": str(MAX_SPANS_PER_TRACE),
        }
        answer = self._remote.get("/api/search", given)
        if answer.status != 200:
            raise self._remote.strange("404 at /api/search")
        try:
            return read_search(answer.body)
        except ValueError as error:
            raise self._remote.strange(f"{error}, to a search") from error

    def _summaries(self, hits: Iterable[Hit], query: TraceQuery) -> list[TraceSummary]:
        hits = list(hits)
        self._namespaces.learn(hits, *whole_seconds(query))
        return [self._summary(hit) for hit in hits]

    def _summary(self, hit: Hit) -> TraceSummary:
        if hit.head is None or not hit.stats:
            spans = self.get(hit.trace_id)
            if spans:
                return summary_of(hit.trace_id, spans)
        seen = {span.service for span in hit.spans if span.service}
        by_name: dict[str, set[Service]] = {}
        for service in seen:
            by_name.setdefault(service.name, set()).add(service)
        services = seen | {self._namespaces.service(name) for name in hit.stats if name not in by_name}
        name, operation = hit.root or ("", "")
        span = hit.head or Matched(hit.start_ns, 0, operation, None)
        same = by_name.get(name, set())
        head = next(iter(same)) if len(same) == 1 else self._namespaces.service(name) if name else _UNKNOWN
        return TraceSummary(
            trace_id=hit.trace_id,
            service=span.service or head,
            operation=span.name,
            start=span.start_ns / 1e9,
            duration=span.duration_ns / 1e9,
            spans=sum(each.spans for each in hit.stats.values()) or hit.matched,
            errors=sum(each.errors for each in hit.stats.values()),
            services=tuple(sorted(services)),
            root=hit.root is not None,
        )

    def get(self, trace_id: str) -> Partial[Span]:
        """As `TraceSource.get`, `summary.MAX_SPANS` at most. The note says where Tempo gives a part only.

        No times are given: with them, Tempo would look into the blocks of these times alone.
        """
        try:
            found = self._trace(trace_id)
        except ValueError as error:
            raise self._remote.strange(f"{error}, for trace {trace_id}") from error
        return assemble_trace(trace_id, found.spans, found.notes)

    def _trace(self, trace_id: str) -> Trace:
        answer = self._remote.get(f"/api/v2/traces/{trace_id}", accept=f"{PROTOBUF}, application/json;q=0.5")
        if answer.status == 200:
            self._second_version = True
            return read_trace(answer.body, answer.type, wrapped=True)
        if self._second_version:
            return Trace((), ())
        # 404: no such trace, or a Tempo that does not know this address yet.
        answer = self._remote.get(f"/api/traces/{trace_id}", accept=f"{PROTOBUF}, application/json;q=0.5")
        return read_trace(answer.body, answer.type, wrapped=False) if answer.status == 200 else Trace((), ())


def _fitting(hits: Iterable[Hit], query: TraceQuery) -> list[Hit]:
    """The traces that fit what TraceQL does not ask exactly: when a span began, and that it has no namespace.

    A trace with more matching spans than were told is kept: any of the others may fit.
    """
    first, last = round(query.start * 1e9), round(query.end * 1e9)
    return [
        hit
        for hit in hits
        if (hit.head is None or duration_matches(hit.head.duration_ns, query))
        and (
            hit.matched > len(hit.spans)
            or any(
                first <= span.start_ns <= last
                and query.operation in (None, span.name)  # a root, or a long span, is told whether it matches or not
                and (span.service is None or service_matches(span.service, query))
                for span in hit.spans
            )
        )
    ]


def _duration(hit: Hit) -> int:
    return hit.head.duration_ns if hit.head else max((span.duration_ns for span in hit.spans), default=0)


def _start(hit: Hit) -> int:
    return hit.head.start_ns if hit.head else hit.start_ns
