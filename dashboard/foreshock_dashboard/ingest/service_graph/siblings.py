"""Telling of each call the span above it, and those around it: calls under one span show retries and fallbacks."""

from __future__ import annotations

from collections import deque
from math import inf

from foreshock_dashboard.ingest.service_graph.ancestors import MAX_NESTED, above
from foreshock_dashboard.ingest.service_graph.call_sides import Client
from foreshock_dashboard.ingest.service_graph.increments import Findings
from foreshock_dashboard.ingest.service_graph.pending import Node
from foreshock_dashboard.ingest.service_graph.retries import MAX_CALLS, Calls
from foreshock_dashboard.model.world import Edge


class Telling:
    """Looks at calls under the same span together. A call waits until it is known what kind of span is above it.

    limit: calls that are in doubt at once; beyond it, those that have been longest are decided early.
    """

    def __init__(self, findings: Findings, limit: int) -> None:
        self._findings, self._limit = findings, limit
        self._doubts: deque[tuple[float, Node, Node | None]] = deque()
        self._reviews: deque[tuple[float, Node]] = deque()
        self._changed: dict[Calls, None] = {}

    def tell(self, node: Node, edge: Edge) -> int:
        """Tell a call, once, of the span above it and of those that are around it; how many retries that shows."""
        retries = 0
        outer: Node | None = node
        for _ in range(MAX_NESTED):
            if outer is None or outer.client is None or edge in outer.told:
                break
            outer.told += (edge,)
            more, outer = self._tell_above(outer.parent, outer.client, edge)
            retries += more
        return retries

    def _tell_above(self, start: Node | None, client: Client, edge: Edge, looked: int = 0) -> tuple[int, Node | None]:
        """How many retries the calls beside this one show; and the call of the same service that it lies within."""
        outer, looked = above(start, client.service, looked)
        if outer is None:
            return int(client.resent), None
        if not outer.known:
            outer.pending = outer.pending or []
            outer.pending.append((client, edge, looked))
            return 0, None
        retries = self._place(outer, client, edge)
        return retries, outer if outer.client is not None and outer.client.service == client.service else None

    def _place(self, outer: Node, client: Client, edge: Edge) -> int:
        """Look at a call together with the others under the same span; how many retries that shows."""
        calls = outer.calls
        if calls is None:
            calls = outer.calls = Calls(outer.client.service if outer.client is not None else None)
        if len(calls.all) >= MAX_CALLS:
            self._findings.dropped += 1
            return int(client.resent)
        if outer.expires < inf:
            self._changed[calls] = None
        return calls.add(client, edge)

    def know(self, node: Node) -> None:
        """It is known by now what kind of span this is: so what waited for that can be told."""
        node.known = True
        if node.pending is None:
            return
        pending, node.pending = node.pending, None
        for client, edge, looked in pending:
            retries, outer = self._tell_above(node, client, edge, looked)
            if outer is not None:
                retries += self.tell(outer, edge)
            self._findings.retried(edge, retries)

    def doubt(self, node: Node, when: float) -> None:
        """Decide at a time whether a call was in vain that its SERVER half alone calls failed: others may come yet,
        such as the next attempt of the caller's transport.
        """
        if len(self._doubts) >= self._limit:
            self._decide(*self._doubts.popleft()[1:])
        self._doubts.append((when, node, node.parent))

    def _decide(self, node: Node, parent: Node | None) -> None:
        client = node.client
        if client is None or client.in_vain or any(tally.failed < tally.requests for tally in node.tallies):
            return
        client.in_vain = True
        calls = outer.calls if (outer := above(parent, client.service)[0]) is not None else None
        if calls is not None:
            self._changed[calls] = None
            for edge, retries in calls.turn(client):
                self._findings.retried(edge, retries)

    def review(self, node: Node, when: float) -> None:
        """Look at the calls under a span whose usual time is over; at a time, if one failed, for fallbacks too."""
        if node.calls is not None:
            self._changed[node.calls] = None
        if node.failed_calls:
            self._reviews.append((when, node))

    def expire(self, now: float) -> None:
        """Decide about what is in doubt and what has changed, and do the reviews that are due."""
        while self._doubts and self._doubts[0][0] <= now:
            self._decide(*self._doubts.popleft()[1:])
        while self._reviews and self._reviews[0][0] <= now:
            calls = self._reviews.popleft()[1].calls
            if calls is not None:
                calls.due = True
                self._changed[calls] = None
        for calls in self._changed:
            for edge, retries in calls.settle():
                self._findings.retried(edge, retries)
            if calls.due:
                self._findings.fallbacks += calls.fallbacks()
        self._changed = {}
