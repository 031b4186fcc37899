"""Pairs the client and server sides of calls into edges of the service graph.

A pure state machine: callers pass the time in and take increments out. Within the TTL, the order in which spans arrive
does not change the sums of those increments.

A model may compute for minutes after its client timed out, or after the client span ended with the headers of a stream.
So a client span without a server side may stay pending after the TTL, and becomes a virtual node only after that.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from math import inf
from operator import and_, or_

from foreshock_dashboard.ingest.service_graph.call_sides import (
    ClientSide,
    LinkClaim,
    ParentPath,
    ServerSide,
    is_receive,
    server_side,
)
from foreshock_dashboard.ingest.service_graph.expiry import Expiry, PeerAddresses
from foreshock_dashboard.ingest.service_graph.increments import (
    MESSAGING,
    USER,
    VIRTUAL,
    CallCounts,
    GraphUpdate,
    Unpaired,
)
from foreshock_dashboard.ingest.service_graph.pending import (
    MAX_INTERNAL_DEPTH,
    ParentIndex,
    PendingSpan,
    PendingSpans,
    release_parents,
)
from foreshock_dashboard.ingest.service_graph.siblings import SiblingCalls
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Kind, Link, Outlines, SpanKey, SpanLike, outlines_of
from foreshock_dashboard.model.world import Edge

ATTEMPT_PREFIX = "Attempt."
"""Start of the names of gRPC's spans of a call's attempts, which are INTERNAL spans in Go (gRFC A72)."""
MAX_SERVERS_PER_CALL = 64
"""Services that may answer one CLIENT span."""
MAX_LINKS = 128
"""Links of a CONSUMER span that are followed, the first ones: OpenTelemetry SDKs limit a span to as many."""
MAX_SERVER_LINKS = 8
"""Links of a SERVER span that are followed: one request pushes a few messages. A server that computes in batches links
to requests, which are not producers, and each link takes one of `max_items`."""
MAX_INNER_SERVICES = 16
"""Services with CLIENT spans right under one span that are remembered."""

_PARENT = ParentPath()


class ServiceGraph:
    """Pairs client and server sides that arrive within `ttl` seconds of each other; at most `max_items` are pending.

    patience: seconds that a CLIENT span without a server side stays pending, if its address was answered before, or if
        it failed and its address is unknown. A span with a failed call stays as long, since the retry may follow.
        When `max_items` are pending, spans past their TTL are evicted first.

    The key of a call is the id of the caller's CLIENT or PRODUCER span, which is the parent of the SERVER or CONSUMER
    span. The rules:

    - A CONSUMER span with links pairs with each linked span, and with its parent if that is a PRODUCER span. A CLIENT
      span with links that receives messages is a CONSUMER span. A SERVER span with links pairs with its parent, and
      with each linked PRODUCER span. If none of these exists, the services of the other linked spans and of the parent
      are the callers. The first `MAX_LINKS` or `MAX_SERVER_LINKS` links are followed.
    - Each SERVER span under a CLIENT span is a request, and all but the first are retries. SERVER spans of one service
      with different names describe the same request: the longest that arrives within `ttl` gives the server duration,
      which is emitted after that time.
    - A request failed if either side failed. Client and server durations are counted only where that side exists.
    - A SERVER span under INTERNAL spans of the caller is a call from their service without a client side. If these
      spans are attempts of a call, as in gRPC, it belongs to the CLIENT span around them.
    - A root SERVER span has the client `user`.
    - A CLIENT span without a server side calls the service of the CLIENT span right under it (a proxy). Else it calls a
      virtual node: the database, peer or model provider that its attributes name.
    - A SERVER span under a SERVER span of another service is a call from that service. Any other is unpaired.
    - CLIENT spans of one service within each other are one call. The innermost is counted, and the ones around it may
      name the callee. A database call within another call is a separate call.
    - INTERNAL spans of the same service are skipped: the parent of a call is the nearest other span above it.
    - A failed CLIENT span without a server side calls the one service that has answered at its address so far. A SERVER
      span that arrives later adds its duration, not a request.
    - Calls under the same span of any kind are compared: repetitions of a failed call are retries, replacements are
      fallbacks (see `retries`). A call of unknown outcome has failed if all its server sides have failed, which is
      decided `ttl` seconds later.

    A span must be added only once.
    """

    def __init__(self, ttl: float, max_items: int, patience: float = 0.0) -> None:
        self._ttl = ttl
        self._pending = PendingSpans(ttl, max(0.0, patience - ttl), max_items)
        self._parents = ParentIndex(ttl, max_items)
        self._addresses = PeerAddresses()
        self._update = GraphUpdate()
        self._siblings = SiblingCalls(self._update, max_items)
        self._expiry = Expiry(self._update, self._siblings, self._addresses)

    def __len__(self) -> int:
        return len(self._pending)

    def take(self) -> GraphUpdate:
        """Return what was found since the last call."""
        return self._update.take()

    def add(self, span: SpanLike, now: float) -> None:
        """Add one span."""
        self.add_batch(outlines_of([span]), now)

    def add_batch(self, outlines: Outlines, now: float) -> None:
        """Add spans given as columns.

        Steps that many spans of one kind share run on whole columns; one by one, they would take twice the time.
        """
        kinds: Sequence[Kind] = outlines.kind
        if any(outlines.links):
            kinds = [
                "consumer" if links and kind == "client" and is_receive(attributes) else kind
                for kind, links, attributes in zip(kinds, outlines.links, outlines.attributes, strict=True)
            ]
        internal = [kind == "internal" for kind in kinds]
        self._add_internal_spans(internal, outlines, now)
        self._index_servers([kind == "server" or kind == "consumer" for kind in kinds], outlines, now)
        root_servers = [
            kind == "server" and not parent_key and not links
            for kind, parent_key, links in zip(kinds, outlines.parent_key, outlines.links, strict=True)
        ]
        self._count_root_servers(root_servers, outlines)
        remaining = [not done for done in map(or_, internal, root_servers)]
        for kind, (key, parent_key, name, _, start, end, status, _, _, service, attributes, links, _) in compress(
            zip(kinds, outlines.rows(), strict=True), remaining
        ):
            if kind == "client" or kind == "producer":
                self._add_client(ClientSide(service, key, kind, name, start, end, status, attributes), parent_key, now)
            else:
                server = server_side(service, key, kind, name, start, end, status, attributes)
                if links:
                    self._add_linked(server, parent_key, links, now)
                elif not parent_key or parent_key == key:
                    self._update.unpaired.append(Unpaired(service, server.kind))
                else:
                    self._attach(parent_key, server, now)

    def expire(self, now: float) -> None:
        """Count calls that waited for the longest time."""
        for span in self._pending.expired(now):
            span.kind_known = True
            if span.deferred_calls is not None:
                self._siblings.resolve(span)
            if span.calls is not None or span.has_failed_calls:
                self._siblings.recheck(span, span.expires_at + self._ttl)
            if self._expiry.expire(span, final=False):
                self._pending.extend(span)
            else:
                self._pending.remove(span)
                release_parents(span)
        while span_past_extension := self._pending.pop_extended(now):
            self._evict(span_past_extension)
        self._siblings.expire(now)

    def _evict(self, span: PendingSpan) -> None:
        self._expiry.expire(span, final=True)
        release_parents(span)

    def _upsert_pending(self, key: SpanKey, now: float) -> PendingSpan | None:
        """Return the pending span of a key, added if there is none; None if there is no room."""
        span = self._pending.find(key)
        if span is not None:
            return span
        if self._pending.is_full:
            evicted = self._pending.pop_extended()
            if evicted is None:
                return None
            self._evict(evicted)
        span = self._pending.add(key, now)
        known = self._parents.get(key)
        if known is not None:
            span.set_kind(known[0], known[1], attempt=known[2])
        return span

    def _add_client(self, client: ClientSide, parent_key: SpanKey, now: float) -> None:
        key, service = client.key, client.service
        parent = self._upsert_pending(parent_key, now) if parent_key and parent_key != key else None
        span = self._upsert_pending(key, now)
        if span is None:
            self._update.dropped += 1
            return
        span.client = client
        if parent is not None:
            span.parent = parent
            inner = (service, bool(client.callee.database))
            if inner not in parent.inner_clients and len(parent.inner_clients) < MAX_INNER_SERVICES:
                parent.inner_clients += (inner,)
            if client.attempt_failed:
                parent.has_failed_calls = True
            if parent.internal_service == service:
                self._propagate(parent, service, now)
        self._siblings.resolve(span)
        if span.servers is not None:
            for server in span.take_servers():
                self._match(span, client, server, now)

    def _add_internal_spans(self, selected: Sequence[bool], outlines: Outlines, now: float) -> None:
        """Index the selected INTERNAL spans, and update the pending spans among them."""
        keys, services = [*compress(outlines.key, selected)], [*compress(outlines.service, selected)]
        parents = [
            parent_key or key for parent_key, key in zip(compress(outlines.parent_key, selected), keys, strict=True)
        ]
        attempts = [name.startswith(ATTEMPT_PREFIX) for name in compress(outlines.name, selected)]
        spans = [*map(self._pending.find, keys)]
        new = [span is None for span in spans]
        attempt_keys = compress(keys, map(and_, attempts, new))
        self._parents.add([*compress(keys, new)], compress(services, new), now, compress(parents, new), attempt_keys)
        for span, service, parent, attempt in zip(spans, services, parents, attempts, strict=True):
            if span is None or span.kind_known:  # a known kind: the span is late or a duplicate
                continue
            span.set_kind(service, parent, attempt=attempt)
            if span.inner_clients:
                self._propagate(span, service, now)
            self._siblings.resolve(span)
            for server in span.take_servers():
                self._attach(span.key, server, now)

    def _index_servers(self, selected: Sequence[bool], outlines: Outlines, now: float) -> None:
        """Index the selected SERVER and CONSUMER spans as possible parents of calls."""
        keys, services = [*compress(outlines.key, selected)], [*compress(outlines.service, selected)]
        spans = [*map(self._pending.find, keys)]
        new = [span is None for span in spans]
        self._parents.add([*compress(keys, new)], compress(services, new), now)
        for span, service in zip(spans, services, strict=True):
            if span is not None:
                span.server_service = service
                self._siblings.resolve(span)

    def _count_root_servers(self, selected: Sequence[bool], outlines: Outlines) -> None:
        """Count the selected SERVER spans, which have neither parent nor links."""
        columns = outlines.service, outlines.key, outlines.start_ns, outlines.end_ns, outlines.status
        for service, key, start, end, status in compress(zip(*columns, strict=True), selected):
            edge = Edge(USER, service, VIRTUAL)
            self._update.add_server_call(edge, key, (end - start) / 1e9, failed=status == "error")

    def _propagate(self, span: PendingSpan, service: Service, now: float) -> None:
        """Pass the calls under an INTERNAL span on to the spans above it."""
        while span.internal_service == service and span.parent_key != span.key:
            if span.parent is None:
                span.parent = self._upsert_pending(span.parent_key, now)
            outer = span.parent
            if outer is None:
                return
            new = tuple(
                inner for inner in span.inner_clients if inner[0] == service and inner not in outer.inner_clients
            )
            if len(outer.inner_clients) >= MAX_INNER_SERVICES:
                new = ()
            if not new and outer.has_failed_calls >= span.has_failed_calls:
                return
            outer.inner_clients += new
            outer.has_failed_calls |= span.has_failed_calls
            span = outer

    def _add_linked(self, server: ServerSide, parent: SpanKey, links: Sequence[Link], now: float) -> None:
        """Attach a server side to its parent and to each linked span.

        A message follows its links, so the parent of a CONSUMER span counts only if it is a PRODUCER span. A request
        follows its parent, so a span that a SERVER span links to counts only if it is a PRODUCER span.
        """
        consumer = server.kind == "consumer"
        followed = links[: MAX_LINKS if consumer else MAX_SERVER_LINKS]
        producer_only = dict.fromkeys((bytes.fromhex(link.trace_id + link.span_id) for link in followed), not consumer)
        if parent and parent != server.key:
            producer_only[parent] = producer_only.get(parent, True) if consumer else False
        claim = LinkClaim(len(producer_only), is_root=not parent and not consumer)
        for key, only in producer_only.items():
            self._attach(key, server._replace(path=ParentPath(claim=claim, producer_only=only)), now)

    def _attach(self, key: SpanKey, server: ServerSide, now: float) -> None:
        """Attach a server side to the call with this key, or to the call above it through INTERNAL spans."""
        if server.path is None:
            span = self._pending.find(key)
            if span is not None and span.client is not None:  # the common case
                self._upsert_edge(span, span.client, server, now)
                return
        path = server.path or _PARENT
        internal_service, depth, via_attempt = path.internal_service, path.depth, path.via_attempt
        while (
            (span := self._upsert_pending(key, now)) is not None
            and span.client is None
            and span.internal_service is not None
        ):
            end = path.producer_only or depth >= MAX_INTERNAL_DEPTH
            end = end or internal_service not in (None, span.internal_service)
            if not end:
                internal_service, depth, via_attempt = span.internal_service, depth + 1, via_attempt or span.is_attempt
            if end or span.parent_key == key:
                self._update.add_without_client(internal_service, server)
                return
            key = span.parent_key
        if depth > path.depth:
            server = server._replace(
                path=ParentPath(internal_service, depth, via_attempt, path.claim, path.producer_only)
            )
        if span is None:
            self._drop(server)
            if path.claim is not None:
                self._update.resolve_claim(server, path.claim)
        elif span.client is not None:
            self._match(span, span.client, server, now)
        else:
            span.servers = span.servers or []
            span.servers.append(server)

    def _drop(self, server: ServerSide) -> None:
        """Count a dropped server side, once for all its links."""
        claim = None if server.path is None else server.path.claim
        if claim is None or not claim.dropped:
            self._update.dropped += 1
        if claim is not None:
            claim.dropped = True

    def _match(self, span: PendingSpan, client: ClientSide, server: ServerSide, now: float) -> None:
        """Pair a client side with a server side below it, unless the path between them rules that out.

        A server side under an INTERNAL span that is not an attempt is a separate call, and the CLIENT span around
        that INTERNAL span is not.
        """
        path = server.path
        if path is None:
            self._upsert_edge(span, client, server, now)
        elif path.producer_only and client.kind != "producer":
            self._update.add_without_client(None, server)
        elif path.internal_service is None or (path.internal_service == client.service and path.via_attempt):
            self._upsert_edge(span, client, server, now)
            if path.claim is not None:
                self._update.resolve_claim(server, path.claim, paired=True)
        else:
            same_service = client.kind == "client" and path.internal_service == client.service
            if same_service and not (client.callee.database or client.callee.provider):
                span.is_complete = True
            self._update.add_without_client(path.internal_service, server)

    def _upsert_edge(self, span: PendingSpan, client: ClientSide, server: ServerSide, now: float) -> None:
        """Add a server side to the counts of a call. Counts only grow, so the order of arrival does not matter."""
        span.is_complete = True
        messaging = client.kind == "producer" or server.kind == "consumer"
        if not messaging:
            self._addresses.record(client, server.service)
            if client.address:
                self._update.answered[server.service, client.address] += 1
        if span.counted_alone and span.assumed_server != server.service:
            return  # counted on another edge
        edge = Edge(client.service, server.service, MESSAGING if messaging else "")
        counts = span.counts_on(edge)
        if counts is None:
            if len(span.counts) >= MAX_SERVERS_PER_CALL:
                self._drop(server)
                return
            counts = CallCounts(edge)
            span.counts += (counts,)
            if not messaging:
                counts.sibling_retries = self._siblings.add(span, edge)
        counts.add(client, server)
        self._update.add_counts(counts, client)
        if server.failed and client.outcome_unknown and not messaging:
            self._defer_outcome(span, client, now)
        if span.expires_at < inf and counts.take_late_duration():
            self._update.add_durations(edge, [server])

    def _defer_outcome(self, span: PendingSpan, client: ClientSide, now: float) -> None:
        """Decide later whether a call failed, and keep the spans above it for the retry."""
        outer = span.parent
        while outer is not None and not outer.has_failed_calls:
            outer.has_failed_calls = True
            outer = outer.parent if outer.internal_service == client.service else None
        self._siblings.defer(span, now + self._ttl)
