"""Spans that wait for others to tell more of them: each for a time, and at most so many."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import inf

from foreshock_dashboard.ingest.service_graph.call_sides import Client, Server
from foreshock_dashboard.ingest.service_graph.retries import Calls, Tally
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Id
from foreshock_dashboard.model.world import Edge


class Node:
    """What is known of one span id of one trace, and of the spans that name it as their parent."""

    __slots__ = (
        "above", "answered", "assumed", "attempt", "calls", "client", "decided", "expires", "failed_calls", "inner",
        "internal", "key", "known", "own_server", "parent", "pending", "servers", "tallies", "told",
    )  # fmt: skip

    def __init__(self, key: Id) -> None:
        self.key = key
        self.expires = inf  # known once its usual time is over
        self.parent: Node | None = None
        self.known = False  # whether it is known what kind of span this is, or nobody will tell
        self.client: Client | None = None
        self.own_server: Service | None = None
        self.internal: Service | None = None  # whose INTERNAL span it is, if it came in time
        self.above: Id = b""  # of an INTERNAL span: its parent, or itself, whose node is found when it matters
        self.attempt = False  # whether an INTERNAL span is a call's attempt
        self.servers: list[Server] | None = None  # those under it that wait for its CLIENT span
        self.answered = False  # whether its CLIENT span has met one
        self.inner: tuple[tuple[Service, bool], ...] = ()  # CLIENT spans under it: whose, and whether of a database
        self.assumed: Service | None = None  # who was taken for the callee
        self.decided = False  # whether its call was counted without a SERVER half
        self.failed_calls = False  # whether a call under it was in vain, so that retries may follow
        self.tallies: tuple[Tally, ...] = ()  # of its call, one for each edge
        self.told: tuple[Edge, ...] = ()  # on which edges it was told as a call of the span above
        self.calls: Calls | None = None  # those under it
        self.pending: list[tuple[Client, Edge, int]] | None = None
        """Calls under it, and through how many, until it is known."""

    def tally(self, edge: Edge) -> Tally | None:
        """What is known of its call on an edge."""
        for tally in self.tallies:
            if tally.edge == edge:
                return tally
        return None


class Waiting:
    """Nodes by their key. Each waits `ttl` seconds, and `longer` more where that is asked for.

    Those that wait longer make room for new ones when there are `limit`.
    """

    def __init__(self, ttl: float, longer: float, limit: int) -> None:
        self._ttl = ttl
        self._longer = longer
        self._limit = limit
        self._nodes: dict[Id, Node] = {}
        # In the order in which they expire; those that came at the same time are together.
        self._due: deque[tuple[float, list[Node]]] = deque()
        self._late: deque[Node] = deque()
        self._now: float | None = None
        self._newest: list[Node] = []
        self.find = self._nodes.get

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def full(self) -> bool:
        """Whether one has to be given up before another may wait."""
        return len(self._nodes) >= self._limit

    def add(self, key: Id, now: float) -> Node:
        """A new node."""
        if now != self._now:
            self._now, self._newest = now, []
            self._due.append((now + self._ttl, self._newest))
        node = Node(key)
        self._nodes[key] = node
        self._newest.append(node)
        return node

    def due(self, now: float) -> Iterator[Node]:
        """Those whose time is over; `wait_on` or `forget` each."""
        while self._due and self._due[0][0] <= now:
            expires, nodes = self._due.popleft()
            if nodes is self._newest:
                self._now = None
            for node in nodes:
                node.expires = expires
                yield node

    def wait_on(self, node: Node) -> None:
        """Let it wait longer."""
        node.expires += self._longer
        self._late.append(node)

    def forget(self, node: Node) -> None:
        """It need not wait any more."""
        del self._nodes[node.key]

    def oldest(self, before: float | None = None) -> Node | None:
        """Take out one that has waited longer, if there is any (whose longer time is over, where that is asked for)."""
        if not self._late or (before is not None and self._late[0].expires > before):
            return None
        node = self._late.popleft()
        del self._nodes[node.key]
        return node
