"""The service map: its nodes and their places, callers left of callees. Pure."""

from __future__ import annotations

from collections.abc import Collection

from typing_extensions import TypedDict

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.charts.theme import service_color
from foreshock_dashboard.web.panels.graph_layout import Arrow, layered
from foreshock_dashboard.web.state.numbers import last

MAX_NODES = 60
"""Nodes of the service map; beyond that no picture of a graph can be read."""


class MapNode(TypedDict):
    """A node of the service map; column from the left, row from the top."""

    id: str
    kind: str
    colour: int
    column: int
    row: int


class MapEdge(TypedDict):
    """A call edge, and the places that it runs through. back: it closes a cycle."""

    client: str
    server: str
    connection: str
    points: list[list[int]]
    back: bool


class ServiceMap(TypedDict):
    """The layout of the service map. heights: rows of each column. hidden: nodes that are not shown."""

    nodes: list[MapNode]
    edges: list[MapEdge]
    heights: list[int]
    hidden: int


def service_map(world: World | None) -> ServiceMap:
    """Nodes with their places, and edges with the places they run through."""
    if world is None:
        return {"nodes": [], "edges": [], "heights": [], "hidden": 0}
    kinds = _kinds(world)
    shown = map_nodes(world)
    arrows = [Arrow(str(edge.client), str(edge.server)) for edge in world.edges]
    picture = layered(shown, arrows, _beside(world))
    connection = {(str(edge.client), str(edge.server)): edge.connection for edge in world.edges}
    return {
        "nodes": [
            {
                "id": node,
                "kind": kinds[node],
                "colour": service_color(node),
                "column": place.column,
                "row": place.row,
            }
            for node, place in picture.places.items()
        ],
        "edges": [
            {
                "client": route.client,
                "server": route.server,
                "connection": connection[route.client, route.server],
                "points": [list(point) for point in route.points],
                "back": route.back,
            }
            for route in picture.routes
        ],
        "heights": list(picture.heights),
        "hidden": len(kinds) - len(shown),
    }


def _kinds(world: World) -> dict[str, str]:
    """Every node of the map: a service, a database, or a caller from outside."""
    kinds = {str(service): "service" for service in world.services}
    for edge in world.edges:
        if edge.connection == "virtual_node" and edge.client not in world.services:
            kinds[str(edge.client)] = "outside"
        if edge.connection == "database":
            kinds[str(edge.server)] = "database"
    for edge in world.edges:
        kinds.setdefault(str(edge.client), "service")
        kinds.setdefault(str(edge.server), "service")
    return kinds


def map_nodes(world: World) -> list[str]:
    """The nodes of the map, up to `MAX_NODES`: nodes that share GPUs first, then nodes with the most edges.

    The choice depends on identities, not on load, so that the map does not jump.
    """
    nodes = list(_kinds(world))
    if len(nodes) <= MAX_NODES:
        return nodes
    sharing = {
        str(service) for service in {service for stall in world.stalls for service in (stall.victim, stall.aggressor)}
    }
    degree: dict[str, int] = {}
    for edge in world.edges:
        for end in (str(edge.client), str(edge.server)):
            degree[end] = degree.get(end, 0) + 1
    placed = [node for node in nodes if node in sharing or node in degree]
    ranked = sorted(placed, key=lambda node: (node not in sharing, -degree.get(node, 0), node))
    return ranked[:MAX_NODES]


def _beside(world: World) -> dict[str, str]:
    """For every service, a service with calls that it shares a GPU with; a batch job is drawn below its victim."""
    linked = {end for edge in world.edges for end in (edge.client, edge.server)}
    shared: dict[Service, dict[Service, int]] = {}
    for stall in world.stalls:
        if stall.victim in linked:
            count = shared.setdefault(stall.aggressor, {})
            count[stall.victim] = count.get(stall.victim, 0) + 1
    return {
        str(service): str(min(count, key=lambda other, count=count: (-count[other], other)))  # type: ignore[misc]  # as above
        for service, count in shared.items()
    }


def edges(world: World, shown: Collection[str]) -> list[list[float | str | None]]:
    """Calls between the shown nodes: client, server, requests/s, failed share, p95 in seconds, attempts per call."""
    rows = [i for i, edge in enumerate(world.edges) if str(edge.client) in shown and str(edge.server) in shown]
    columns = (last(of[rows]) for of in (world.calls.rate, world.calls.failed, world.calls.p95, world.attempts))
    return [
        [str(world.edges[i].client), str(world.edges[i].server), *row]
        for i, row in zip(rows, zip(*columns, strict=True), strict=True)
    ]
