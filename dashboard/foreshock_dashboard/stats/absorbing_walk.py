"""Absorbing random walk on a graph with transitions that are computed on demand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

MAX_STEPS = 64
"""Steps after which the mass still moving, as in a loop, is absorbed where it is."""
NEGLIGIBLE_MASS = 1e-6
"""Mass at a node below which it is no longer propagated."""

Kind = Literal["slow", "load"]
Node = tuple[Service, Kind]


class Transitions(NamedTuple):
    """What happens to the mass that arrives at a node, as shares of it that add up to 1.

    `stays` is absorbed at the node, `moves` goes on to other nodes, and `absorbed` ends at a service for a reason.
    """

    stays: float
    moves: tuple[tuple[Node, float], ...]
    absorbed: tuple[tuple[Service, Reason, float], ...]


def absorption(
    transitions: Callable[[Node], Transitions], reason: Callable[[Node], Reason], starts: Sequence[Node]
) -> Mapping[Service, Mapping[Reason, float]]:
    """Mass absorbed by each service, by reason, of a walk that starts with mass 1 at each node of `starts`.

    Args:
        transitions: transitions out of a node.
        reason: reason reported for the mass that stays at a node.
    """
    graph = _VisitedGraph(transitions, starts)
    arrived: Floats = np.zeros(len(graph.nodes))
    mass = np.ones(len(graph.nodes))
    for _ in range(MAX_STEPS):
        arrived = arrived + mass
        mass = graph.step(mass)
        mass[mass <= NEGLIGIBLE_MASS] = 0.0
        arrived = np.pad(arrived, (0, len(mass) - len(arrived)))
        if not mass.any():
            break
    absorbed: defaultdict[Service, defaultdict[Reason, float]] = defaultdict(lambda: defaultdict(float))
    for node, total, stays, moving in zip(graph.nodes, arrived.tolist(), graph.stays, mass.tolist(), strict=True):
        if (here := total * stays + moving) > 0:
            absorbed[node[0]][reason(node)] += here
    for i, service, why, share in graph.absorbed:
        if arrived[i] > 0:
            absorbed[service][why] += float(arrived[i]) * share
    return absorbed


class _VisitedGraph:
    """The part of the graph that mass has reached: a node is expanded only once mass arrives there.

    `stays` holds the share absorbed at each node, `absorbed` (node number, service, reason, share) for the rest.
    """

    def __init__(self, transitions: Callable[[Node], Transitions], starts: Sequence[Node]) -> None:
        self.nodes = list(starts)
        self.stays = [0.0] * len(starts)
        self.absorbed: list[tuple[int, Service, Reason, float]] = []
        self._transitions = transitions
        self._number = {node: i for i, node in enumerate(starts)}
        self._expanded: set[int] = set()
        self._source: list[int] = []
        self._target: list[int] = []
        self._share: list[float] = []
        self._edges = np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0)  # the three lists as arrays

    def step(self, mass: Floats) -> Floats:
        """Mass at each node after one step from `mass`; longer than `mass` where new nodes were reached."""
        for i in np.flatnonzero(mass).tolist():
            if i not in self._expanded:
                self._expand(i)
        if len(self._source) > len(self._edges[0]):
            self._edges = np.array(self._source), np.array(self._target), np.array(self._share)
        source, target, share = self._edges
        return np.bincount(target, mass[source] * share, len(self.nodes)).astype(np.float64)

    def _expand(self, i: int) -> None:
        self._expanded.add(i)
        self.stays[i], moves, absorbed = self._transitions(self.nodes[i])
        self.absorbed += [(i, *end) for end in absorbed]
        for node, share in moves:
            if (number := self._number.get(node)) is None:
                number = self._number[node] = len(self.nodes)
                self.nodes.append(node)
                self.stays.append(0.0)
            self._source.append(i)
            self._target.append(number)
            self._share.append(share)
