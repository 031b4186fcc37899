"""Retries and fallbacks among the calls under one span."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from foreshock_dashboard.ingest.service_graph.call_sides import ClientSide
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge

MAX_CALLS_PER_SPAN = 1000
"""Calls under one span that are compared with each other."""

_Target = tuple[Edge, tuple[str, str]]
"""The edge and the `ClientSide.target` that a call and its retries share."""


@dataclass(slots=True, eq=False)
class _SameTarget:
    """Calls under one span with the same target. A call that starts after a failed one ended was a retry.

    first_is_new: whether the first call is not a retry in any case.
    """

    first_is_new: bool
    failed_ends: list[int] = field(default_factory=list)
    calls: int = 0
    last_start: int = 0
    resends: int = 0
    counted: int = 0

    def add(self, client: ClientSide) -> int:
        """Add a call; return the number of retries not counted yet."""
        self.calls += 1
        self.last_start = max(self.last_start, client.start_ns)
        self.resends += client.is_resend and not client.resend_number
        return self.add_failure(client) if client.attempt_failed else self.take_retries()

    def add_failure(self, client: ClientSide) -> int:
        """Mark an added call as failed; return the number of retries not counted yet."""
        insort(self.failed_ends, client.end_ns)
        return self.take_retries()

    def take_retries(self) -> int:
        """Return the number of retries not counted yet."""
        after_failures = bisect_right(self.failed_ends, self.last_start)
        followers = min(after_failures, self.calls - 1)  # a call of 0 s does not follow itself
        retries = max(followers, min(self.resends, self.calls - self.first_is_new))
        increment, self.counted = retries - self.counted, retries
        return increment


class Fallback(NamedTuple):
    """A failed call from `client` to `server` that `fallback` answered instead; models are "" where not known."""

    client: Service
    server: Service
    fallback: Service
    model: str
    fallback_model: str


@dataclass(slots=True, eq=False)
class SpanCalls:
    """The calls under one span, in any order.

    caller: service of the call that the span itself is, if it is one. Calls of the same service are attempts of that
        call, so the first of them is not a retry.
    needs_fallbacks: whether fallbacks are to be looked for.
    """

    caller: Service | None = None
    needs_fallbacks: bool = False
    calls: list[tuple[ClientSide, Edge]] = field(default_factory=list)
    _targets: dict[_Target, _SameTarget] | None = None
    _failed: list[tuple[ClientSide, Edge]] = field(default_factory=list)
    _resends: list[tuple[ClientSide, Edge]] = field(default_factory=list)

    def add(self, client: ClientSide, edge: Edge) -> int:
        """Add a call; return the number of retries on its edge not counted yet."""
        self.calls.append((client, edge))
        if client.attempt_failed:
            self._failed.append((client, edge))
        if client.resend_number:
            self._resends.append((client, edge))
        if self._targets is not None:
            return self._add_to_target(self._targets, client, edge)
        if not client.attempt_failed and not client.is_resend:
            return 0
        self._targets = {}  # built at the first failure; without one there are no retries
        return sum(self._add_to_target(self._targets, *call) for call in self.calls)

    def _add_to_target(self, targets: dict[_Target, _SameTarget], client: ClientSide, edge: Edge) -> int:
        key = edge, client.target
        same_target = targets.get(key)
        if same_target is None:
            same_target = targets[key] = _SameTarget(first_is_new=self.caller == client.service)
        return same_target.add(client)

    def add_failure(self, client: ClientSide) -> list[tuple[Edge, int]]:
        """Mark an added call as failed; return the number of retries not counted yet, by edge."""
        edges = [edge for one, edge in self.calls if one is client]
        self._failed += [(client, edge) for edge in edges]
        if self._targets is None:
            targets = self._targets = {}
            return [(edge, self._add_to_target(targets, one, edge)) for one, edge in self.calls]
        return [(edge, self._targets[edge, client.target].add_failure(client)) for edge in edges]

    def resolve_resends(self) -> list[tuple[Edge, int]]:
        """Decide which calls with HTTP's resend count are retries; return those not counted yet, by edge.

        A request is also sent again after a redirect. So a resend is a retry only if the call with the previous number
        failed or sent no span.
        """
        if not self._resends:
            return []
        ends_by_number: dict[tuple[Service, int], list[tuple[int, bool]]] = defaultdict(list)
        for client, _ in self.calls:
            ends_by_number[client.service, client.resend_number].append((client.end_ns, client.attempt_failed))
        for ends in ends_by_number.values():
            ends.sort()
        retries = []
        for client, edge in self._resends:
            ends = ends_by_number.get((client.service, client.resend_number - 1), [])
            position = bisect_right(ends, (client.start_ns, True))
            same_target = self._targets and self._targets.get((edge, client.target))
            if same_target and (position == 0 or ends[position - 1][1]):
                same_target.resends += 1
                retries.append((edge, same_target.take_retries()))
        self._resends = []
        return retries

    def take_fallbacks(self) -> list[Fallback]:
        """Return the failed calls that a successful call to another callee replaced, each once.

        The first success after the failure, of the same service for the same task, decides: at the same callee it is a
        retry, at another one a fallback. All times come from one service, so from one clock.
        """
        successes: dict[tuple[Service, tuple[str, str]], list[tuple[int, Edge, str]]] = defaultdict(list)
        for client, edge in self.calls:
            if not client.attempt_failed:
                successes[client.service, client.task].append((client.start_ns, edge, client.model))
        for starts in successes.values():
            starts.sort()
        fallbacks, still_failed = [], []
        for client, edge in self._failed:
            later = successes.get((client.service, client.task), [])
            position = bisect_left(later, (client.end_ns,))
            if position == len(later):
                still_failed.append((client, edge))
            elif (later[position][1].server, later[position][2]) != (edge.server, client.model):
                _, other, model = later[position]
                fallbacks.append(Fallback(client.service, edge.server, other.server, client.model, model))
        self._failed = still_failed
        return fallbacks
