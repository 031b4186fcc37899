"""The topology of a platform: services, GPUs, pools, and the layout of the service map, callers left of callees."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
from typing_extensions import TypedDict

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.charts.theme import service_color
from foreshock_dashboard.web.panels.graph_layout import Arrow, layered
from foreshock_dashboard.web.state.numbers import Row, last, last_median

MAX_NODES = 60
"""Nodes of the service map; beyond that no picture of a graph can be read."""


class MapNode(Row):
    """A node of the service map; column from the left, row from the top."""

    id: str
    kind: str
    color: int
    column: int
    row: int


class MapEdge(Row):
    """A call edge, and the places that it runs through. back: it closes a cycle."""

    client: str
    server: str
    connection: str
    points: list[list[int]]
    back: bool


class ServiceMap(Row):
    """The layout of the service map. heights: rows of each column. hidden: nodes that are not shown."""

    nodes: list[MapNode]
    edges: list[MapEdge]
    heights: list[int]
    hidden: int


class TopologyService(Row):
    """A service."""

    id: str
    color: int


class TopologyHost(Row):
    """A host and the indexes of its GPUs."""

    name: str
    gpus: list[str]


class TopologyPools(Row):
    """The pools, and the index of the pool of each GPU; both empty without pools."""

    names: list[str]
    of: list[int]


class Identities(TypedDict):
    """The objects of a platform.

    tenants: index of the GPU of each, less that of the tenant before, and index of its service. Differences are few, so
    that they compress to a twentieth.
    """

    services: list[TopologyService]
    hosts: list[TopologyHost]
    pools: TopologyPools
    tenants: list[list[int]]
    map: ServiceMap


class Topology(Identities):
    """The objects of a platform, and their digest, to which payloads refer."""

    id: str


def topology(world: World | None) -> Topology:
    """The identities of a platform. id: digest of them; indexes in the payload of `now` point into these lists."""
    if world is None:
        body: Identities = {"services": [], "hosts": [], "pools": _pools(()), "tenants": [], "map": service_map(None)}
    else:
        index = {service: i for i, service in enumerate(world.services)}
        place = {gpu: i for i, gpu in enumerate(world.gpus)}
        steps = np.diff([place[tenant.gpu] for tenant in world.tenants], prepend=0).tolist()
        hosts: dict[str, list[str]] = {}
        for gpu in world.gpus:
            hosts.setdefault(gpu.host, []).append(gpu.index)
        body = {
            "services": [TopologyService(str(service), service_color(str(service))) for service in world.services],
            "hosts": [TopologyHost(name, listed) for name, listed in hosts.items()],
            "pools": _pools(world.pool),
            "tenants": [[step, index[tenant.service]] for step, tenant in zip(steps, world.tenants, strict=True)],
            "map": service_map(world),
        }
    digest = hashlib.blake2s(json.dumps(body, sort_keys=True, default=vars).encode(), digest_size=8).hexdigest()
    return {"id": digest, **body}


def _pools(pool_by_gpu: Sequence[str]) -> TopologyPools:
    names = sorted(set(pool_by_gpu)) if any(pool_by_gpu) else []
    place = {name: i for i, name in enumerate(names)}
    return TopologyPools(names, [place[name] for name in pool_by_gpu] if names else [])


def service_map(world: World | None) -> ServiceMap:
    """Nodes with their places, and edges with the places they run through."""
    if world is None:
        return ServiceMap([], [], [], 0)
    kinds, shown = _kinds(world), map_nodes(world)
    picture = layered(shown, [Arrow(str(edge.client), str(edge.server)) for edge in world.edges], _beside(world))
    connection = {(str(edge.client), str(edge.server)): edge.connection for edge in world.edges}
    nodes = [
        MapNode(node, kinds[node], service_color(node), place.column, place.row)
        for node, place in picture.places.items()
    ]
    edges = [
        MapEdge(client, server, connection[client, server], list(map(list, points)), back)
        for client, server, points, back in picture.routes
    ]
    return ServiceMap(nodes, edges, list(picture.heights), hidden=len(kinds) - len(shown))


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
    sharing = set(
        map(str, {service for pair in world.gpu_wait_pairs for service in (pair.affected, pair.noisy_neighbor)})
    )
    degree = Counter(str(end) for edge in world.edges for end in (edge.client, edge.server))
    placed = [node for node in nodes if node in sharing or node in degree]
    return sorted(placed, key=lambda node: (node not in sharing, -degree[node], node))[:MAX_NODES]


def _beside(world: World) -> dict[str, str]:
    """For every service, a service with calls that it shares a GPU with; a batch job is drawn below its victim."""
    linked = {end for edge in world.edges for end in (edge.client, edge.server)}
    shared: dict[Service, Counter[Service]] = {}
    for pair in world.gpu_wait_pairs:
        if pair.affected in linked:
            shared.setdefault(pair.noisy_neighbor, Counter())[pair.affected] += 1
    return {
        str(service): str(min(victims, key=lambda other, count=victims: (-count[other], other)))  # type: ignore[misc]  # a default binds the loop's value
        for service, victims in shared.items()
    }


def call_edges(world: World, shown: Collection[str]) -> list[list[float | str | None]]:
    """Calls between the shown nodes: client, server, requests/s, failed share, p95 in seconds, attempts per call."""
    rows = [i for i, edge in enumerate(world.edges) if str(edge.client) in shown and str(edge.server) in shown]
    calls = world.calls
    columns = (
        last_median(calls.rate[rows]),
        last_median(calls.error_rate[rows]),
        last_median(calls.p95[rows]),
        last(world.attempts[rows]),
    )
    return [
        [str(world.edges[i].client), str(world.edges[i].server), *row]
        for i, row in zip(rows, zip(*columns, strict=True), strict=True)
    ]


class TopologyCache:
    """The topology of the newest evaluation, laid out again only when the World's identities change."""

    def __init__(self) -> None:
        self._latest: tuple[tuple[object, ...], Topology] | None = None

    def get(self, snapshot: Snapshot, past: bool = False) -> Topology:
        """The topology of a snapshot. past: a snapshot of time travel, which is not cached."""
        world = snapshot.world
        if past:
            return topology(world)
        key = (
            (world.services, world.edges, world.gpus, world.tenants, world.gpu_wait_pairs, world.pool) if world else ()
        )
        latest = self._latest  # one read: several threads may replace it
        if latest is None or latest[0] != key:
            latest = self._latest = (key, topology(world))
        return latest[1]
