"""What becomes of halves whose other half did not come in time."""

from __future__ import annotations

from foreshock_dashboard.ingest.service_graph.ancestors import named
from foreshock_dashboard.ingest.service_graph.call_sides import Client
from foreshock_dashboard.ingest.service_graph.increments import DATABASE, MESSAGING, VIRTUAL, Findings, Unpaired
from foreshock_dashboard.ingest.service_graph.peer_addresses import Peers
from foreshock_dashboard.ingest.service_graph.pending import Node
from foreshock_dashboard.ingest.service_graph.retries import Tally
from foreshock_dashboard.ingest.service_graph.siblings import Telling
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge


class Unanswered:
    """Decides about a node by what there is."""

    def __init__(self, findings: Findings, telling: Telling, peers: Peers) -> None:
        self._findings, self._telling, self._peers = findings, telling, peers

    def settle(self, node: Node, *, last: bool) -> bool:
        """Decide, finally if it is the `last` time; whether it is worth while that the node waits on."""
        if node.client is not None:
            if not last:
                for tally in node.tallies:
                    self._findings.observed(tally.edge, tally.observe())
            if node.answered or node.decided:
                return node.failed_calls
            return self._unanswered(node, node.client, last=last) or node.failed_calls
        for server in node.servers or ():
            through = None if server.way is None else server.way.through
            self._findings.without_client(through or node.own_server, server)
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
        node.tallies += (Tally.assumed(edge, failed=client.failed),)
        self._findings.called(edge, client, self._telling.tell(node, edge))
        node.decided, node.assumed = True, answerer

    def _outward(self, node: Node, client: Client) -> None:
        """Count a call to something that sends no spans."""
        node.decided = True
        callee = named(node, client)
        server = callee.service
        if server is None:
            self._findings.unpaired.append(Unpaired(client.service, client.kind))
            return
        messaging = client.kind == "producer" or callee.messaging
        edge = Edge(client.service, server, DATABASE if callee.database else MESSAGING if messaging else VIRTUAL)
        self._findings.called(edge, client, 0 if messaging else self._telling.tell(node, edge))
