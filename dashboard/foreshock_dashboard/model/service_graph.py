"""Pairs the CLIENT and SERVER halves of calls into the edges of the service graph.

A pure state machine: time is handed in, and what it finds is taken out as increments of counts. Within the waiting time
the order in which spans come changes nothing in the sums of those increments.

A model may go on computing for minutes after its caller gave up, or after the caller's span ended with the headers of a
stream. So a call that is unanswered after the usual time may wait on, and never becomes a second node by haste.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import NamedTuple

from foreshock_dashboard.model.attempts import MAX_CALLS, Calls, Fallback, Tally
from foreshock_dashboard.model.halves import Client, Id, Server, receives, server_half
from foreshock_dashboard.model.lineage import MAX_NESTED, above, let_go, named
from foreshock_dashboard.model.peers import Peers
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Kind, Span
from foreshock_dashboard.model.waiting import Node, Waiting
from foreshock_dashboard.model.world import Edge

USER = Service("", "user")
"""The client of a request that came from outside: of a root SERVER span."""

MESSAGING, DATABASE, VIRTUAL = "messaging_system", "database", "virtual_node"
MAX_INNER = 16
"""Services whose CLIENT spans right under one span are remembered."""


class Increment(NamedTuple):
    """What one span adds to an edge: counts, and the durations (seconds) that it has seen of either side, and whose."""

    edge: Edge
    requests: int = 0
    failed: int = 0
    retries: int = 0
    client_seconds: float | None = None
    server_seconds: float | None = None
    client_span: Id | None = None
    server_span: Id | None = None


class Unpaired(NamedTuple):
    """A span whose other half did not come in time, and that tells no edge by itself."""

    service: Service
    kind: Kind


class Found(NamedTuple):
    """What the graph has found: `dropped` counts spans that were not looked at because too many waited."""

    increments: list[Increment]
    unpaired: list[Unpaired]
    fallbacks: list[Fallback]
    dropped: int


class ServiceGraph:
    """Waits `ttl` seconds for the other half of a call, for at most `max_items` span ids at once.

    patience: seconds for which a CLIENT span waits that is unanswered after `ttl`, if its address was answered before,
        or it failed and nothing is known of its address; and for which a span with a failed call waits for the retry.
        Those that wait so long are the first to be decided about when `max_items` are waiting.

    A call is paired by the caller's span id: that of a CLIENT or PRODUCER span, the parent of a SERVER or CONSUMER span
    (or what a CONSUMER, or a CLIENT that receives messages, links to). Then:

    - each SERVER span under a CLIENT span is a request, all but the first are retries; SERVER spans of one service that
      have different names describe the same request. The longest of them, among those that come within `ttl`, is the
      server's duration, which is told after that time;
    - a request failed if either half has; client and server durations are counted where there is such a half, never 0;
    - a root SERVER span is called by `user`; a CLIENT span that nobody answered calls the service whose CLIENT span is
      right under it (a proxy), or else a database, peer or provider of models that its attributes name; a SERVER span
      whose parent is another service's SERVER span is called by that one. Whatever remains is unpaired;
    - CLIENT spans of one service within each other are one call: the innermost is counted, and the ones around it may
      name what it calls. A call to a database within another call is one of its own;
    - INTERNAL spans of the same service are looked through: a call lies within the nearest other span above them;
    - a failed CLIENT span whose address has always been answered by one service has called that service. A SERVER span
      that comes later adds its duration, not a request;
    - calls under the same span, of whatever kind that is, are looked at together: those that repeat a failed one are
      retries, those that replace it are fallbacks (see `attempts`).

    Spans must not be handed in twice.
    """

    def __init__(self, ttl: float, max_items: int, patience: float = 0.0) -> None:
        self._ttl = ttl
        self._waiting = Waiting(ttl, max(0.0, patience - ttl), max_items)
        self._peers = Peers()
        self._reviews: deque[tuple[float, Node]] = deque()
        self._changed: dict[Calls, None] = {}
        self._increments: list[Increment] = []
        self._unpaired: list[Unpaired] = []
        self._fallbacks: list[Fallback] = []
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> Found:
        """What was found since the last call."""
        found = Found(self._increments, self._unpaired, self._fallbacks, self._dropped)
        self._increments, self._unpaired, self._fallbacks, self._dropped = [], [], [], 0
        return found

    def add(self, span: Span, service: Service, now: float) -> None:
        """Look at one span; `service` is its service. INTERNAL spans tell only what the calls under them lie within."""
        kind = span.kind
        if kind == "client" or kind == "producer":
            if span.links and kind == "client" and receives(span):
                self._add_server(span, service, now)
            else:
                self._add_client(span, service, now)
        elif kind == "server" or kind == "consumer":
            self._add_server(span, service, now)
        else:
            self._add_internal(span, service, now)

    def expire(self, now: float) -> None:
        """Decide about calls that have waited long enough."""
        for node in self._waiting.due(now):
            self._know(node)
            if node.calls is not None:
                self._changed[node.calls] = None
            if node.failed_calls:
                self._reviews.append((node.expires + self._ttl, node))
            if self._settle(node, last=False):
                self._waiting.wait_on(node)
            else:
                self._waiting.forget(node)
                let_go(node)
        while late := self._waiting.oldest(now):
            self._give_up(late)
        while self._reviews and self._reviews[0][0] <= now:
            calls = self._reviews.popleft()[1].calls
            if calls is not None:
                calls.due = True
                self._changed[calls] = None
        for calls in self._changed:
            self._increments += [Increment(edge, retries=retries) for edge, retries in calls.settle() if retries]
            if calls.due:
                self._fallbacks += calls.fallbacks()
        self._changed = {}

    def _give_up(self, node: Node) -> None:
        self._settle(node, last=True)
        let_go(node)

    def _node(self, key: Id, now: float) -> Node | None:
        node = self._waiting.find(key)
        if node is not None:
            return node
        if self._waiting.full:
            oldest = self._waiting.oldest()
            if oldest is None:
                return None
            self._give_up(oldest)
        return self._waiting.add(key, now)

    def _add_client(self, span: Span, service: Service, now: float) -> None:
        trace_id, parent_id = span.trace_id, span.parent_id
        parent = self._node((trace_id, parent_id), now) if parent_id and parent_id != span.span_id else None
        own = trace_id, span.span_id
        node = self._node(own, now)
        if node is None:
            self._dropped += 1
            return
        node.client = client = Client(span, service, own)
        if parent is not None:
            node.parent = parent
            inner = (service, bool(client.callee.database))
            if inner not in parent.inner and len(parent.inner) < MAX_INNER:
                parent.inner += (inner,)
            if client.failed:
                parent.failed_calls = True
            if parent.internal == service:
                self._look_through(parent, service, now)
        self._know(node)
        for server in node.servers or ():
            self._pair(node, client, server)

    def _add_internal(self, span: Span, service: Service, now: float) -> None:
        key, parent_id = (span.trace_id, span.span_id), span.parent_id
        if not parent_id or parent_id == span.span_id:
            if node := self._waiting.find(key):
                self._know(node)
            return
        node = self._node(key, now)
        if node is None:
            self._dropped += 1
        elif not node.known:  # else it came too late, or again
            node.internal, node.parent_id = service, parent_id
            if node.inner:
                self._look_through(node, service, now)
            self._know(node)

    def _look_through(self, node: Node, service: Service, now: float) -> None:
        """Tell the span above an INTERNAL one, and that above it, of the calls that lie within."""
        while node.internal == service:
            if node.parent is None:
                node.parent = self._node((node.key[0], node.parent_id), now)
            outer = node.parent
            if outer is None:
                return
            new = tuple(each for each in node.inner if each[0] == service and each not in outer.inner)
            if len(outer.inner) >= MAX_INNER:
                new = ()
            if not new and outer.failed_calls >= node.failed_calls:
                return
            outer.inner += new
            outer.failed_calls |= node.failed_calls
            node = outer

    def _add_server(self, span: Span, service: Service, now: float) -> None:
        trace_id = span.trace_id
        own_id = trace_id, span.span_id
        server = server_half(span, service, own_id)
        own = self._node(own_id, now)
        if own is not None:
            own.own_server = service
            self._know(own)
        if span.links and server.kind == "consumer":
            for caller in dict.fromkeys((link.trace_id, link.span_id) for link in span.links):
                self._answer(caller, server, now)
        elif span.parent_id == span.span_id:
            self._unpaired.append(Unpaired(service, server.kind))
        elif span.parent_id:
            self._answer((trace_id, span.parent_id), server, now)
        else:
            self._root(server)

    def _answer(self, caller: Id, server: Server, now: float) -> None:
        node = self._node(caller, now)
        if node is None:
            self._dropped += 1
            return
        if node.servers is None:
            node.servers = []
        node.servers.append(server)
        if node.client is not None:
            self._pair(node, node.client, server)

    def _root(self, server: Server) -> None:
        if server.kind == "consumer":
            self._unpaired.append(Unpaired(server.service, server.kind))
            return
        edge = Edge(USER, server.service, VIRTUAL)
        self._increments.append(
            Increment(edge, 1, int(server.failed), 0, None, server.seconds, None, server.id),
        )

    def _pair(self, node: Node, client: Client, server: Server) -> None:
        """Count a call that has both halves. Every figure only grows, so the order of the halves does not matter."""
        messaging = client.kind == "producer" or server.kind == "consumer"
        if not messaging:
            self._peers.learn(client, server.service)
        if node.decided and node.assumed != server.service:
            return  # its request has been counted elsewhere
        edge = Edge(client.service, server.service, MESSAGING if messaging else "")
        tallies = node.tallies
        if tallies is None:
            tallies = node.tallies = {}
        tally = tallies.get(edge)
        if tally is None:
            tally = tallies[edge] = Tally()
            if not messaging:
                tally.again = self._tell(node, edge)
        tally.add(client, server)
        if (tally.requests, tally.failed, tally.retries) != tally.told:
            self._increments.append(_beyond(tally, edge, client))
        if node.expires < inf and tally.observe_late():
            self._increments.append(_observed(edge, server))

    def _tell(self, node: Node, edge: Edge) -> int:
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
            self._dropped += 1
            return int(client.resent)
        if outer.expires < inf:
            self._changed[calls] = None
        return calls.add(client, edge)

    def _know(self, node: Node) -> None:
        """It is known by now what kind of span this is: so what waited for that can be told."""
        node.known = True
        if node.pending is None:
            return
        pending, node.pending = node.pending, None
        for client, edge, looked in pending:
            retries, outer = self._tell_above(node, client, edge, looked)
            if outer is not None:
                retries += self._tell(outer, edge)
            if retries:
                self._increments.append(Increment(edge, retries=retries))

    def _settle(self, node: Node, *, last: bool) -> bool:
        """Decide about a node; whether it is worth while that it waits on."""
        if node.client is not None:
            if node.tallies and not last:
                for edge, tally in node.tallies.items():
                    self._increments += [_observed(edge, server) for server in tally.observe()]
            if node.servers or node.decided:
                return node.failed_calls
            return self._unanswered(node, node.client, last=last) or node.failed_calls
        for server in node.servers or ():
            if node.own_server is None:
                self._unpaired.append(Unpaired(server.service, server.kind))
            elif node.own_server != server.service:
                edge = Edge(node.own_server, server.service)
                self._increments.append(
                    Increment(edge, 1, int(server.failed), 0, None, server.seconds, None, server.id)
                )
        node.servers = None
        return node.failed_calls

    def _unanswered(self, node: Node, client: Client, *, last: bool) -> bool:
        """Decide about a call without a SERVER half; whether one that comes later would tell anything."""
        database = bool(client.callee.database)
        if any(service == client.service and (database or not of_database) for service, of_database in node.inner):
            return False
        if database or client.kind == "producer":
            self._outward(node, client)
            return False
        if proxies := sorted({service for service, _ in node.inner if service != client.service}):
            for proxy in proxies:
                self._assume(node, client, proxy)
        elif client.failed and (answerer := self._peers.only(client)):
            self._assume(node, client, answerer)
        elif last or not self._peers.expects(client):
            self._outward(node, client)
            self._peers.silent(client)
        return True

    def _assume(self, node: Node, client: Client, answerer: Service) -> None:
        """Count a call by its CLIENT half alone, as one to this service."""
        edge = Edge(client.service, answerer)
        node.tallies = {**(node.tallies or {}), edge: Tally(1, int(client.failed))}
        retries = self._tell(node, edge)
        self._increments.append(
            Increment(edge, 1, int(client.failed), retries, client.seconds, None, client.id),
        )
        node.decided, node.assumed = True, answerer

    def _outward(self, node: Node, client: Client) -> None:
        """Count a call to something that sends no spans."""
        node.decided = True
        callee = named(node, client)
        server = callee.service
        if server is None:
            self._unpaired.append(Unpaired(client.service, client.kind))
            return
        messaging = client.kind == "producer" or callee.messaging
        edge = Edge(client.service, server, DATABASE if callee.database else MESSAGING if messaging else VIRTUAL)
        retries = 0 if messaging else self._tell(node, edge)
        self._increments.append(
            Increment(edge, 1, int(client.failed), retries, client.seconds, None, client.id),
        )


def _observed(edge: Edge, server: Server) -> Increment:
    return Increment(edge, 0, 0, 0, None, server.seconds, None, server.id)


def _beyond(tally: Tally, edge: Edge, client: Client) -> Increment:
    """What is known of a call beyond what was told of it, but for the server's durations."""
    requests, failed, retries = tally.told
    tally.told = tally.requests, tally.failed, tally.retries
    return Increment(
        edge,
        tally.requests - requests,
        tally.failed - failed,
        tally.retries - retries,
        None if requests else client.seconds,
        None,
        None if requests else client.id,
    )
