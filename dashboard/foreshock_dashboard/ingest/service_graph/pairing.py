"""Pairs the CLIENT and SERVER halves of calls into the edges of the service graph.

A pure state machine: time is handed in, and what it finds is taken out as increments of counts. Within the waiting time
the order in which spans come changes nothing in the sums of those increments.

A model may go on computing for minutes after its caller gave up, or after the caller's span ended with the headers of a
stream. So a call that is unanswered after the usual time may wait on, and never becomes a second node by haste.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from math import inf
from operator import and_, or_

from foreshock_dashboard.ingest.service_graph.ancestors import MAX_BETWEEN, let_go
from foreshock_dashboard.ingest.service_graph.call_sides import Claim, Client, Server, Way, receives, server_half
from foreshock_dashboard.ingest.service_graph.expiry import Unanswered
from foreshock_dashboard.ingest.service_graph.increments import MESSAGING, USER, VIRTUAL, Findings, Found, Unpaired
from foreshock_dashboard.ingest.service_graph.internal_spans import Notes
from foreshock_dashboard.ingest.service_graph.peer_addresses import Peers
from foreshock_dashboard.ingest.service_graph.pending import Node, Waiting
from foreshock_dashboard.ingest.service_graph.retries import Tally
from foreshock_dashboard.ingest.service_graph.siblings import Telling
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Attributes, Id, Kind, Link, Outlined, Outlines, outlines_of
from foreshock_dashboard.model.world import Edge

__all__ = ["Found", "ServiceGraph", "Unpaired"]

ATTEMPT = "Attempt."
"""What gRPC's own spans of a call's attempts begin with, which are INTERNAL ones in Go (gRFC A72)."""
_new = tuple.__new__
"""Makes an `Edge`, in a third of the time that its own constructor takes."""
_PARENT = Way()
MAX_ANSWERERS = 64
"""Services that may answer one CLIENT span."""
MAX_LINKS = 128
"""Links of a CONSUMER span that are looked at, the first ones: as many as OpenTelemetry's SDKs let a span have."""
MAX_SERVER_LINKS = 8
"""The same of a SERVER span: a message or a few are pushed in one request. A server that computes in batches links to
requests, none of which counts, and each link that is looked at takes one of `max_items`."""
MAX_INNER = 16
"""Services whose CLIENT spans right under one span are remembered."""


