"""An absorbing walk: what begins at some nodes goes on by shares, until hardly any of it still walks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

ROUNDS = 64
"""Steps after which what still walks in a circle stays where it is."""
WALKS = 1e-6
"""Blame that is too little to follow."""

Kind = Literal["slow", "load"]
Node = tuple[Service, Kind]


class Moves(NamedTuple):
    """What becomes of the blame that comes to a node, as shares of it. stays: at the node. onward: goes to which nodes.
    ends: stays with whom, and why."""

    stays: float
    onward: tuple[tuple[Node, float], ...]
    ends: tuple[tuple[Service, str, float], ...]


class Walk(Protocol):
    """Where blame goes."""

    def moves(self, node: Node) -> Moves:
        """Where blame goes from a node."""
        ...

    def reason(self, node: Node) -> str:
        """Why blame stays at a node."""
        ...


def settled(walk: Walk, begin: Sequence[Node]) -> Mapping[Service, Mapping[str, float]]:
    """Where blame ends that begins at some nodes with one each, and why, once hardly any still walks."""
    paths = _Paths(walk, begin)
    came: Floats = np.zeros(len(paths.nodes))
    mass = np.ones(len(paths.nodes))
    for _ in range(ROUNDS):
        came = came + mass
        mass = paths.onward(mass)
        mass[mass <= WALKS] = 0.0
        came = np.pad(came, (0, len(mass) - len(came)))
        if not mass.any():
            break
    absorbed: defaultdict[Service, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for node, all_that_came, kept, still in zip(paths.nodes, came.tolist(), paths.stays, mass.tolist(), strict=True):
        if (here := all_that_came * kept + still) > 0:
            absorbed[node[0]][walk.reason(node)] += here
    for i, who, why, share in paths.ends:
        if came[i] > 0:
            absorbed[who][why] += float(came[i]) * share
    return absorbed


class _Paths:
    """The nodes that blame comes to, and where it goes from them. A node is looked at once some does come to it: there
    are far more that it could reach than it does.

    stays: the share that stays at each. ends: of every move that ends: number of its node, with whom, why, share.
    """

    def __init__(self, walk: Walk, begin: Sequence[Node]) -> None:
        self.nodes = list(begin)
        self.stays = [0.0] * len(begin)
        self.ends: list[tuple[int, Service, str, float]] = []
        self._walk = walk
        self._number = {node: i for i, node in enumerate(begin)}
        self._looked: set[int] = set()
        self._source: list[int] = []
        self._target: list[int] = []
        self._share: list[float] = []
        self._ways = np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0)  # these three

    def onward(self, mass: Floats) -> Floats:
        """What comes to each node when this much walks on from each."""
        for i in np.flatnonzero(mass).tolist():
            if i not in self._looked:
                self._look(i)
        if len(self._source) > len(self._ways[0]):
            self._ways = np.array(self._source), np.array(self._target), np.array(self._share)
        source, target, share = self._ways
        return np.bincount(target, mass[source] * share, len(self.nodes)).astype(np.float64)

    def _look(self, i: int) -> None:
        self._looked.add(i)
        self.stays[i], onward, ends = self._walk.moves(self.nodes[i])
        self.ends += [(i, *end) for end in ends]
        number = self._number
        for to, share in onward:
            if (at := number.get(to)) is None:
                at = number[to] = len(self.nodes)
                self.nodes.append(to)
                self.stays.append(0.0)
            self._source.append(i)
            self._target.append(at)
            self._share.append(share)
