"""Pairs the CLIENT and SERVER halves of calls into the edges of the service graph.

A pure state machine: time is handed in, and what it finds is taken out as increments of counts. Within the waiting time
the order in which spans come changes nothing in the sums of those increments.

A model may go on computing for minutes after its caller gave up, or after the caller's span ended with the headers of a
stream. So a call that is unanswered after the usual time may wait on, and never becomes a second node by haste.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from foreshock_dashboard.model.attempts import Tally
from foreshock_dashboard.model.findings import MESSAGING, USER, VIRTUAL, Findings, Found, Unpaired
from foreshock_dashboard.model.halves import Client, Server, receives, server_half
from foreshock_dashboard.model.lineage import MAX_BETWEEN, let_go
from foreshock_dashboard.model.notes import Notes
from foreshock_dashboard.model.peers import Peers
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Id, Link, Outlined, Outlines, outlines_of
from foreshock_dashboard.model.telling import Telling
from foreshock_dashboard.model.unanswered import Unanswered
from foreshock_dashboard.model.waiting import Node, Waiting
from foreshock_dashboard.model.world import Edge

__all__ = ["Found", "ServiceGraph", "Unpaired"]

ATTEMPT = "Attempt."
"""What gRPC's own spans of a call's attempts begin with, which are INTERNAL ones in Go (gRFC A72)."""
_new = tuple.__new__
"""Makes an `Edge`, in a third of the time that its own constructor takes."""
MAX_ANSWERERS = 64
"""Services that may answer one CLIENT span."""
MAX_INNER = 16
"""Services whose CLIENT spans right under one span are remembered."""


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
    - a SERVER span under INTERNAL ones of the caller is a call of their service, told by its SERVER half alone; where
      they are a call's attempts, as gRPC has them, it answers the CLIENT span that these lie within;
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
        self._notes = Notes(ttl, max_items)
        self._peers = Peers()
        self._findings = Findings()
        self._telling = Telling(self._findings)
        self._unanswered = Unanswered(self._findings, self._telling, self._peers)

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> Found:
        """What was found since the last call."""
        return self._findings.take()

    def add(self, span: Outlined, service: Service, now: float) -> None:
        """Look at one span; `service` is its service."""
        self.look([service], outlines_of([span]), now)

    def look(self, services: Sequence[Service], outlines: Outlines, now: float) -> None:
        """Look at spans of services. INTERNAL ones tell only what the calls under them lie within."""
        for service, (key, above, name, kind, start, end, status, _, _, attributes, links) in zip(
            services, outlines.rows(), strict=True
        ):
            if kind == "internal":
                self._add_internal(key, above, service, now, attempt=name.startswith(ATTEMPT))
            elif kind == "server" or kind == "consumer" or (links and kind == "client" and receives(attributes)):
                server = server_half(service, key, kind, name, start, end, status, attributes)
                self._add_server(server, above, links, now)
            else:
                client = Client(service, key, kind, name, start, end, status, attributes)
                self._add_client(client, above, now)

    def expire(self, now: float) -> None:
        """Decide about calls that have waited long enough."""
        for node in self._waiting.due(now):
            node.known = True
            if node.pending is not None:
                self._telling.know(node)
            if node.calls is not None or node.failed_calls:
                self._telling.review(node, node.expires + self._ttl)
            if self._unanswered.settle(node, last=False):
                self._waiting.wait_on(node)
            else:
                self._waiting.forget(node)
                let_go(node)
        while late := self._waiting.oldest(now):
            self._give_up(late)
        self._telling.expire(now)

    def _give_up(self, node: Node) -> None:
        self._unanswered.settle(node, last=True)
        let_go(node)

    def _node(self, key: Id, now: float) -> Node | None:
        """What is known of a span; None, and counted, where there is no room for it."""
        node = self._waiting.find(key)
        if node is not None:
            return node
        if self._waiting.full:
            oldest = self._waiting.oldest()
            if oldest is None:
                return None
            self._give_up(oldest)
        node = self._waiting.add(key, now)
        note = self._notes.of(key)
        if note is not None:
            _identify(node, note[0], note[1], attempt=note[2])
        return node

    def _add_client(self, client: Client, above: Id, now: float) -> None:
        own, service = client.id, client.service
        parent = self._node(above, now) if above and above != own else None
        node = self._node(own, now)
        if node is None:
            self._findings.dropped += 1
            return
        node.client = client
        if parent is not None:
            node.parent = parent
            inner = (service, bool(client.callee.database))
            if inner not in parent.inner and len(parent.inner) < MAX_INNER:
                parent.inner += (inner,)
            if client.in_vain:
                parent.failed_calls = True
            if parent.internal == service:
                self._look_through(parent, service, now)
        self._telling.know(node)
        if node.servers is not None:
            servers, node.servers = node.servers, None
            for server in servers:
                self._meet(node, client, server)

    def _add_internal(self, own: Id, parent: Id, service: Service, now: float, *, attempt: bool) -> None:
        node = self._waiting.find(own)
        if node is None:
            self._notes.add(own, service, parent or own, now, attempt=attempt)
        elif not node.known:  # else it came too late, or again
            _identify(node, service, parent or own, attempt=attempt)
            if node.inner:
                self._look_through(node, service, now)
            self._telling.know(node)
            if node.servers is not None:
                servers, node.servers = node.servers, None
                for server in servers:
                    self._answer(own, server, now)

    def _look_through(self, node: Node, service: Service, now: float) -> None:
        """Tell the span above an INTERNAL one, and that above it, of the calls that lie within."""
        while node.internal == service and node.above != node.key:
            if node.parent is None:
                node.parent = self._node(node.above, now)
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

    def _add_server(self, server: Server, parent: Id, links: Sequence[Link], now: float) -> None:
        own, service = server.id, server.service
        node = self._waiting.find(own)
        if node is None:
            self._notes.add(own, service, b"", now)
        else:
            node.own_server = service
            self._telling.know(node)
        if links and server.kind == "consumer":
            for caller in dict.fromkeys(bytes.fromhex(link.trace_id + link.span_id) for link in links):
                self._answer(caller, server, now)
        elif parent == own or (not parent and server.kind == "consumer"):
            self._findings.unpaired.append(Unpaired(service, server.kind))
        elif parent:
            self._answer(parent, server, now)
        else:
            self._findings.served(_new(Edge, (USER, service, VIRTUAL)), server)

    def _answer(self, caller: Id, server: Server, now: float) -> None:
        """Bring a SERVER span to the call above it, through INTERNAL spans of the caller."""
        while True:
            node = self._node(caller, now)
            if node is None:
                self._findings.dropped += 1
                return
            if node.client is not None:
                self._meet(node, node.client, server)
                return
            if node.internal is None:
                node.servers = node.servers or []
                node.servers.append(server)
                return
            if server.looked >= MAX_BETWEEN or server.through not in (None, node.internal):
                break
            attempt = server.attempt or node.attempt
            server = server._replace(through=node.internal, looked=server.looked + 1, attempt=attempt)
            if node.above == caller:
                break
            caller = node.above
        self._findings.without_client(server.through, server)

    def _meet(self, node: Node, client: Client, server: Server) -> None:
        """A CLIENT span and a SERVER span under it.

        What is under an INTERNAL span that is no attempt is a call of its own, and a CLIENT span around that is none.
        """
        if server.through is None or (server.through == client.service and server.attempt):
            self._pair(node, client, server)
            return
        own = client.kind == "client" and server.through == client.service
        if own and not (client.callee.database or client.callee.provider):
            node.answered = True
        self._findings.without_client(server.through, server)

    def _pair(self, node: Node, client: Client, server: Server) -> None:
        """Count a call that has both halves. Every figure only grows, so the order of the halves does not matter."""
        node.answered = True
        messaging = client.kind == "producer" or server.kind == "consumer"
        if not messaging:
            self._peers.learn(client, server.service)
        if node.decided and node.assumed != server.service:
            return  # its request has been counted elsewhere
        edge = _new(Edge, (client.service, server.service, MESSAGING if messaging else ""))
        tally = node.tally(edge)
        if tally is None:
            if len(node.tallies) >= MAX_ANSWERERS:
                self._findings.dropped += 1
                return
            tally = Tally(edge)
            node.tallies += (tally,)
            if not messaging:
                tally.again = self._telling.tell(node, edge)
        tally.add(client, server)
        self._findings.tallied(tally, client)
        if node.expires < inf and tally.observe_late():
            self._findings.observed(edge, [server])


def _identify(node: Node, service: Service, above: Id, *, attempt: bool) -> None:
    """It is this service's SERVER span, or the INTERNAL one right under `above`, which is itself where none is."""
    if above:
        node.internal, node.above, node.attempt = service, above, attempt
    else:
        node.own_server = service
    node.known = True
