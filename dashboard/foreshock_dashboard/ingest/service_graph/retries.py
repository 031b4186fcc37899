"""How often a call was tried, and what was tried in its place: what is known of the calls under one span."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from typing import NamedTuple

from foreshock_dashboard.ingest.service_graph.call_sides import Client, Server
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge

MAX_CALLS = 1000
"""Calls under one span that are looked at together."""


class _Named:
    """SERVER spans of one name."""

    __slots__ = ("failed", "servers")

    def __init__(self) -> None:
        self.servers: list[Server] = []
        self.failed = 0


class Tally:
    """What is known of one span of the caller on one edge, and how much of that has been told.

    Requests are the SERVER spans of one name; those of other names describe the same requests.
    """

    __slots__ = (
        "_alone", "_failed", "_named", "_previous", "_requests", "_retries", "again", "edge", "failed", "observed",
        "requests", "retries",
    )  # fmt: skip

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.requests = self.failed = self.retries = 0
        self._requests = self._failed = self._retries = 0  # those that were told
        self.again = 0  # retries that calls beside this one show
        self.observed = 0  # requests of which the server's duration was told
        self._previous = 0  # retries that its own spans tell of
        self._alone: Server | None = None  # the first one, and nearly always the only one
        self._named: dict[str, _Named] | None = None  # all of them, once there are more

    @classmethod
    def assumed(cls, edge: Edge, *, failed: bool) -> Tally:
        """Of one call that its CLIENT span alone tells of, and that has been told."""
        made = cls(edge)
        made.requests = made._requests = 1
        made.failed = made._failed = int(failed)
        return made

    def add(self, client: Client, server: Server) -> None:
        """Take note of a SERVER span."""
        if server.attempts_before and not client.resent:  # else both tell of the same
            self._previous += 1
        if self._alone is None and self._named is None:
            self._alone, requests, failed = server, 1, int(server.failed)
        else:
            requests, failed = self._note(server)
        if requests > self.requests:
            self.requests = requests
        if client.failed and not failed:
            failed = 1
        if failed > self.failed:
            self.failed = failed
        self.retries = self.again
        if client.kind != "producer" and server.kind != "consumer":
            self.retries += max(self.requests - 1, self._previous)

    def news(self) -> tuple[bool, int, int, int]:
        """Whether nothing was told yet, and the requests, failed ones and retries that were not."""
        requests, failed, retries = self.requests, self.failed, self.retries
        more = not self._requests, requests - self._requests, failed - self._failed, retries - self._retries
        self._requests, self._failed, self._retries = requests, failed, retries
        return more

    def _note(self, server: Server) -> tuple[int, int]:
        """How many there are of its name, and how many of them failed."""
        if self._named is None:
            self._named = {}
        if self._alone is not None:
            first, self._alone = self._alone, None
            self._note(first)
        named = self._named.setdefault(server.name, _Named())
        named.servers.append(server)
        named.failed += server.failed
        return len(named.servers), named.failed

    def observe(self) -> list[Server]:
        """Those whose durations are the requests' on the server: one each, the longest of those that describe them.

        It asks once, when all have had time to come.
        """
        if self._alone is not None:
            self.observed = 1
            return [self._alone]
        servers = [each.servers for each in (self._named or {}).values()]
        most = max(map(len, servers), default=0)
        whole = [some for some in servers if len(some) == most]
        if len(whole) > 1:
            whole.sort(key=lambda some: sorted(((each.seconds, each.id) for each in some), reverse=True))
        self.observed = most
        return whole[-1] if whole else []

    def observe_late(self) -> bool:
        """Whether a SERVER span that comes after that time is the first that tells how long its request took."""
        if self.observed >= self.requests:
            return False
        self.observed += 1
        return True


class Siblings:
    """Calls under one span on one edge with one name and path: those that follow one in vain are retries."""

    __slots__ = ("calls", "counted", "last_start", "resent", "vain_ends")

    def __init__(self) -> None:
        self.vain_ends: list[int] = []
        self.calls = self.last_start = self.resent = self.counted = 0

    def add(self, client: Client, *, first_is_new: bool) -> int:
        """How many retries are known beyond those already counted."""
        self.calls += 1
        self.last_start = max(self.last_start, client.start_ns)
        self.resent += client.resent and not client.resend
        if client.in_vain:
            insort(self.vain_ends, client.end_ns)
        return self._more(first_is_new)

    def turn(self, client: Client, *, first_is_new: bool) -> int:
        """The same, once one of them turns out to have been in vain."""
        insort(self.vain_ends, client.end_ns)
        return self._more(first_is_new)

    def believe(self, *, first_is_new: bool) -> int:
        """The same, once one of them is known to repeat a failed call."""
        self.resent += 1
        return self._more(first_is_new)

    def _more(self, first_is_new: bool) -> int:
        followed = min(
            bisect_right(self.vain_ends, self.last_start), self.calls - 1
        )  # a call of 0 s follows not itself
        retries = max(followed, min(self.resent, self.calls - first_is_new))
        more, self.counted = retries - self.counted, retries
        return more


class Fallback(NamedTuple):
    """A failed call of `client` to `server` in whose place `fallback` was called and answered. Models: "" if none."""

    client: Service
    server: Service
    fallback: Service
    model: str
    fallback_model: str


class Calls:
    """The calls under one span, in any order.

    caller: whose call the span itself is, if it is one. Those of the same service make it up, so the first of them
        repeats none.
    resends: those that HTTP's count says were sent before; whether what they repeat had failed is not decided yet.
    """

    __slots__ = ("_caller", "_open", "_siblings", "all", "due", "resends")

    def __init__(self, caller: Service | None = None) -> None:
        self._caller = caller
        self._siblings: dict[tuple[Edge, tuple[str, str]], Siblings] | None = None
        self._open: list[tuple[Client, Edge]] = []
        self.all: list[tuple[Client, Edge]] = []
        self.resends: list[tuple[Client, Edge]] = []
        self.due = False  # whether its fallbacks are looked for

    def add(self, client: Client, edge: Edge) -> int:
        """How many retries are known beyond those already counted; all of them are of this edge."""
        self.all.append((client, edge))
        if client.in_vain:
            self._open.append((client, edge))
        if client.resend:
            self.resends.append((client, edge))
        if self._siblings is not None:
            return self._sibling(self._siblings, client, edge)
        if not client.in_vain and not client.resent:
            return 0
        self._siblings = {}  # the first trouble: what came before it begins to matter
        return sum(self._sibling(self._siblings, *each) for each in self.all)

    def _sibling(self, known: dict[tuple[Edge, tuple[str, str]], Siblings], client: Client, edge: Edge) -> int:
        key = edge, client.target
        siblings = known.get(key)
        if siblings is None:
            siblings = known[key] = Siblings()
        return siblings.add(client, first_is_new=self._caller == client.service)

    def turn(self, client: Client) -> list[tuple[Edge, int]]:
        """One of them has turned out to be in vain: how many retries are known beyond those counted, by their edges."""
        edges = [edge for each, edge in self.all if each is client]
        self._open += [(client, edge) for edge in edges]
        if self._siblings is None:
            known = self._siblings = {}
            return [(edge, self._sibling(known, each, edge)) for each, edge in self.all]
        first_is_new = self._caller == client.service
        return [(edge, self._siblings[edge, client.target].turn(client, first_is_new=first_is_new)) for edge in edges]

    def settle(self) -> list[tuple[Edge, int]]:
        """Decide about `resends`: how many retries are known by now beyond those already counted, by their edges.

        A request is also sent again after a redirect. So a resend is a retry if the call before it, by its number, was
        `in_vain`, or sent no span.
        """
        if not self.resends:
            return []
        before: dict[tuple[Service, int], list[tuple[int, bool]]] = defaultdict(list)
        for client, _ in self.all:
            before[client.service, client.resend].append((client.end_ns, client.in_vain))
        for ends in before.values():
            ends.sort()
        found = []
        for client, edge in self.resends:
            ends = before.get((client.service, client.resend - 1), [])
            place = bisect_right(ends, (client.start_ns, True))
            siblings = self._siblings and self._siblings.get((edge, client.target))
            if siblings and (place == 0 or ends[place - 1][1]):
                found.append((edge, siblings.believe(first_is_new=self._caller == client.service)))
        self.resends = []
        return found

    def fallbacks(self) -> list[Fallback]:
        """The failed calls that were followed by a successful one to another callee; each is told once.

        The first success after the failure, of the same service for the same task, tells: at the same callee it is a
        retry, at another one a fallback. All times are of one service, so of one clock.
        """
        answered: dict[tuple[Service, tuple[str, str]], list[tuple[int, Edge, str]]] = defaultdict(list)
        for client, edge in self.all:
            if not client.in_vain:
                answered[client.service, client.task].append((client.start_ns, edge, client.model))
        for starts in answered.values():
            starts.sort()
        found, still_open = [], []
        for client, edge in self._open:
            later = answered.get((client.service, client.task), [])
            place = bisect_left(later, (client.end_ns,))
            if place == len(later):
                still_open.append((client, edge))
            elif (later[place][1].server, later[place][2]) != (edge.server, client.model):
                _, other, model = later[place]
                found.append(Fallback(client.service, edge.server, other.server, client.model, model))
        self._open = still_open
        return found