class ServiceGraph:
    """Waits `ttl` seconds for the other half of a call, for at most `max_items` span ids at once.

    patience: seconds for which a CLIENT span waits that is unanswered after `ttl`, if its address was answered before,
        or it failed and nothing is known of its address; and for which a span with a failed call waits for the retry.
        Those that wait so long are the first to be decided about when `max_items` are waiting.

    A call is paired by the caller's span id: a CLIENT or PRODUCER span, the parent of a SERVER or CONSUMER span. Then:

    - a CONSUMER span with links, or a CLIENT span with links that receives messages, is paired with what it links to,
      and with its parent if that is a PRODUCER span; a SERVER span with links with its parent, and with each PRODUCER
      span that it links to. Whatever else they name tells who has called, if none of these is there. The first links
      are looked at, `MAX_LINKS` or `MAX_SERVER_LINKS` of them;
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
      retries, those that replace it are fallbacks (see `attempts`). A call whose CLIENT span tells neither of success
      nor of failure has failed if all that it reached has, which is decided once all of that has had time to come.

    Spans must not be handed in twice.
    """

    def __init__(self, ttl: float, max_items: int, patience: float = 0.0) -> None:
        self._ttl = ttl
        self._waiting = Waiting(ttl, max(0.0, patience - ttl), max_items)
        self._notes = Notes(ttl, max_items)
        self._peers = Peers()
        self._findings = Findings()
        self._telling = Telling(self._findings, max_items)
        self._unanswered = Unanswered(self._findings, self._telling, self._peers)

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> Found:
        """What was found since the last call."""
        return self._findings.take()

    def add(self, span: Outlined, now: float) -> None:
        """Look at one span."""
        self.look(outlines_of([span]), now)

    def look(self, outlines: Outlines, now: float) -> None:
        """Look at spans. INTERNAL ones tell only what the calls under them lie within.

        What can be done with many of a kind at once is: one by one, it would take twice the time.
        """
        kinds: Sequence[Kind] = outlines.kind
        if any(outlines.links):
            kinds = [*map(_role, kinds, outlines.links, outlines.attributes)]
        internal = [kind == "internal" for kind in kinds]
        self._note_internal(internal, outlines, now)
        self._note_called([kind == "server" or kind == "consumer" for kind in kinds], outlines, now)
        alone = [
            kind == "server" and not above and not links
            for kind, above, links in zip(kinds, outlines.above, outlines.links, strict=True)
        ]
        self._ask(alone, outlines)
        rest = [not done for done in map(or_, internal, alone)]
        for kind, (key, above, name, _, start, end, status, _, _, service, attributes, links) in compress(
            zip(kinds, outlines.rows(), strict=True), rest
        ):
            if kind == "client" or kind == "producer":
                self._add_client(Client(service, key, kind, name, start, end, status, attributes), above, now)
            else:
                server = server_half(service, key, kind, name, start, end, status, attributes)
                self._add_server(server, above, links, now)

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
                self._meet(node, client, server, now)

    def _note_internal(self, chosen: Sequence[bool], outlines: Outlines, now: float) -> None:
        """Take note of INTERNAL spans, and see to what waits for one of them."""
        keys, services = [*compress(outlines.key, chosen)], [*compress(outlines.service, chosen)]
        aboves = [above or key for above, key in zip(compress(outlines.above, chosen), keys, strict=True)]
        attempts = [name.startswith(ATTEMPT) for name in compress(outlines.name, chosen)]
        nodes = [*map(self._waiting.find, keys)]
        new = [node is None for node in nodes]
        self._notes.add_internal(
            [*compress(keys, new)],
            compress(services, new),
            compress(aboves, new),
            compress(keys, map(and_, attempts, new)),
            now,
        )
        for node, service, above, attempt in zip(nodes, services, aboves, attempts, strict=True):
            if node is not None and not node.known:  # else it came too late, or again
                self._add_internal(node, service, above, now, attempt=attempt)

    def _add_internal(self, node: Node, service: Service, above: Id, now: float, *, attempt: bool) -> None:
        _identify(node, service, above, attempt=attempt)
        if node.inner:
            self._look_through(node, service, now)
        self._telling.know(node)
        if node.servers is not None:
            servers, node.servers = node.servers, None
            for server in servers:
                self._answer(node.key, server, now)

    def _note_called(self, chosen: Sequence[bool], outlines: Outlines, now: float) -> None:
        """Take note of SERVER and CONSUMER spans: whose call those below them are."""
        keys, services = [*compress(outlines.key, chosen)], [*compress(outlines.service, chosen)]
        nodes = [*map(self._waiting.find, keys)]
        new = [node is None for node in nodes]
        self._notes.add_called([*compress(keys, new)], compress(services, new), now)
        for node, service in zip(nodes, services, strict=True):
            if node is not None:
                node.own_server = service
                self._telling.know(node)

    def _ask(self, chosen: Sequence[bool], outlines: Outlines) -> None:
        """Count SERVER spans that nobody is above."""
        columns = outlines.service, outlines.key, outlines.start_ns, outlines.end_ns, outlines.status
        for service, key, start, end, status in compress(zip(*columns, strict=True), chosen):
            edge = _new(Edge, (USER, service, VIRTUAL))
            self._findings.served(edge, key, (end - start) / 1e9, failed=status == "error")

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
        """A span that is called, unless it is one that `_ask` counts."""
        if links:
            self._add_linked(server, parent, links, now)
        elif not parent or parent == server.id:
            self._findings.unpaired.append(Unpaired(server.service, server.kind))
        else:
            self._answer(parent, server, now)

    def _add_linked(self, server: Server, parent: Id, links: Sequence[Link], now: float) -> None:
        """Bring a span to all that it names. Messages are told by links, so a consumer's parent counts if it has sent
        one; a request by its parent, so what a server links to counts if that has sent a message.
        """
        consumer = server.kind == "consumer"
        few = links[: MAX_LINKS if consumer else MAX_SERVER_LINKS]
        strict = dict.fromkeys((bytes.fromhex(link.trace_id + link.span_id) for link in few), not consumer)
        if parent and parent != server.id:
            strict[parent] = strict.get(parent, True) if consumer else False
        claim = Claim(len(strict), root=not parent and not consumer)
        for caller, only_producer in strict.items():
            self._answer(caller, server._replace(way=Way(claim=claim, strict=only_producer)), now)

    def _answer(self, caller: Id, server: Server, now: float) -> None:
        """Bring a SERVER span to the call above it, through INTERNAL spans of the caller."""
        if server.way is None:
            node = self._waiting.find(caller)
            if node is not None and node.client is not None:  # as nearly always
                self._pair(node, node.client, server, now)
                return
        way = server.way or _PARENT
        through, looked, attempt = way.through, way.looked, way.attempt
        while (node := self._node(caller, now)) is not None and node.client is None and node.internal is not None:
            far = way.strict or looked >= MAX_BETWEEN or through not in (None, node.internal)
            if not far:
                through, looked, attempt = node.internal, looked + 1, attempt or node.attempt
            if far or node.above == caller:
                self._findings.without_client(through, server)
                return
            caller = node.above
        if looked > way.looked:
            server = server._replace(way=Way(through, looked, attempt, way.claim, way.strict))
        if node is None:
            self._drop(server)
            if way.claim is not None:
                self._findings.claimed(server, way.claim)
        elif node.client is not None:
            self._meet(node, node.client, server, now)
        else:
            node.servers = node.servers or []
            node.servers.append(server)

    def _drop(self, server: Server) -> None:
        """Count a SERVER span that there was no room for, once for all that it links to."""
        claim = None if server.way is None else server.way.claim
        if claim is None or not claim.dropped:
            self._findings.dropped += 1
        if claim is not None:
            claim.dropped = True

    def _meet(self, node: Node, client: Client, server: Server, now: float) -> None:
        """A CLIENT span and a SERVER span under it.

        What is under an INTERNAL span that is no attempt is a call of its own, and a CLIENT span around that is none.
        """
        way = server.way
        if way is None:
            self._pair(node, client, server, now)
        elif way.strict and client.kind != "producer":
            self._findings.without_client(None, server)
        elif way.through is None or (way.through == client.service and way.attempt):
            self._pair(node, client, server, now)
            if way.claim is not None:
                self._findings.claimed(server, way.claim, paired=True)
        else:
            own = client.kind == "client" and way.through == client.service
            if own and not (client.callee.database or client.callee.provider):
                node.answered = True
            self._findings.without_client(way.through, server)

    def _pair(self, node: Node, client: Client, server: Server, now: float) -> None:
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
                self._drop(server)
                return
            tally = Tally(edge)
            node.tallies += (tally,)
            if not messaging:
                tally.again = self._telling.tell(node, edge)
        tally.add(client, server)
        self._findings.tallied(tally, client)
        if server.failed and client.unsure and not messaging:
            self._doubt(node, client, now)
        if node.expires < inf and tally.observe_late():
            self._findings.observed(edge, [server])

    def _doubt(self, node: Node, client: Client, now: float) -> None:
        """A call may turn out to be in vain: spans above it wait for the retry."""
        outer = node.parent
        while outer is not None and not outer.failed_calls:
            outer.failed_calls = True
            outer = outer.parent if outer.internal == client.service else None
        self._telling.doubt(node, now + self._ttl)


def _role(kind: Kind, links: Sequence[Link], found: Attributes) -> Kind:
    """Of a CLIENT span that receives what it links to, the consumer's."""
    return "consumer" if links and kind == "client" and receives(found) else kind


def _identify(node: Node, service: Service, above: Id, *, attempt: bool) -> None:
    """It is this service's SERVER span, or the INTERNAL one right under `above`, which is itself where none is."""
    if above:
        node.internal, node.above, node.attempt = service, above, attempt
    else:
        node.own_server = service
    node.known = True
