"""Trace source over Tempo's HTTP API."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from functools import cached_property, partial

from foreshock_dashboard.model.query import Partial, SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Span, TraceQuery, TraceSummary
from foreshock_dashboard.sources.http_client import ApiClient
from foreshock_dashboard.sources.traces.source import HttpTraceSource, PageSize
from foreshock_dashboard.sources.traces.spans import assemble_trace, duration_matches, service_matches, summary_of
from foreshock_dashboard.sources.traces.tempo_json import (
    PROTOBUF,
    Hit,
    Matched,
    Trace,
    read_search,
    read_trace,
    read_values,
)  # fmt: skip
from foreshock_dashboard.sources.traces.traceql import service_query, traceql, whole_seconds

log = logging.getLogger(__name__)

MAX_SPANS_PER_TRACE = 100
"""Matching spans that a search returns per trace."""
NAMESPACE_CACHE_SECONDS = 600.0
MAX_CACHED_NAMES = 10_000
"""Service names with cached namespaces."""
MAX_NAMESPACE_LOOKUPS = 20
"""Limit of service names in one search for namespaces."""
_SECOND_NS = 10**9
_UNKNOWN = Service("", "unknown_service")


class TempoTraces(HttpTraceSource):
    """A `TraceSource` over Tempo's HTTP API (2.4 or newer). Thread-safe."""

    kind, default_max_rounds = "Tempo", 12
    page_size = PageSize(4, 200, 10_000)
    resolution_ns = {"slowest": 1, "newest": _SECOND_NS}  # noqa: RUF012 - never changed

    _has_v2_traces = False
    _has_root_spans = True

    @cached_property
    def _namespaces(self) -> NamespaceCache:
        return NamespaceCache(self._api, self._monotonic)

    def _check_health(self) -> None:
        """Ask the query frontend for an echo."""
        response = self._api.get("/api/echo", accept="*/*")
        if response.status != 200:
            raise self._api.unexpected("404 at /api/echo")

    def search(self, query: TraceQuery) -> Partial[TraceSummary]:
        """See `TraceSource.search`. The note says if traces may be missing.

        Tempo before 2.5 does not return root spans, so the traces with the longest spans are fetched one by one.
        """
        try:
            hits, note = self._best(query)
        except ValueError as error:
            raise SourceError(f"{self.name}: {error}") from error
        self._namespaces.learn(hits, *whole_seconds(query))
        summaries = [self._summary(hit) for hit in hits]
        summaries = [item for item in summaries if duration_matches(round(item.duration * 1e9), query)]
        slowest = query.order == "slowest"
        summaries.sort(key=lambda item: (-(item.duration if slowest else item.start), item.trace_id))
        if note:
            log.info("%s", note)
        return Partial(summaries[: query.limit], note)

    def _best(self, query: TraceQuery) -> tuple[list[Hit], str]:
        """Return the slowest or newest traces (see `_top_hits`), and a note if some may be missing.

        Traces without a root span are searched separately, by their spans, and only those that could rank above the
        last of the others. Starts can be searched by whole seconds only; within a second, Tempo's order is used.
        """

        def fetch(size: int, floor: int | None, *, roots: bool, least: int | None = None) -> tuple[list[Hit], bool]:
            floor = max((bound for bound in (floor, least) if bound is not None), default=None)
            hits = self._fetch(query, size, floor, roots=roots)
            matching = [hit for hit in _matching(hits, query) if roots or hit.root is None or not self._has_root_spans]
            return matching, len(hits) >= size

        rooted: list[Hit] = []
        complete = True
        if self._has_root_spans:
            try:
                rooted, complete = self._top_hits(query, partial(fetch, roots=True))
            except SourceError as error:
                if "returned 400" not in str(error):
                    raise
                self._has_root_spans = False  # an old Tempo, or one that refuses any search, as the next one shows
        least = rooted[-1].rank(query) if len(rooted) == query.limit else None
        try:
            rootless, rootless_complete = self._top_hits(query, partial(fetch, roots=False, least=least))
        except SourceError:
            self._has_root_spans = True
            raise
        note = ""
        if not (complete and rootless_complete):
            note = (
                f"{self.name} returns the first matches, not the {query.order}: results are incomplete after "
                f"{self._max_rounds} requests; use a longer minimum duration or a shorter range"
            )
        elif not self._has_root_spans and len(rootless) == query.limit:
            no_roots = f"{self.name} does not return root spans (Tempo 2.5 does)"
            note = f"{no_roots}: traces may be missing when ordered by duration"
        return list({hit.trace_id: hit for hit in rooted + rootless}.values()), note

    def _fetch(self, query: TraceQuery, limit: int, floor: int | None, *, roots: bool) -> tuple[Hit, ...]:
        """Return traces above the floor: ns of duration, or Unix ns of the start, depending on the order."""
        start, end = whole_seconds(query)
        if floor is not None and query.order == "newest":
            start = max(start, min(floor // _SECOND_NS, end - 1))
        params = {
            "q": traceql(query, floor if query.order == "slowest" else None, roots=roots),
            "start": str(start),
            "end": str(end),
            "limit": str(limit),
            "spss": str(MAX_SPANS_PER_TRACE),
        }
        response = self._api.get("/api/search", params)
        if response.status != 200:
            raise self._api.unexpected("404 at /api/search")
        try:
            return read_search(response.body)
        except ValueError as error:
            raise self._api.unexpected(f"{error}, to a search") from error

    def _summary(self, hit: Hit) -> TraceSummary:
        if hit.head is None or not hit.stats:
            spans = self.get(hit.trace_id)
            if spans:
                return summary_of(hit.trace_id, spans)
        known = {span.service for span in hit.spans if span.service}
        by_name: dict[str, set[Service]] = {}
        for service in known:
            by_name.setdefault(service.name, set()).add(service)
        services = known | {self._namespaces.service(name) for name in hit.stats if name not in by_name}
        name, operation = hit.root or ("", "")
        span = hit.head or Matched(hit.start_ns, 0, operation, None)
        candidates = by_name.get(name, set())
        head = next(iter(candidates)) if len(candidates) == 1 else self._namespaces.service(name) if name else _UNKNOWN
        return TraceSummary(
            trace_id=hit.trace_id,
            service=span.service or head,
            operation=span.name,
            start=span.start_ns / 1e9,
            duration=span.duration_ns / 1e9,
            spans=sum(stats.spans for stats in hit.stats.values()) or hit.matched,
            errors=sum(stats.errors for stats in hit.stats.values()),
            services=tuple(sorted(services)),
            root=hit.root is not None,
        )

    def get(self, trace_id: str) -> Partial[Span]:
        """See `TraceSource.get`. The note says if Tempo returns a part only.

        The request has no time range: with one, Tempo would search only the blocks of that range.
        """
        try:
            trace = self._trace(trace_id)
        except ValueError as error:
            raise self._api.unexpected(f"{error}, for trace {trace_id}") from error
        return assemble_trace(trace_id, trace.spans, trace.notes, self._max_trace_spans)

    def _trace(self, trace_id: str) -> Trace:
        response = self._api.get(f"/api/v2/traces/{trace_id}", accept=f"{PROTOBUF}, application/json;q=0.5")
        if response.status == 200:
            self._has_v2_traces = True
            return read_trace(response.body, response.type, wrapped=True)
        if self._has_v2_traces:
            return Trace((), ())
        # 404: an unknown trace, or a Tempo without this path.
        response = self._api.get(f"/api/traces/{trace_id}", accept=f"{PROTOBUF}, application/json;q=0.5")
        return read_trace(response.body, response.type, wrapped=False) if response.status == 200 else Trace((), ())


def _matching(hits: Iterable[Hit], query: TraceQuery) -> list[Hit]:
    """Return the traces that also fulfill the conditions that TraceQL checks inexactly: start, and empty namespace.

    A trace with more matching spans than were returned is kept: any of the others may match.
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
                and query.operation in (None, span.name)  # root and long spans are returned even if they do not match
                and (span.service is None or service_matches(span.service, query))
                for span in hit.spans
            )
        )
    ]


class NamespaceCache:
    """Namespaces by service name, which search results omit; requested from Tempo and cached."""

    def __init__(self, api: ApiClient, monotonic: Callable[[], float]) -> None:
        self._api, self._monotonic = api, monotonic
        self._cache: dict[str, tuple[float, frozenset[str]]] = {}

    def service(self, name: str) -> Service:
        """Return the service with this name, with its namespace if there is only one."""
        _, namespaces = self._cache.get(name, (0.0, frozenset()))
        return Service(next(iter(namespaces)) if len(namespaces) == 1 else "", name)

    def learn(self, hits: Iterable[Hit], start: int, end: int) -> None:
        """Request the namespaces of the services in search results that lack them. A failure is logged and ignored."""
        now = self._monotonic()
        names: dict[str, None] = {}
        for hit in hits:
            complete = {span.service.name for span in hit.spans if span.service}
            names |= dict.fromkeys(name for name in (*hit.stats, *(hit.root or ())[:1]) if name not in complete)
        unknown = [name for name in names if self._cache.get(name, (-math.inf,))[0] < now]
        if len(self._cache) + len(unknown) > MAX_CACHED_NAMES:
            self._cache.clear()
        for name in unknown[:MAX_NAMESPACE_LOOKUPS]:
            params = {"q": service_query(name), "start": str(start), "end": str(end)}
            try:
                response = self._api.get("/api/v2/search/tag/resource.service.namespace/values", params)
                namespaces = read_values(response.body) if response.status == 200 else frozenset()
            except (SourceError, ValueError) as error:
                log.info("%s: the namespaces of services are not known: %s", self._api.name, error)
                return
            self._cache[name] = now + NAMESPACE_CACHE_SECONDS, namespaces
