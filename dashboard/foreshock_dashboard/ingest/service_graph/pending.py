"""Pending spans: a bounded store with TTL, and the search for the spans above one of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from math import inf

from foreshock_dashboard.ingest.service_graph.call_sides import Callee, ClientSide, ServerSide
from foreshock_dashboard.ingest.service_graph.increments import CallCounts
from foreshock_dashboard.ingest.service_graph.retries import SpanCalls
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import SpanKey
from foreshock_dashboard.model.world import Edge

MAX_NESTED_CLIENTS = 8
"""CLIENT spans of one service, each within the one before, that count as one call."""
MAX_INTERNAL_DEPTH = 16
"""INTERNAL spans of one service, each within the one before, between a call and the span above it."""
MAX_HELD_PARENTS = 64
"""Parents that an expired span keeps alive for the spans below it."""


class PendingSpan:
    """State of one span key (trace and span id), and of the spans that name it as their parent."""

    __slots__ = (
        "assumed_server", "calls", "client", "counted_alone", "counts", "deferred_calls", "expires_at",
        "has_failed_calls", "inner_clients", "internal_service", "is_attempt", "is_complete", "key", "kind_known",
        "parent", "parent_key", "reported_edges", "server_service", "servers",
    )  # fmt: skip

    def __init__(self, key: SpanKey) -> None:
        self.key = key
        self.expires_at = inf  # set when the TTL is over
        self.parent: PendingSpan | None = None
        self.kind_known = False  # also once the TTL is over
        self.client: ClientSide | None = None
        self.server_service: Service | None = None  # service of a SERVER or CONSUMER span
        self.internal_service: Service | None = None  # service of an INTERNAL span
        self.parent_key: SpanKey = b""  # of an INTERNAL span; its own key at a root
        self.is_attempt = False  # whether an INTERNAL span is an attempt of a call
        self.servers: list[ServerSide] | None = None  # server sides that wait for this client side
        self.is_complete = False  # whether the client side has a server side
        self.inner_clients: tuple[tuple[Service, bool], ...] = ()  # CLIENT spans below: service, whether of a database
        self.assumed_server: Service | None = None  # server of a call that was counted without its server side
        self.counted_alone = False  # whether the call was counted without its server side
        self.has_failed_calls = False  # whether a call below failed, so that retries may follow
        self.counts: tuple[CallCounts, ...] = ()  # of its call, one per edge
        self.reported_edges: tuple[Edge, ...] = ()  # edges on which the call was added to the calls of its parent
        self.calls: SpanCalls | None = None  # calls below
        self.deferred_calls: list[tuple[ClientSide, Edge, int]] | None = None
        """Calls below with their depth, until the kind of this span is known."""

    def counts_on(self, edge: Edge) -> CallCounts | None:
        """Return the counts of the call on an edge; None if there are none."""
        for counts in self.counts:
            if counts.edge == edge:
                return counts
        return None

    def set_kind(self, service: Service, parent: SpanKey, *, attempt: bool) -> None:
        """Mark the span as an INTERNAL one under `parent` (itself at a root), or with b"" as a SERVER span."""
        if parent:
            self.internal_service, self.parent_key, self.is_attempt = service, parent, attempt
        else:
            self.server_service = service
        self.kind_known = True

    def take_servers(self) -> list[ServerSide]:
        """Return the waiting server sides, which wait no longer."""
        servers, self.servers = self.servers or [], None
        return servers


class PendingSpans:
    """Pending spans by key. Each expires after `ttl` seconds, or `extension` seconds later if it is extended.

    Extended spans are evicted first when there are `limit` spans.
    """

    def __init__(self, ttl: float, extension: float, limit: int) -> None:
        self._ttl = ttl
        self._extension = extension
        self._limit = limit
        self._spans: dict[SpanKey, PendingSpan] = {}
        self._by_expiry: deque[tuple[float, list[PendingSpan]]] = deque()  # one list per time of arrival
        self._extended: deque[PendingSpan] = deque()
        self._last_now: float | None = None
        self._newest: list[PendingSpan] = []

    def __len__(self) -> int:
        return len(self._spans)

    @property
    def is_full(self) -> bool:
        """Whether a span has to be evicted before another can be added."""
        return len(self._spans) >= self._limit

    def find(self, key: SpanKey) -> PendingSpan | None:
        """Return the span with a key; None if it is not pending."""
        return self._spans.get(key)

    def add(self, key: SpanKey, now: float) -> PendingSpan:
        """Add and return a span."""
        if now != self._last_now:
            self._last_now, self._newest = now, []
            self._by_expiry.append((now + self._ttl, self._newest))
        span = PendingSpan(key)
        self._spans[key] = span
        self._newest.append(span)
        return span

    def expired(self, now: float) -> Iterator[PendingSpan]:
        """Yield the spans past their TTL. The caller extends or removes each of them."""
        while self._by_expiry and self._by_expiry[0][0] <= now:
            expires_at, spans = self._by_expiry.popleft()
            if spans is self._newest:
                self._last_now = None
            for span in spans:
                span.expires_at = expires_at
                yield span

    def extend(self, span: PendingSpan) -> None:
        """Keep an expired span for the extension."""
        span.expires_at += self._extension
        self._extended.append(span)

    def remove(self, span: PendingSpan) -> None:
        """Remove a span."""
        del self._spans[span.key]

    def pop_extended(self, now: float | None = None) -> PendingSpan | None:
        """Remove and return the oldest extended span; with `now`, only if its extension is over."""
        if not self._extended or (now is not None and self._extended[0].expires_at > now):
            return None
        span = self._extended.popleft()
        del self._spans[span.key]
        return span


class _Generation:
    """Services of SERVER and INTERNAL spans, parents of INTERNAL ones, and which of these are attempts.

    There are many entries, so none of them is an object that the garbage collector tracks.
    """

    def __init__(self) -> None:
        self.services: dict[SpanKey, Service] = {}
        self.parents: dict[SpanKey, SpanKey] = {}
        self.attempts: set[SpanKey] = set()


class ParentIndex:
    """SERVER and INTERNAL spans, which matter only if a span below one of them arrives.

    Entries live between `ttl` and twice `ttl` seconds, less if more than `limit` arrive: two generations, of which the
    older one is discarded as a whole.
    """

    def __init__(self, ttl: float, limit: int) -> None:
        self._ttl, self._limit = ttl, limit
        self._young, self._old = _Generation(), _Generation()
        self._rotates_at = -inf

    def add(
        self,
        spans: Sequence[SpanKey],
        services: Iterable[Service],
        now: float,
        parents: Iterable[SpanKey] = (),
        attempts: Iterable[SpanKey] = (),
    ) -> None:
        """Add spans, as columns. INTERNAL spans have `parents`; `attempts` are the keys of those that are attempts."""
        if now >= self._rotates_at or len(self._young.services) >= self._limit:
            self._young, self._old, self._rotates_at = _Generation(), self._young, now + self._ttl
        self._young.services.update(zip(spans, services, strict=True))
        self._young.parents.update(zip(spans, parents, strict=False))
        self._young.attempts.update(attempts)

    def get(self, span: SpanKey) -> tuple[Service, SpanKey, bool] | None:
        """Return service, parent (b"" for a SERVER span) and whether it is an attempt; None for an unknown span."""
        for generation in (self._young, self._old):
            service = generation.services.get(span)
            if service is not None:
                return service, generation.parents.get(span, b""), span in generation.attempts
        return None


def skip_internal(span: PendingSpan | None, service: Service, depth: int = 0) -> tuple[PendingSpan | None, int]:
    """Go up from a span to the first one that is not an INTERNAL span of the service.

    depth: INTERNAL spans skipped before; returned with those skipped now added. It is limited, since spans may name
        each other as parents in a circle.
    """
    while (
        span is not None and span.internal_service == service and span.parent is not None and depth < MAX_INTERNAL_DEPTH
    ):
        span, depth = span.parent, depth + 1
    return span, depth


def best_callee(span: PendingSpan, client: ClientSide) -> Callee:
    """Return the most specific callee: of the span itself, or of a CLIENT span of its service around it."""
    if client.callee.is_specific:
        return client.callee
    for _ in range(MAX_NESTED_CLIENTS):
        outer = skip_internal(span.parent, client.service)[0]
        if outer is None or outer.client is None or outer.client.service != client.service:
            break
        if outer.client.callee.is_specific:
            return outer.client.callee
        span = outer
    return client.callee


def release_parents(span: PendingSpan) -> None:
    """Drop the reference to the parent unless spans below still need it; else an endless trace would never be freed.

    Only calls of the same service go up through this span, and only a limited number of steps.
    """
    service = span.client.service if span.client is not None else span.internal_service
    if not span.inner_clients or all(inner != service for inner, _ in span.inner_clients):
        span.parent = None
        return
    top = span.parent
    for _ in range(MAX_HELD_PARENTS):
        if top is None:
            return
        top = top.parent
    span.parent = None
