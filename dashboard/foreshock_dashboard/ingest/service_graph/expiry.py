"""Expiry: what is counted for a call of which only one side has arrived."""

from __future__ import annotations

from foreshock_dashboard.ingest.service_graph.call_sides import Callee, ClientSide
from foreshock_dashboard.ingest.service_graph.increments import (
    DATABASE,
    MESSAGING,
    VIRTUAL,
    CallCounts,
    GraphUpdate,
    Unpaired,
)
from foreshock_dashboard.ingest.service_graph.pending import PendingSpan, best_callee
from foreshock_dashboard.ingest.service_graph.siblings import SiblingCalls
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge

MAX_ADDRESSES = 10_000
"""Callee addresses remembered, per calling service; beyond it, the oldest is forgotten."""

_Address = tuple[Service, Callee]


class PeerAddresses:
    """Services that answer at the addresses that client spans name, learned from complete calls."""

    def __init__(self) -> None:
        self._servers: dict[_Address, tuple[Service, ...]] = {}

    def record(self, client: ClientSide, server: Service) -> None:
        """Record that this service answered a call."""
        address = client.service, client.callee
        servers = self._servers.get(address, ())
        if server not in servers and len(servers) < 2:
            self._store(address, (*servers, server))

    def record_no_server(self, client: ClientSide) -> None:
        """Record that a call had no server side."""
        address = client.service, client.callee
        if address not in self._servers:
            self._store(address, ())

    def only_server(self, client: ClientSide) -> Service | None:
        """Return the one service that has answered at the callee's address; None if none, several, or no address."""
        servers = self._servers.get((client.service, client.callee), ())
        return servers[0] if len(servers) == 1 and client.callee.service is not None else None

    def expects_server(self, client: ClientSide) -> bool:
        """Whether a late server side is likely: the address has answered, or it is unknown and the call failed."""
        servers = self._servers.get((client.service, client.callee))
        return client.failed if servers is None else bool(servers)

    def _store(self, address: _Address, servers: tuple[Service, ...]) -> None:
        if address not in self._servers and len(self._servers) >= MAX_ADDRESSES:
            del self._servers[next(iter(self._servers))]
        self._servers[address] = servers


class Expiry:
    """Counts expired spans: durations of complete calls, calls without a server side, and server sides left over."""

    def __init__(self, update: GraphUpdate, siblings: SiblingCalls, addresses: PeerAddresses) -> None:
        self._update, self._siblings, self._addresses = update, siblings, addresses

    def expire(self, span: PendingSpan, *, final: bool) -> bool:
        """Count a span. Unless `final`, return whether to keep it for the extension."""
        if span.client is not None:
            if not final:
                for counts in span.counts:
                    self._update.add_durations(counts.edge, counts.take_durations())
            if span.is_complete or span.counted_alone:
                return span.has_failed_calls
            return self._expire_client(span, span.client, final=final) or span.has_failed_calls
        for server in span.servers or ():
            internal_service = None if server.path is None else server.path.internal_service
            self._update.add_without_client(internal_service or span.server_service, server)
        span.servers = None
        return span.has_failed_calls

    def _expire_client(self, span: PendingSpan, client: ClientSide, *, final: bool) -> bool:
        """Count a call without a server side; return whether a later server side would still be used."""
        database = bool(client.callee.database)
        if any(
            service == client.service and (database or not of_database) for service, of_database in span.inner_clients
        ):
            return False
        if database or client.kind == "producer":
            self._add_virtual_node(span, client)
            return False
        if proxies := sorted({service for service, _ in span.inner_clients if service != client.service}):
            for proxy in proxies:
                self._assume_server(span, client, proxy)
        elif client.failed and (server := self._addresses.only_server(client)):
            self._assume_server(span, client, server)
        elif final or not self._addresses.expects_server(client):
            self._add_virtual_node(span, client)
            self._addresses.record_no_server(client)
        return True

    def _assume_server(self, span: PendingSpan, client: ClientSide, server: Service) -> None:
        edge = Edge(client.service, server)
        span.counts += (CallCounts.emitted(edge, failed=client.failed),)
        self._update.add_client_call(edge, client, self._siblings.add(span, edge))
        span.counted_alone, span.assumed_server = True, server

    def _add_virtual_node(self, span: PendingSpan, client: ClientSide) -> None:
        """Count a call to something that sends no spans."""
        span.counted_alone = True
        callee = best_callee(span, client)
        server = callee.service
        if server is None:
            self._update.unpaired.append(Unpaired(client.service, client.kind))
            return
        server = server.in_cluster(client.service.cluster)
        messaging = client.kind == "producer" or callee.messaging
        edge = Edge(client.service, server, DATABASE if callee.database else MESSAGING if messaging else VIRTUAL)
        self._update.add_client_call(edge, client, 0 if messaging else self._siblings.add(span, edge))
