"""Groups the calls under one parent span, to recognize retries and fallbacks."""

from __future__ import annotations

from collections import deque
from math import inf

from foreshock_dashboard.ingest.service_graph.call_sides import ClientSide
from foreshock_dashboard.ingest.service_graph.increments import GraphUpdate
from foreshock_dashboard.ingest.service_graph.pending import MAX_NESTED_CLIENTS, PendingSpan, skip_internal
from foreshock_dashboard.ingest.service_graph.retries import MAX_CALLS_PER_SPAN, SpanCalls
from foreshock_dashboard.model.world import Edge


class SiblingCalls:
    """Adds each call to the calls of its parent span, once the kind of that span is known.

    limit: calls with a deferred decision at once; beyond it, the oldest is decided early.
    """

    def __init__(self, update: GraphUpdate, limit: int) -> None:
        self._update, self._limit = update, limit
        self._deferred: deque[tuple[float, PendingSpan, PendingSpan | None]] = deque()
        self._rechecks: deque[tuple[float, PendingSpan]] = deque()
        self._changed: dict[SpanCalls, None] = {}

    def add(self, span: PendingSpan, edge: Edge) -> int:
        """Add a call, once per edge, to its parent and to those of the calls around it; return the retries found."""
        retries = 0
        outer: PendingSpan | None = span
        for _ in range(MAX_NESTED_CLIENTS):
            if outer is None or outer.client is None or edge in outer.reported_edges:
                break
            outer.reported_edges += (edge,)
            found, outer = self._add_to_parent(outer.parent, outer.client, edge)
            retries += found
        return retries

    def _add_to_parent(
        self, start: PendingSpan | None, client: ClientSide, edge: Edge, depth: int = 0
    ) -> tuple[int, PendingSpan | None]:
        """Return the retries found, and the parent if it is a call of the same service."""
        parent, depth = skip_internal(start, client.service, depth)
        if parent is None:
            return int(client.is_resend), None
        if not parent.kind_known:
            parent.deferred_calls = parent.deferred_calls or []
            parent.deferred_calls.append((client, edge, depth))
            return 0, None
        same_service = parent.client is not None and parent.client.service == client.service
        outer = parent if same_service else None
        calls = parent.calls
        if calls is None:
            calls = parent.calls = SpanCalls(parent.client.service if parent.client is not None else None)
        if len(calls.calls) >= MAX_CALLS_PER_SPAN:
            self._update.dropped += 1
            return int(client.is_resend), outer
        if parent.expires_at < inf:
            self._changed[calls] = None
        return calls.add(client, edge), outer

    def resolve(self, span: PendingSpan) -> None:
        """Mark the kind of a span as known, and add the calls that waited for it."""
        span.kind_known = True
        if span.deferred_calls is None:
            return
        deferred, span.deferred_calls = span.deferred_calls, None
        for client, edge, depth in deferred:
            retries, outer = self._add_to_parent(span, client, edge, depth)
            if outer is not None:
                retries += self.add(outer, edge)
            self._update.add_retries(edge, retries)

    def defer(self, span: PendingSpan, when: float) -> None:
        """Decide at `when` if a call failed of which only a server side reports failure.

        Further server sides may arrive until then, such as the next attempt of the client's transport.
        """
        if len(self._deferred) >= self._limit:
            self._decide(*self._deferred.popleft()[1:])
        self._deferred.append((when, span, span.parent))

    def _decide(self, span: PendingSpan, parent: PendingSpan | None) -> None:
        client = span.client
        if client is None or client.attempt_failed or any(counts.failed < counts.requests for counts in span.counts):
            return
        client.attempt_failed = True
        outer = skip_internal(parent, client.service)[0]
        if outer is not None and outer.calls is not None:
            self._changed[outer.calls] = None
            for edge, retries in outer.calls.add_failure(client):
                self._update.add_retries(edge, retries)

    def recheck(self, span: PendingSpan, when: float) -> None:
        """Check the calls under an expired span now; if one of them failed, look for fallbacks at `when`."""
        if span.calls is not None:
            self._changed[span.calls] = None
        if span.has_failed_calls:
            self._rechecks.append((when, span))

    def expire(self, now: float) -> None:
        """Make the decisions that are due, and emit the retries and fallbacks of changed spans."""
        while self._deferred and self._deferred[0][0] <= now:
            self._decide(*self._deferred.popleft()[1:])
        while self._rechecks and self._rechecks[0][0] <= now:
            calls = self._rechecks.popleft()[1].calls
            if calls is not None:
                calls.needs_fallbacks = True
                self._changed[calls] = None
        for calls in self._changed:
            for edge, retries in calls.resolve_resends():
                self._update.add_retries(edge, retries)
            if calls.needs_fallbacks:
                self._update.fallbacks += calls.take_fallbacks()
        self._changed = {}
