"""The topology of a platform: services, GPUs, pools, and the layout of the service map."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from typing_extensions import TypedDict

from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.charts.theme import service_color
from foreshock_dashboard.web.panels.service_map import ServiceMap, service_map


class TopologyService(TypedDict):
    """A service."""

    id: str
    colour: int


class TopologyHost(TypedDict):
    """A host and its GPUs: index, UUID, and model of each."""

    name: str
    gpus: list[list[str]]


class TopologyPools(TypedDict):
    """The pools, and the index of the pool of each GPU; both empty without pools."""

    names: list[str]
    of: list[int]


class Identities(TypedDict):
    """The objects of a platform. tenants: GPU and service of each, as indexes."""

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
        hosts: dict[str, list[list[str]]] = {}
        for gpu in world.gpus:
            hosts.setdefault(gpu.host, []).append([gpu.index, gpu.uuid, gpu.model])
        body = {
            "services": [{"id": str(service), "colour": service_color(str(service))} for service in world.services],
            "hosts": [{"name": name, "gpus": listed} for name, listed in hosts.items()],
            "pools": _pools(world.pool),
            "tenants": [[place[who.gpu], index[who.service]] for who in world.tenants],
            "map": service_map(world),
        }
    digest = hashlib.blake2s(json.dumps(body, sort_keys=True).encode(), digest_size=8).hexdigest()
    return {"id": digest, **body}


def _pools(pool_by_gpu: Sequence[str]) -> TopologyPools:
    """The pools, and the index of the pool of each GPU; both empty without pools."""
    names = sorted(set(pool_by_gpu)) if any(pool_by_gpu) else []
    place = {name: i for i, name in enumerate(names)}
    return {"names": names, "of": [place[name] for name in pool_by_gpu] if names else []}


class TopologyCache:
    """The topology of the newest evaluation, laid out again only when the World's identities change."""

    def __init__(self) -> None:
        self._latest: tuple[tuple[object, ...], Topology] | None = None

    def get(self, snapshot: Snapshot, past: bool = False) -> Topology:
        """The topology of a snapshot. past: a snapshot of time travel, which is not cached."""
        world = snapshot.world
        if past:
            return topology(world)
        key = (world.services, world.edges, world.gpus, world.tenants, world.stalls, world.pool) if world else ()
        latest = self._latest  # one read: several threads may replace it
        if latest is None or latest[0] != key:
            latest = self._latest = (key, topology(world))
        return latest[1]
