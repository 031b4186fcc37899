"""Base of the trace sources over HTTP: options, health, and the search for the first traces."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, Protocol, TypeVar

import httpx

from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.span import TraceQuery
from foreshock_dashboard.sources.http_client import ApiClient
from foreshock_dashboard.sources.http_config.values import HttpConfig
from foreshock_dashboard.sources.traces.spans import MAX_TRACE_SPANS

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 8
"""Concurrent requests to one API, so that many open pages do not overload it."""
_SECOND_NS = 10**9


class _Hit(Protocol):
    @property
    def trace_id(self) -> str: ...

    def rank(self, query: TraceQuery) -> int: ...


Hit = TypeVar("Hit", bound=_Hit)


class PageSize(NamedTuple):
    """Traces per request: a multiple of the limit of the query, and its bounds."""

    factor: int
    minimum: int
    maximum: int

    def first(self, query: TraceQuery) -> int:
        """Return the traces of the first request."""
        return min(self.maximum, max(self.factor * query.limit, self.minimum))


class HttpTraceSource(ABC):
    """Base of trace sources that read from the HTTP API of a trace store.

    Args:
        max_rounds: limit of requests for one search.
        max_trace_spans: limit of spans of one trace.
        url, config, timeout, transport, monotonic: see `ApiClient`, also for the errors.
    """

    kind: ClassVar[str]
    default_max_rounds: ClassVar[int]
    page_size: ClassVar[PageSize]
    resolution_ns: ClassVar[dict[str, int]]
    """By order of a query: floors within the same multiple of it are equal for the source."""

    def __init__(
        self,
        url: str,
        *,
        max_rounds: int | None = None,
        max_trace_spans: int = MAX_TRACE_SPANS,
        config: HttpConfig | None = None,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = ApiClient(
            self.kind,
            url,
            smaller="request fewer traces or a shorter range",
            config=config,
            config_option="--traces-config",
            timeout=timeout,
            max_seconds=timeout,
            max_connections=MAX_CONNECTIONS,
            transport=transport,
            monotonic=monotonic,
        )
        self.name = self._api.name
        self._max_rounds = self.default_max_rounds if max_rounds is None else max_rounds
        self._max_trace_spans, self._monotonic = max_trace_spans, monotonic

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def probe(self) -> str:
        """Return why the source cannot answer; "" if it can."""
        try:
            self._check_health()
        except SourceError as error:
            return str(error)
        return ""

    @abstractmethod
    def _check_health(self) -> None:
        """Send a cheap request, or raise SourceError if the source cannot answer."""

    def _top_hits(
        self, query: TraceQuery, fetch: Callable[[int, int | None], tuple[Sequence[Hit], bool]]
    ) -> tuple[list[Hit], bool]:
        """Return the first hits in the order of the query, and whether no other hit can rank higher.

        Each round requests several times the limit. The k-th best hit so far is a floor: no hit below it can be among
        the best, so the next round requests only hits above it. A response without further hits ends the search. If
        responses are random samples, each round leaves about a quarter of the hits.

        Args:
            query: the conditions, the order, and the limit.
            fetch: returns hits for a page size and a floor (ns of duration, or of start), and whether there are more.
        """
        page, floor = self.page_size.first(query), None
        lowest_floor = 0 if query.order == "slowest" else round(query.start * _SECOND_NS)
        resolution = self.resolution_ns[query.order]
        ranked: list[Hit] = []
        all_hits: list[Hit] = []
        for _ in range(self._max_rounds):
            hits, has_more = fetch(page, floor)
            all_hits += hits
            ranked = first_hits(all_hits, query)
            if not has_more:
                return ranked, True
            previous: int | None = floor
            kth = ranked[-1].rank(query) if len(ranked) == query.limit else -1
            floor = kth if kth >= lowest_floor else None
            if floor is None:
                page = min(self.page_size.maximum, 4 * page)
            elif previous is not None and floor // resolution == previous // resolution:
                return ranked, True
        return ranked, False


def first_hits(hits: Sequence[Hit], query: TraceQuery) -> list[Hit]:
    """Return the hits of highest rank, each trace once (the last of equals), up to the limit of the query."""
    by_id: dict[str, Hit] = {}
    for hit in hits:
        by_id[hit.trace_id] = max(hit, by_id.get(hit.trace_id, hit), key=lambda hit: hit.rank(query))
    return sorted(by_id.values(), key=lambda hit: (-hit.rank(query), hit.trace_id))[: query.limit]


class HealthProbe:
    """Runs a probe, which returns why a system cannot answer ("" if it can), every `interval` seconds.

    error: result of the last probe; "" before the first one.
    """

    def __init__(self, probe: Callable[[], str], interval: float = 10.0) -> None:
        self._probe, self._interval = probe, interval
        self.error = ""
        self._log = LogOnChange(log, recovered="it answers again, after: {}")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Start probing."""
        self._thread.start()

    def close(self) -> None:
        """Stop probing; wait at most a second for a probe in progress."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(1)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                error = self._probe()
            except Exception as failure:  # outermost loop: the next probe takes place
                log.exception("a probe failed")
                error = f"probe failed: {failure}"
            self._log.update(error)
            self.error = error
            self._stop.wait(self._interval)
