"""An absorbing walk: what begins at some nodes goes on by shares, until hardly any of it still walks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np

from foreshock_dashboard.model.query import Floats
from foreshock_dashboard.model.service import Service

ROUNDS = 64
"""Steps after which what still walks in a circle stays where it is."""
WALKS = 1e-6
"""Blame that is too little to follow."""

Kind = Literal["slow", "load"]
Node = tuple[Service, Kind]


class Move(NamedTuple):
    """Blame that goes on: to which node, with what weight 0…1; where `why` is said it stays there."""

    to: Node
    weight: float
    why: str = ""


class Walk(Protocol):
    """Where blame goes."""

    def moves(self, node: Node) -> tuple[float, Sequence[Move], float]:
        """The share that stays at a node, where the rest goes, and the weight of all that goes."""
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
    for i, share, who, why in paths.ends:
        if came[i] > 0:
            absorbed[who][why] += float(came[i]) * share
    return absorbed


class _Paths:
    """The nodes that blame comes to, and where it goes from them. A node is looked at once some does come to it: there
    are far more that it could reach than it does.

    stays: the share that stays at each. ends: of every move that ends: number of its node, share, at whom and why.
    """

    def __init__(self, walk: Walk, begin: Sequence[Node]) -> None:
        self.nodes = list(begin)
        self.stays = [0.0] * len(begin)
        self.ends: list[tuple[int, float, Service, str]] = []
        self._walk = walk
        self._number = {node: i for i, node in enumerate(begin)}
        self._looked: set[int] = set()
        self._source: list[int] = []
        self._target: list[int] = []
        self._share: list[float] = []

    def onward(self, mass: Floats) -> Floats:
        """What comes to each node when this much walks on from each."""
        for i in np.flatnonzero(mass).tolist():
            if i not in self._looked:
                self._look(i)
        if not self._source:
            return np.zeros(len(self.nodes))
        found: Floats = np.bincount(self._target, mass[self._source] * self._share, len(self.nodes)).astype(np.float64)
        return found

    def _look(self, i: int) -> None:
        self._looked.add(i)
        kept, moves, total = self._walk.moves(self.nodes[i])
        self.stays[i] = kept
        for to, part, why in moves if kept < 1 else ():
            share = (1 - kept) * part / total
            if why:
                self.ends.append((i, share, to[0], why))
                continue
            if to not in self._number:
                self._number[to] = len(self.nodes)
                self.nodes.append(to)
                self.stays.append(0.0)
            self._source.append(i)
            self._target.append(self._number[to])
            self._share.append(share)
