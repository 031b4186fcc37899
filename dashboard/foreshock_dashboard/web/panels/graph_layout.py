"""A layered layout of the service graph: callers left, callees right, the same picture for the same graph.

The steps are those of Sugiyama, Tagawa and Toda (1981): break cycles, put nodes in columns by longest path, bend long
edges around boxes, and order each column by the mean place of its neighbors.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

SWEEPS = 4


class Arrow(NamedTuple):
    """An edge; among the edges of a cycle the one of least weight is drawn backwards."""

    client: str
    server: str
    weight: float = 1.0


class Place(NamedTuple):
    """Column from the left, row from the top of that column; both count from 0."""

    column: int
    row: int


class Bend(NamedTuple):
    """A place that a long edge passes through, in a column between its ends."""

    client: str
    server: str
    column: int


class Route(NamedTuple):
    """The places an edge runs through, its ends included. `back`: it closes a cycle and runs right to left."""

    client: str
    server: str
    points: tuple[Place, ...]
    back: bool


@dataclass(frozen=True, slots=True)
class Layered:
    """Every node's place and every edge's route; `heights[c]` is the number of rows in column c, bends included."""

    places: Mapping[str, Place]
    routes: tuple[Route, ...]
    heights: tuple[int, ...]


Vertex = str | Bend
Pairs = Collection[tuple[str, str]]


def layered(nodes: Iterable[str], arrows: Iterable[Arrow], beside: Mapping[str, str] | None = None) -> Layered:
    """Lay a graph out. Pure: nodes and arrows in any order give the same result.

    beside: for a node without edges, the node of its column; column 0 by default. Arrows with an unknown end, and those
    from a node to itself, are left out.
    """
    known = sorted(set(nodes))
    weights: dict[tuple[str, str], float] = {}
    for arrow in arrows:
        if arrow.client != arrow.server and arrow.client in known and arrow.server in known:
            pair = arrow.client, arrow.server
            weights[pair] = weights.get(pair, 0.0) + arrow.weight
    back = _backward(weights)
    forward = {(server, client) if (client, server) in back else (client, server) for client, server in weights}
    columns = _columns(known, forward)
    for loner in sorted(set(known) - {end for pair in forward for end in pair}):
        columns[loner] = columns.get((beside or {}).get(loner, ""), 0)
    chains = {pair: _chain(pair, pair in back, columns) for pair in sorted(weights)}
    order = _ordered(columns, chains.values())
    place = {vertex: Place(c, r) for c, column in enumerate(order) for r, vertex in enumerate(column)}
    routes = tuple(
        Route(*pair, tuple(place[vertex] for vertex in (chain[::-1] if pair in back else chain)), pair in back)
        for pair, chain in chains.items()
    )
    return Layered({node: place[node] for node in known}, routes, tuple(map(len, order)))


def _backward(weights: Mapping[tuple[str, str], float]) -> set[tuple[str, str]]:
    """The edges that would close a cycle when edges are added from the heaviest to the lightest."""
    after: dict[str, set[str]] = {}
    back = set()
    for client, server in sorted(weights, key=lambda pair: (-weights[pair], pair)):
        if _reaches(server, client, after):
            back.add((client, server))
        else:
            after.setdefault(client, set()).add(server)
    return back


def _reaches(start: str, goal: str, after: Mapping[str, set[str]]) -> bool:
    seen, stack = {start}, [start]
    while stack:
        node = stack.pop()
        if node == goal:
            return True
        fresh = after.get(node, set()) - seen
        seen |= fresh
        stack.extend(fresh)
    return False


def _columns(nodes: Sequence[str], forward: Pairs) -> dict[str, int]:
    """Longest path from the left; a node without callers then moves right, next to its first callee."""
    before: dict[str, set[str]] = {node: set() for node in nodes}
    after: dict[str, set[str]] = {node: set() for node in nodes}
    for client, server in forward:
        before[server].add(client)
        after[client].add(server)
    columns: dict[str, int] = {}
    for node in TopologicalSorter(before).static_order():
        columns[node] = max((columns[other] + 1 for other in before[node]), default=0)
    for node in nodes:
        if not before[node] and after[node]:
            columns[node] = min(columns[other] for other in after[node]) - 1
    return columns


def _chain(pair: tuple[str, str], back: bool, columns: Mapping[str, int]) -> tuple[Vertex, ...]:
    """The vertices of an edge from the left; two edges between the same nodes have bends of their own."""
    left, right = reversed(pair) if back else pair
    return (left, *(Bend(*pair, column) for column in range(columns[left] + 1, columns[right])), right)


def _ordered(columns: Mapping[str, int], chains: Collection[tuple[Vertex, ...]]) -> list[list[Vertex]]:
    """The vertices of every column from top to bottom, after sweeps that pull neighbors level."""
    where: dict[Vertex, int] = dict(columns.items())
    left: dict[Vertex, list[Vertex]] = {}
    right: dict[Vertex, list[Vertex]] = {}
    for chain in chains:
        for one, other in pairwise(chain):
            right.setdefault(one, []).append(other)
            left.setdefault(other, []).append(one)
        where |= {bend: bend.column for bend in chain if isinstance(bend, Bend)}
    order: list[list[Vertex]] = [[] for _ in range(max(where.values(), default=-1) + 1)]
    for vertex in sorted(where, key=_name):
        order[where[vertex]].append(vertex)
    row = {vertex: float(r) for column in order for r, vertex in enumerate(column)}
    for sweep in range(SWEEPS):
        side = right if sweep % 2 else left
        for column in reversed(order) if sweep % 2 else order:
            wish = {v: fmean(row[n] for n in side[v]) if v in side else row[v] for v in column}
            column.sort(key=lambda v, wish=wish: (wish[v], _name(v)))  # type: ignore[misc]  # a default binds the loop's value
            row |= {vertex: float(r) for r, vertex in enumerate(column)}
    linked = left.keys() | right.keys()
    for column in order:  # what has no edges goes below what has
        column.sort(key=lambda v: v not in linked)
    return order


def _name(vertex: Vertex) -> tuple[str, str]:
    return (vertex, "") if isinstance(vertex, str) else (vertex.client, vertex.server)
