"""Output of the service graph: increments of edges, unpaired spans, and fallbacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from foreshock_dashboard.ingest.service_graph.call_sides import ClientSide, LinkClaim, ServerSide
from foreshock_dashboard.ingest.service_graph.retries import Fallback
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Kind, SpanKey
from foreshock_dashboard.model.world import Edge

USER = Service("", "user")
"""The client of a root SERVER span: a request from outside."""

MESSAGING, DATABASE, VIRTUAL = "messaging_system", "database", "virtual_node"
"""Connection types of edges; that of a plain call is ""."""


class Increment(NamedTuple):
    """What one span adds to an edge: counts, durations in seconds of each side, and the spans that took them."""

    edge: Edge
    requests: int = 0
    failed: int = 0
    retries: int = 0
    client_seconds: float | None = None
    server_seconds: float | None = None
    client_span: SpanKey | None = None
    server_span: SpanKey | None = None


class Unpaired(NamedTuple):
    """A span that expired without its other side and that does not make an edge alone."""

    service: Service
    kind: Kind


class CallCounts:
    """Counts of one client span on one edge, and how much of them was emitted.

    Requests are the SERVER spans of one name. Spans of other names describe the same requests.

    sibling_retries: retries that the calls beside this one reveal.
    durations: number of requests with an emitted server duration.
    """

    __slots__ = (
        "_by_name", "_emitted_failed", "_emitted_requests", "_emitted_retries", "_failed_by_name", "_only",
        "_reattempts", "durations", "edge", "failed", "requests", "retries", "sibling_retries",
    )  # fmt: skip

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.requests = self.failed = self.retries = self.sibling_retries = self.durations = 0
        self._emitted_requests = self._emitted_failed = self._emitted_retries = self._reattempts = 0
        self._only: ServerSide | None = None  # the first server side, in nearly all cases the only one
        self._by_name: dict[str, list[ServerSide]] | None = None  # all server sides, once there are several

    @classmethod
    def emitted(cls, edge: Edge, *, failed: bool) -> CallCounts:
        """Return the counts of one call without a server side that was emitted already."""
        counts = cls(edge)
        counts.requests = counts._emitted_requests = 1
        counts.failed = counts._emitted_failed = int(failed)
        return counts

    def add(self, client: ClientSide, server: ServerSide) -> None:
        """Count a server side."""
        if server.is_reattempt and not client.is_resend:  # else both describe the same attempt
            self._reattempts += 1
        if self._only is None and self._by_name is None:
            self._only, requests, failed = server, 1, int(server.failed)
        else:
            requests, failed = self._add_by_name(server)
        if requests > self.requests:
            self.requests = requests
        if client.failed and not failed:
            failed = 1
        if failed > self.failed:
            self.failed = failed
        self.retries = self.sibling_retries
        if client.kind != "producer" and server.kind != "consumer":
            self.retries += max(self.requests - 1, self._reattempts)

    def take(self) -> tuple[bool, int, int, int]:
        """Return whether this is the first emission, and the requests, failures and retries not emitted yet."""
        requests, failed, retries = self.requests, self.failed, self.retries
        increment = (
            not self._emitted_requests,
            requests - self._emitted_requests,
            failed - self._emitted_failed,
            retries - self._emitted_retries,
        )
        self._emitted_requests, self._emitted_failed, self._emitted_retries = requests, failed, retries
        return increment

    def _add_by_name(self, server: ServerSide) -> tuple[int, int]:
        """Return how many server sides of its name there are, and how many of them failed."""
        if self._by_name is None:
            self._by_name = {}
            self._failed_by_name: dict[str, int] = {}
        if self._only is not None:
            first, self._only = self._only, None
            self._add_by_name(first)
        same_name = self._by_name.setdefault(server.name, [])
        same_name.append(server)
        failed = self._failed_by_name[server.name] = self._failed_by_name.get(server.name, 0) + server.failed
        return len(same_name), failed

    def take_durations(self) -> list[ServerSide]:
        """Return one server side per request: the longest of those that describe it. Called once, after the TTL."""
        if self._only is not None:
            self.durations = 1
            return [self._only]
        groups = (self._by_name or {}).values()
        self.durations = max(map(len, groups), default=0)
        largest = [servers for servers in groups if len(servers) == self.durations]
        if len(largest) > 1:
            largest.sort(key=lambda servers: sorted(((one.seconds, one.key) for one in servers), reverse=True))
        return largest[-1] if largest else []

    def take_late_duration(self) -> bool:
        """Whether a server side that comes after the TTL is the first of its request."""
        if self.durations >= self.requests:
            return False
        self.durations += 1
        return True


@dataclass
class GraphUpdate:
    """Everything found since the last update.

    dropped: spans without room among the pending ones. answered: calls that a service answered at an address, which
    client spans name as `host:port`.
    """

    increments: list[Increment] = field(default_factory=list)
    unpaired: list[Unpaired] = field(default_factory=list)
    fallbacks: list[Fallback] = field(default_factory=list)
    dropped: int = 0
    answered: Counter[tuple[Service, str]] = field(default_factory=Counter)

    def take(self) -> GraphUpdate:
        """Return a copy, and start again from nothing."""
        taken = replace(self)
        self.increments, self.unpaired, self.fallbacks, self.dropped = [], [], [], 0
        self.answered = Counter()
        return taken

    def add_client_call(self, edge: Edge, client: ClientSide, retries: int) -> None:
        """Count a call that has a client side only."""
        self.increments.append(Increment(edge, 1, int(client.failed), retries, client.seconds, None, client.key))

    def add_server_call(self, edge: Edge, span: SpanKey, seconds: float, *, failed: bool) -> None:
        """Count a call that has a server side only."""
        self.increments.append(Increment(edge, 1, int(failed), server_seconds=seconds, server_span=span))

    def add_counts(self, counts: CallCounts, client: ClientSide) -> None:
        """Emit the part of a call's counts that was not emitted yet, and its client duration if it is the first."""
        first, requests, failed, retries = counts.take()
        if requests or failed or retries:
            seconds, span = (client.seconds, client.key) if first else (None, None)
            self.increments.append(Increment(counts.edge, requests, failed, retries, seconds, client_span=span))

    def add_durations(self, edge: Edge, servers: Sequence[ServerSide]) -> None:
        """Emit server durations."""
        self.increments += [Increment(edge, server_seconds=one.seconds, server_span=one.key) for one in servers]

    def add_retries(self, edge: Edge, retries: int) -> None:
        """Emit retries of calls that were counted before."""
        if retries:
            self.increments.append(Increment(edge, retries=retries))

    def add_without_client(self, caller: Service | None, server: ServerSide) -> None:
        """Count a server side that has no client side; only the calling service may be known."""
        if server.path is not None and server.path.claim is not None:
            self.resolve_claim(server, server.path.claim, caller=None if server.path.producer_only else caller)
        else:
            self._add_without_client(caller, server)

    def resolve_claim(
        self, server: ServerSide, claim: LinkClaim, *, caller: Service | None = None, paired: bool = False
    ) -> None:
        """Resolve one candidate of a server side with links: it is the client side (`paired`), or its service called.

        Without a client side, all callers count, once every candidate is resolved.
        """
        claim.unresolved -= 1
        claim.paired |= paired
        if caller is not None:
            claim.callers.append(caller)
        if claim.unresolved or claim.paired:
            return
        if not claim.callers and claim.is_root:
            edge = Edge(USER, server.service, VIRTUAL)
            self.add_server_call(edge, server.key, server.seconds, failed=server.failed)
            return
        callers: list[Service | None] = [*claim.callers] or [None]
        for service in callers:
            self._add_without_client(service, server)

    def _add_without_client(self, caller: Service | None, server: ServerSide) -> None:
        if caller is None:
            self.unpaired.append(Unpaired(server.service, server.kind))
        elif caller != server.service:
            edge = Edge(caller, server.service, MESSAGING if server.kind == "consumer" else "")
            self.add_server_call(edge, server.key, server.seconds, failed=server.failed)
