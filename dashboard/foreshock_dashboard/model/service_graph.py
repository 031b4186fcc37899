"""Pairs the CLIENT and SERVER halves of calls into the edges of the service graph.

A pure state machine: time is handed in, and what it finds is taken out as increments of counts. Within the waiting time
the order in which spans come changes nothing in the sums of those increments.

A model may go on computing for minutes after its caller gave up, or after the caller's span ended with the headers of a
stream. So a call that is unanswered after the usual time may wait on, and never becomes a second node by haste.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from foreshock_dashboard.model.attempts import Siblings, Tally
from foreshock_dashboard.model.halves import Client, Server, client_half, server_half
from foreshock_dashboard.model.peers import Peers
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


class _Node:
    """What is known of one span id of one trace, and of the spans that name it as their parent."""

    __slots__ = (
        "assumed",
        "client",
        "decided",
        "expires",
        "failed_calls",
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
        self.assumed: Service | None = None  # who was taken for the callee
        self.decided = False  # whether its call was counted without a SERVER half
        self.failed_calls = False  # whether a call under it failed, so that retries may follow
        self.parent: _Node | None = None
        self.own_server: Service | None = None
        self.servers: list[Server] = []
        self.inner_clients: tuple[Service, ...] = ()
        self.tallies: dict[Edge, Tally] = {}
        self.siblings: dict[tuple[Edge, tuple[str, str]], Siblings] = {}


_Key = tuple[str, str]


class ServiceGraph:
    """Waits `ttl` seconds for the other half of a call, for at most `max_items` span ids at once.

    patience: seconds for which a CLIENT span waits that is unanswered after `ttl`, if its address was answered before,
        or it failed and nothing is known of its address; and for which a span with a failed call waits for the retry.
        Those that wait so long are the first to be decided about when `max_items` are waiting.

    A call is paired by the caller's span id: that of a CLIENT or PRODUCER span, the parent of a SERVER or CONSUMER span
    (or what a CONSUMER links to). Then:

    - each SERVER span under a CLIENT span is a request, all but the first are retries; SERVER spans of one service that
      have different names describe the same request;
    - a request failed if either half has; client and server durations are counted where there is such a half, never 0;
    - a root SERVER span is called by `user`; a CLIENT span that nobody answered calls a database or a peer that its
      attributes name, unless a CLIENT span of the same service under it tells more; a SERVER span whose parent is
      another service's SERVER span is called by that one. Whatever remains is unpaired;
    - a failed CLIENT span whose address has always been answered by one service has called that service. A SERVER span
      that comes later adds its duration, not a request.

    Spans must not be handed in twice.
    """

    def __init__(self, ttl: float, max_items: int, patience: float = 0.0) -> None:
        self._ttl = ttl
        self._max_items = max_items
        self._longer = max(0.0, patience - ttl)
        # Both in the order in which they expire. A plain dict is slow to find its first entry once many were deleted.
        self._nodes: OrderedDict[_Key, _Node] = OrderedDict()
        self._late: OrderedDict[_Key, _Node] = OrderedDict()
        self._peers = Peers()
        self._found: list[Increment] = []
        self._unpaired: list[Unpaired] = []
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._nodes) + len(self._late)

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
            key, node = next(iter(self._nodes.items()))
            if node.expires > now:
                break
            del self._nodes[key]
            if self._settle(node, last=False):
                node.expires += self._longer
                self._late[key] = node
            else:
                node.parent = None  # or a trace that never ends would hold on to all its spans
        while self._late and next(iter(self._late.values())).expires <= now:
            self._give_up()

    def _give_up(self) -> None:
        """Decide about the span that has been waiting longest of those that wait longer than usual."""
        _, node = self._late.popitem(last=False)
        self._settle(node, last=True)
        node.parent = None

    def _node(self, trace_id: str, span_id: str, now: float) -> _Node | None:
        key = (trace_id, span_id)
        node = self._nodes.get(key) or self._late.get(key)
        if node is not None:
            return node
        if len(self) >= self._max_items:
            if not self._late:
                return None
            self._give_up()
        node = self._nodes[key] = _Node(now + self._ttl)
        return node

    def _add_client(self, span: Span, service: Service, now: float) -> None:
        parent = self._node(span.trace_id, span.parent_id, now) if span.parent_id else None
        node = self._node(span.trace_id, span.span_id, now)
        if node is None:
            self._dropped += 1
            return
        if parent is not None and service not in parent.inner_clients:
            parent.inner_clients += (service,)
        node.client, node.parent = client_half(span, service), parent
        if parent is not None and node.client.failed:
            parent.failed_calls = True
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
        if not messaging:
            self._peers.learn(client, server.service)
        if node.decided and node.assumed != server.service:
            return  # its request has been counted elsewhere
        edge = Edge(client.service, server.service, MESSAGING if messaging else "")
        tally = node.tallies.setdefault(edge, Tally())
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
        return node.parent.siblings.setdefault((edge, client.target), Siblings()).add(client)

    def _settle(self, node: _Node, *, last: bool) -> bool:
        """Decide about a node; whether it is worth while that it waits on."""
        if node.client is not None:
            if node.servers or node.decided:
                return node.failed_calls
            return self._unanswered(node, node.client, last=last) or node.failed_calls
        for server in node.servers:
            if node.own_server is None:
                self._unpaired.append(Unpaired(server.service, server.kind))
            elif node.own_server != server.service:
                edge = Edge(node.own_server, server.service)
                self._found.append(Increment(edge, 1, int(server.failed), server_seconds=server.seconds))
        node.servers.clear()
        return node.failed_calls

    def _unanswered(self, node: _Node, client: Client, *, last: bool) -> bool:
        """Decide about a call without a SERVER half; whether one that comes later would tell anything."""
        if client.service in node.inner_clients:
            return False
        if client.database or client.kind == "producer":
            self._outward(node, client)
            return False
        if client.failed and (answerer := self._peers.only(client)):
            self._assume(node, client, answerer)
        elif last or not self._peers.expects(client):
            self._outward(node, client)
            self._peers.silent(client)
        return True

    def _assume(self, node: _Node, client: Client, answerer: Service) -> None:
        """Count a call by its CLIENT half alone, as one to the service that always answers there."""
        edge = Edge(client.service, answerer)
        tally = node.tallies[edge] = Tally()
        tally.requests, tally.failed, tally.timed = 1, int(client.failed), True
        retries = self._siblings(node, client, edge)
        self._found.append(Increment(edge, 1, tally.failed, retries, client_seconds=client.seconds))
        node.decided, node.assumed = True, answerer

    def _outward(self, node: _Node, client: Client) -> None:
        """Count a call to something that sends no spans."""
        node.decided = True
        if client.database:
            edge = Edge(client.service, client.peer or Service("", client.database), DATABASE)
        elif client.peer is not None:
            edge = Edge(client.service, client.peer, MESSAGING if client.kind == "producer" else VIRTUAL)
        else:
            self._unpaired.append(Unpaired(client.service, client.kind))
            return
        retries = 0 if edge.connection == MESSAGING else self._siblings(node, client, edge)
        self._found.append(Increment(edge, 1, int(client.failed), retries, client_seconds=client.seconds))
