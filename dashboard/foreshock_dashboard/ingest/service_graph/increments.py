"""What the service graph finds: increments of edges, halves that stay alone, and calls made in place of failed ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from foreshock_dashboard.ingest.service_graph.call_sides import Claim, Client, Server
from foreshock_dashboard.ingest.service_graph.retries import Fallback, Tally
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Id, Kind
from foreshock_dashboard.model.world import Edge

USER = Service("", "user")
"""The client of a request that came from outside: of a root SERVER span."""

MESSAGING, DATABASE, VIRTUAL = "messaging_system", "database", "virtual_node"


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


_new = tuple.__new__
"""Makes an `Increment` of all its fields: there are several for each call, and its own constructor takes three times as
long."""


class Findings:
    """Collects what is found until it is taken."""

    def __init__(self) -> None:
        self.increments: list[Increment] = []
        self.unpaired: list[Unpaired] = []
        self.fallbacks: list[Fallback] = []
        self.dropped = 0

    def take(self) -> Found:
        """What was found since the last call."""
        found = Found(self.increments, self.unpaired, self.fallbacks, self.dropped)
        self.increments, self.unpaired, self.fallbacks, self.dropped = [], [], [], 0
        return found

    def called(self, edge: Edge, client: Client, retries: int) -> None:
        """A call that its CLIENT half alone tells of."""
        told = edge, 1, int(client.failed), retries, client.seconds, None, client.id, None
        self.increments.append(_new(Increment, told))

    def served(self, edge: Edge, span: Id, seconds: float, *, failed: bool) -> None:
        """A call that its SERVER span alone tells of."""
        told = edge, 1, int(failed), 0, None, seconds, None, span
        self.increments.append(_new(Increment, told))

    def without_client(self, caller: Service | None, server: Server) -> None:
        """A call of which only the caller's service is known, by a span that is no CLIENT; within itself it is none."""
        if server.way is not None and server.way.claim is not None:
            self.claimed(server, server.way.claim, caller=None if server.way.strict else caller)
        else:
            self._without_client(caller, server)

    def claimed(self, server: Server, claim: Claim, *, caller: Service | None = None, paired: bool = False) -> None:
        """What became of one way of a half with links. Those that are no calling halves tell once all are known, and
        only if none of them is one.
        """
        claim.undecided -= 1
        claim.paired |= paired
        if caller is not None:
            claim.callers.append(caller)
        if claim.undecided or claim.paired:
            return
        for each in claim.callers:
            self._without_client(each, server)
        if not claim.callers:
            if claim.root:
                self._served(USER, server, VIRTUAL)
            else:
                self._without_client(None, server)

    def _without_client(self, caller: Service | None, server: Server) -> None:
        if caller is None:
            self.unpaired.append(Unpaired(server.service, server.kind))
        elif caller != server.service:
            self._served(caller, server, MESSAGING if server.kind == "consumer" else "")

    def _served(self, caller: Service, server: Server, connection: str) -> None:
        self.served(Edge(caller, server.service, connection), server.id, server.seconds, failed=server.failed)

    def tallied(self, tally: Tally, client: Client) -> None:
        """What is known of a call beyond what was told of it, but for the server's durations."""
        first, requests, failed, retries = tally.news()
        if requests or failed or retries:
            seconds, whose = (client.seconds, client.id) if first else (None, None)
            told = tally.edge, requests, failed, retries, seconds, None, whose, None
            self.increments.append(_new(Increment, told))

    def observed(self, edge: Edge, servers: Sequence[Server]) -> None:
        """How long calls took on the server."""
        for server in servers:
            self.increments.append(_new(Increment, (edge, 0, 0, 0, None, server.seconds, None, server.id)))

    def retried(self, edge: Edge, retries: int) -> None:
        """Calls that turn out to be retries."""
        if retries:
            self.increments.append(Increment(edge, retries=retries))
