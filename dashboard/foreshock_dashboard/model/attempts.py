"""How often a call was tried, and what was tried in its place: what is known of the calls under one span."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from typing import NamedTuple

from foreshock_dashboard.model.halves import Client
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge

MAX_CALLS = 1000
"""Calls under one span that are looked at together."""


class Tally:
    """What has been counted for one span of the caller on one edge."""

    __slots__ = ("failed", "failed_names", "names", "previous", "requests", "retries", "timed")

    def __init__(self) -> None:
        self.requests = self.failed = self.retries = self.previous = 0
        self.names: dict[str, int] = {}
        self.failed_names: dict[str, int] = {}
        self.timed = False


class Siblings:
    """Calls under one span on one edge with one name and URL: those that follow a failed one are retries."""

    __slots__ = ("calls", "counted", "failed_ends", "last_start", "resent")

    def __init__(self) -> None:
        self.failed_ends: list[int] = []
        self.calls = self.last_start = self.resent = self.counted = 0

    def add(self, client: Client, *, first_is_new: bool) -> int:
        """How many retries are known beyond those already counted."""
        self.calls += 1
        self.last_start = max(self.last_start, client.start_ns)
        self.resent += client.resent
        if client.failed:
            insort(self.failed_ends, client.end_ns)
        followed = min(
            bisect_right(self.failed_ends, self.last_start), self.calls - 1
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

    within: it is itself a call of the same service, which those under it make up. Then the first of them repeats none.
    """

    __slots__ = ("_open", "_siblings", "_within", "all", "due")

    def __init__(self, *, within: bool) -> None:
        self._within = within
        self._siblings: dict[tuple[Edge, tuple[str, str]], Siblings] | None = None
        self._open: list[tuple[Client, Edge]] = []
        self.all: list[tuple[Client, Edge]] = []
        self.due = False  # whether its fallbacks are looked for whenever it changes

    def add(self, client: Client, edge: Edge) -> int:
        """How many retries are known beyond those already counted; all of them are of this edge."""
        self.all.append((client, edge))
        if client.failed:
            self._open.append((client, edge))
        if self._siblings is not None:
            return self._sibling(self._siblings, client, edge)
        if not client.failed and not client.resent:
            return 0
        self._siblings = {}  # the first trouble: what came before it begins to matter
        return sum(self._sibling(self._siblings, *each) for each in self.all)

    def _sibling(self, known: dict[tuple[Edge, tuple[str, str]], Siblings], client: Client, edge: Edge) -> int:
        key = edge, client.target
        siblings = known.get(key)
        if siblings is None:
            siblings = known[key] = Siblings()
        return siblings.add(client, first_is_new=self._within)

    @property
    def failed(self) -> bool:
        """Whether a call failed for which no other has been found yet."""
        return bool(self._open)

    def fallbacks(self) -> list[Fallback]:
        """The failed calls that were followed by a successful one to another callee; each is told once.

        The first success after the failure, of the same service for the same task, tells: at the same callee it is a
        retry, at another one a fallback. All times are of one service, so of one clock.
        """
        answered: dict[tuple[Service, tuple[str, str]], list[tuple[int, Edge, str]]] = defaultdict(list)
        for client, edge in self.all:
            if not client.failed:
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
