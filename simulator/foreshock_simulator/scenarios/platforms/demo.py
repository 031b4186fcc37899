"""The platform of the demo: 32 GPUs, laid out by hand, independent of the seed."""

from __future__ import annotations

from dataclasses import replace

from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.scenarios.platforms.catalog import catalog, mig_tenants, with_mig
from foreshock_simulator.scenarios.platforms.cells import ExtraServices
from foreshock_simulator.scenarios.platforms.flows import autoscaler, flows_of
from foreshock_simulator.spec.platform import HostSpec, Place, PlatformSpec, PoolSpec, Topology

_SERVERS = {
    "assistant-feature": ("host-3", "host-4"),
    "search-feature": ("host-3", "host-4"),
    "gateway": ("host-1", "host-2", "host-3"),
    "auth": ("host-3", "host-4"),
    "vector-store": ("host-2", "host-4"),
    "ml-platform": ("host-3", "host-4"),
}
_REPLICAS = {"llm-chat": 4, "llm-code": 4, "embedder": 4, "reranker": 4, "image-gen": 2}


def demo(hosts: tuple[HostSpec, ...], topology: Topology) -> PlatformSpec:
    """Fifteen services and tenants on four hosts with eight GPUs each."""
    front, back = ("host-1", "host-2"), ("host-3", "host-4")
    embed = PoolSpec("embed", _places(front, 4, 5), slots=2)
    chat_places, chat_quota = (*_places(front, 0, 1), *_places(front, 7)), 4 + round(2 * topology.spare)
    pools = (
        PoolSpec("chat", chat_places, quota=chat_quota, provisioning=topology.provisioning),
        PoolSpec("code", _places(front, 2, 3)),
        with_mig(embed) if topology.mig else embed,
        PoolSpec("image", _places(front, 6)),
    )
    services = []
    for service in catalog().services:
        name = service.name.name
        if name in _SERVERS:
            services.append(replace(service, hosts=_SERVERS[name], replicas=len(_SERVERS[name])))
            continue
        placed = replace(service, replicas=_REPLICAS[name])
        if name == "llm-chat":
            placed = replace(placed, autoscaler=replace(autoscaler(placed, "H100"), maximum=6))
        services.append(placed)
    batch_places = (*_places(front, 0, 1), *_places((*front, *back), 7), Place("host-4", 6))
    tenants = (
        replace(catalog().tenant("batch-embed"), places=batch_places),
        replace(catalog().tenant("nightly-eval"), places=(*_places(front, 2, 3), Place("host-3", 6))),
        replace(catalog().tenant("train-llm"), places=_places(back, 0, 1, 2, 3, 4, 5)),
    )
    idle = replace(catalog().tenant("notebook"), places=(Place("host-3", 6),))  # last: random numbers depend on order
    platform = PlatformSpec(hosts, pools, tuple(services), (*tenants, *mig_tenants(pools), idle))
    flows = flows_of(platform, ExtraServices(), topology, random_stream(0, "topology/demo"))
    return replace(platform, flows=flows)


def _places(hosts: tuple[str, ...], *gpus: int) -> tuple[Place, ...]:
    return tuple(Place(host, gpu) for host in hosts for gpu in gpus)
