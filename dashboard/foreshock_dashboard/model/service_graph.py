"""Pairs the CLIENT and SERVER halves of calls into the edges of the service graph.

A pure state machine: time is handed in, and what it finds is taken out as increments of counts. Within the waiting time
the order in which spans come changes nothing in the sums of those increments.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from typing import NamedTuple

from foreshock_dashboard.model.halves import Client, Server, client_half, server_half
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Kind, Span
from foreshock_dashboard.model.world import Edge

USER = Service("", "user")
"""The client of a request that came from outside: of a root SERVER span."""

MESSAGING, DATABASE, VIRTUAL = "messaging_system", "database", "virtual_node"


class Increment(NamedTuple):
    """What one span adds to an edge: counts, and the durations (seconds) that it has seen of either side."""

    edge: Edge
    requests: int = 0
    failed: int = 0
    retries: int = 0
    client_seconds: float | None = None
    server_seconds: float | None = None


class Unpaired(NamedTuple):
    """A span whose other half did not come in time, and that tells no edge by itself."""

    service: Service
    kind: Kind


class Found(NamedTuple):
    """What the graph has found: `dropped` counts spans that were not looked at because too many waited."""

    increments: list[Increment]
    unpaired: list[Unpaired]
    dropped: int


class _Tally:
    """What has been counted for one span of the caller on one edge."""

    __slots__ = ("failed", "failed_names", "names", "previous", "requests", "retries", "timed")

    def __init__(self) -> None:
        self.requests = self.failed = self.retries = self.previous = 0
        self.names: Counter[str] = Counter()
        self.failed_names: Counter[str] = Counter()
        self.timed = False


class _Siblings:
    """Calls under one span on one edge with one name and URL: those that follow a failed one are retries."""

    __slots__ = ("counted", "failed_ends", "last_start", "resent")

    def __init__(self) -> None:
        self.failed_ends: list[int] = []
        self.last_start = 0
        self.resent = 0
        self.counted = 0

    def add(self, client: Client) -> int:
        """How many retries are known beyond those already counted."""
        self.last_start = max(self.last_start, client.start_ns)
        self.resent += client.resent
        if client.failed:
            insort(self.failed_ends, client.end_ns)
        followed = bisect_right(self.failed_ends, self.last_start)
        return self._beyond(max(followed, self.resent))

    def _beyond(self, retries: int) -> int:
        more = retries - self.counted
        self.counted = retries
        return more


class _Node:
    """What is known of one span id of one trace, and of the spans that name it as their parent."""

    __slots__ = (
        "calls",
        "client",
        "expires",
        "inner_clients",
        "own_server",
        "parent",
        "servers",
        "siblings",
        "tallies",
    )

    def __init__(self, expires: float) -> None:
        self.expires = expires
        self.client: Client | None = None
        self.parent: _Node | None = None
        self.own_server: Service | None = None
        self.servers: list[Server] = []
        self.inner_clients: tuple[Service, ...] = ()
        self.tallies: dict[Edge, _Tally] = {}
        self.siblings: dict[tuple[Edge, tuple[str, str]], _Siblings] = {}


class ServiceGraph:
    """Waits up to `ttl` seconds for the other half of a call, for at most `max_items` span ids at once.

    A call is paired by the caller's span id: that of a CLIENT or PRODUCER span, the parent of a SERVER or CONSUMER span
    (or what a CONSUMER links to). Then:

    - each SERVER span under a CLIENT span is a request, all but the first are retries; SERVER spans of one service that
      have different names describe the same request;
    - a request failed if either half has; client and server durations are counted where there is such a half, never 0;
    - a root SERVER span is called by `user`; a CLIENT span that nobody answered calls a database or a peer that its
      attributes name, unless a CLIENT span of the same service under it tells more; a SERVER span whose parent is
      another service's SERVER span is called by that one. Whatever remains is unpaired.

    Spans must not be handed in twice.
    """

    def __init__(self, ttl: float, max_items: int) -> None:
        self._ttl = ttl
        self._max_items = max_items
        self._nodes: dict[tuple[str, str], _Node] = {}
        self._found: list[Increment] = []
        self._unpaired: list[Unpaired] = []
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._nodes)

    def take(self) -> Found:
        """What was found since the last call."""
        found = Found(self._found, self._unpaired, self._dropped)
        self._found, self._unpaired, self._dropped = [], [], 0
        return found

    def add(self, span: Span, service: Service, now: float) -> None:
        """Look at one span; `service` is its service. INTERNAL spans tell nothing."""
        if span.kind in ("client", "producer"):
            self._add_client(span, service, now)
        elif span.kind in ("server", "consumer"):
            self._add_server(span, service, now)

    def expire(self, now: float) -> None:
        """Decide about calls that have waited long enough."""
        while self._nodes:
            key = next(iter(self._nodes))
            node = self._nodes[key]
            if node.expires > now:
                return
            del self._nodes[key]
            self._settle(node)
            node.parent = None  # or a trace that never ends would hold on to all its spans

    def _node(self, trace_id: str, span_id: str, now: float) -> _Node | None:
        key = (trace_id, span_id)
        node = self._nodes.get(key)
        if node is None and len(self._nodes) < self._max_items:
            node = self._nodes[key] = _Node(now + self._ttl)
        return node

    def _add_client(self, span: Span, service: Service, now: float) -> None:
        node = self._node(span.trace_id, span.span_id, now)
        if node is None:
            self._dropped += 1
            return
        parent = self._node(span.trace_id, span.parent_id, now) if span.parent_id else None
        if parent is not None and service not in parent.inner_clients:
            parent.inner_clients += (service,)
        node.client, node.parent = client_half(span, service), parent
        for server in node.servers:
            self._pair(node, node.client, server)

    def _add_server(self, span: Span, service: Service, now: float) -> None:
        server = server_half(span, service)
        own = self._node(span.trace_id, span.span_id, now)
        if own is not None:
            own.own_server = service
        callers = [(link.trace_id, link.span_id) for link in span.links] if span.kind == "consumer" else []
        if not callers and span.parent_id:
            callers = [(span.trace_id, span.parent_id)]
        if not callers:
            self._root(server)
        for trace_id, span_id in dict.fromkeys(callers):
            node = self._node(trace_id, span_id, now)
            if node is None:
                self._dropped += 1
                continue
            node.servers.append(server)
            if node.client is not None:
                self._pair(node, node.client, server)

    def _root(self, server: Server) -> None:
        if server.kind == "consumer":
            self._unpaired.append(Unpaired(server.service, server.kind))
            return
        edge = Edge(USER, server.service, VIRTUAL)
        self._found.append(Increment(edge, 1, int(server.failed), server_seconds=server.seconds))

    def _pair(self, node: _Node, client: Client, server: Server) -> None:
        """Count a call that has both halves. Every figure only grows, so the order of the halves does not matter."""
        messaging = client.kind == "producer" or server.kind == "consumer"
        edge = Edge(client.service, server.service, MESSAGING if messaging else "")
        tally = node.tallies.setdefault(edge, _Tally())
        tally.names[server.name] += 1
        tally.failed_names[server.name] += server.failed
        tally.previous += server.attempts_before
        requests = max(tally.names.values())
        failed = max(int(client.failed), *tally.failed_names.values())
        retries = 0 if messaging else max(requests - 1, tally.previous)
        again = 0 if tally.timed or messaging else self._siblings(node, client, edge)
        self._found.append(
            Increment(
                edge,
                requests - tally.requests,
                failed - tally.failed,
                retries - tally.retries + again,
                None if tally.timed else client.seconds,
                server.seconds,
            )
        )
        tally.requests, tally.failed, tally.retries, tally.timed = requests, failed, retries, True

    def _siblings(self, node: _Node, client: Client, edge: Edge) -> int:
        if node.parent is None:
            return int(client.resent)
        return node.parent.siblings.setdefault((edge, client.target), _Siblings()).add(client)

    def _settle(self, node: _Node) -> None:
        if node.client is not None:
            if not node.servers:
                self._unanswered(node, node.client)
            return
        for server in node.servers:
            if node.own_server is None:
                self._unpaired.append(Unpaired(server.service, server.kind))
            elif node.own_server != server.service:
                edge = Edge(node.own_server, server.service)
                self._found.append(Increment(edge, 1, int(server.failed), server_seconds=server.seconds))

    def _unanswered(self, node: _Node, client: Client) -> None:
        if client.service in node.inner_clients:
            return
        if client.database:
            edge = Edge(client.service, client.peer or Service("", client.database), DATABASE)
        elif client.peer is not None:
            edge = Edge(client.service, client.peer, MESSAGING if client.kind == "producer" else VIRTUAL)
        else:
            self._unpaired.append(Unpaired(client.service, client.kind))
            return
        retries = 0 if edge.connection == MESSAGING else self._siblings(node, client, edge)
        self._found.append(Increment(edge, 1, int(client.failed), retries, client_seconds=client.seconds))
