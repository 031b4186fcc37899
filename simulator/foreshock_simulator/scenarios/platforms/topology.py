"""Platforms of four sizes: the demo's, and small, medium and large ones that are drawn by seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.scenarios.platforms import catalogue
from foreshock_simulator.scenarios.platforms.capacity import autoscaler
from foreshock_simulator.scenarios.platforms.cells import Extra, draw
from foreshock_simulator.scenarios.platforms.demo import demo
from foreshock_simulator.scenarios.platforms.flows import flows_of
from foreshock_simulator.scenarios.platforms.layout import Shelf, hosts_of
from foreshock_simulator.scenarios.platforms.mig_slices import cut, sliced
from foreshock_simulator.scenarios.platforms.restrict import restrict
from foreshock_simulator.scenarios.validation.memory import starts
from foreshock_simulator.spec.hosts import HostSpec, Place, PoolSpec
from foreshock_simulator.spec.queries import gpus_of
from foreshock_simulator.spec.scenario import PlatformSpec, Topology
from foreshock_simulator.spec.services import LlmSpec, ServiceSpec, TenantSpec

Size = Literal["demo", "small", "medium", "large"]
SIZES: Final[tuple[Size, ...]] = ("demo", "small", "medium", "large")

ON_OLDER = 0.6
"""Share of the pools for models of one GPU that have A100s, where there are some."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What tells one size from another.

    `replicas` of model services at the start, of those that are there; GPUs of the pools `embed` and `image`, those
    that batch tenants have to themselves, those of each training tenant, and the most of a replica of a drawn model.
    """

    hosts: tuple[HostSpec, ...]
    services: int
    replicas: dict[str, int]
    names: frozenset[str] = frozenset(service.name.name for service in catalogue.SERVICES)
    embed: int = 4
    image: int = 2
    batch: int = 2
    training: tuple[int, ...] = ()
    most_gpus: int = 4
    cpu_replicas: dict[str, int] = field(default_factory=dict)


SHAPES: Final[dict[Size, Shape]] = {
    "small": Shape(
        hosts=hosts_of(2, 4, 2),
        services=5,
        replicas={"llm-chat": 2, "embedder": 2},
        names=frozenset({"assistant-feature", "gateway", "llm-chat", "vector-store", "embedder"}),
        embed=2,
    ),
    "medium": Shape(
        hosts=hosts_of(8, 8, 4),
        services=25,
        replicas={"llm-chat": 4, "llm-code": 2, "embedder": 4, "reranker": 4, "image-gen": 2},
        batch=4,
        training=(16,),
        most_gpus=2,
    ),
    "large": Shape(
        hosts=hosts_of(125, 8, 16, older=40),
        services=100,
        replicas={"llm-chat": 8, "llm-code": 4, "embedder": 8, "reranker": 8, "image-gen": 4},
        embed=8,
        image=4,
        batch=32,
        training=(256, 128, 64),
        cpu_replicas={"gateway": 6, "vector-store": 6, "auth": 4, "assistant-feature": 4, "search-feature": 4},
    ),
}


def generate(size: Size, seed: int, knobs: Topology) -> PlatformSpec:
    """A platform of a size. The same size, seed and knobs give the same."""
    if size == "demo":
        return demo(knobs)
    shape = SHAPES[size]
    rng = random_stream(seed, f"topology/{size}")
    services = restrict(catalogue.SERVICES, shape.names)
    more = shape.services - len(services)
    extra = draw(more, rng, shape.most_gpus) if more else Extra((), {}, {}, {}, ())
    services = tuple(
        replace(service, operations=(*service.operations, *extra.gateway_routes.get(service.name.name, ())))
        for service in (*services, *extra.services)
    )
    shelf = Shelf(shape.hosts)
    training = _training(shape, shelf)
    services, pools = _place_models(services, shape, extra, shelf, knobs, rng)
    services = _place_servers(services, shape)
    platform = PlatformSpec(shape.hosts, pools, services)
    platform = replace(platform, tenants=(*_batch(platform, shape, shelf), *training))
    return replace(platform, flows=flows_of(platform, extra, knobs, rng))


def _place_models(
    services: tuple[ServiceSpec, ...],
    shape: Shape,
    extra: Extra,
    shelf: Shelf,
    knobs: Topology,
    rng: random.Random,
) -> tuple[tuple[ServiceSpec, ...], tuple[PoolSpec, ...]]:
    """Give models their pools. Language models' have twice the GPUs that are held at the start, as far as there are."""
    pool_of = {name: pool for pool, names in extra.pools.items() for name in names}
    placed = [
        replace(
            service,
            pool=pool_of.get(service.name.name, service.pool),
            replicas=shape.replicas.get(service.name.name, service.replicas),
        )
        for service in services
    ]
    pools: list[PoolSpec] = []
    models: dict[str, str] = {}
    for name in dict.fromkeys(service.pool for service in placed if service.model is not None):
        members = [service for service in placed if service.pool == name]
        if not any(isinstance(service.model, LlmSpec) for service in members):
            count = shape.embed if name == "embed" else shape.image
            pool = PoolSpec(name, shelf.take(count), slots=len(members))
            pools.append(cut(pool) if knobs.mig and name == "embed" else pool)
            continue
        models[name] = "H100"
        older = name in extra.pools and any(host.gpu_model == "A100" for host in shape.hosts)
        if older and all(gpus_of(service) == 1 for service in members) and rng.random() < ON_OLDER:
            models[name] = "A100"
            members = [_wider(service) for service in members]
            by_name = {service.name: service for service in members}
            placed = [by_name.get(service.name, service) for service in placed]
        together = max(gpus_of(service) for service in members)
        held = sum(service.replicas * gpus_of(service) for service in members)
        places = shelf.take(2 * held, together, models[name])
        pools.append(PoolSpec(name, places, quota=held + round(held * knobs.spare), provisioning=knobs.provisioning))
    scaled = (
        replace(service, autoscaler=autoscaler(service, models[service.pool])) if service.pool in models else service
        for service in placed
    )
    return tuple(scaled), tuple(pools)


def _wider(service: ServiceSpec) -> ServiceSpec:
    """The service on two older GPUs in place of one, on which it answers as fast."""
    assert isinstance(service.model, LlmSpec)  # noqa: S101 - as are all that grow
    return replace(service, model=replace(service.model, tensor_parallel=2))


def _place_servers(services: tuple[ServiceSpec, ...], shape: Shape) -> tuple[ServiceSpec, ...]:
    """Spread services without models over the hosts without GPUs, in turn, so that they share interfaces."""
    hosts = [host.name for host in shape.hosts if not host.gpus]
    placed: list[ServiceSpec] = []
    turn = 0
    for service in services:
        if service.model is not None:
            placed.append(service)
            continue
        replicas = shape.cpu_replicas.get(service.name.name, service.replicas)
        chosen = tuple(hosts[(turn + number) % len(hosts)] for number in range(min(replicas, len(hosts))))
        turn += 1
        placed.append(replace(service, hosts=chosen, replicas=replicas))
    return tuple(placed)


def _training(shape: Shape, shelf: Shelf) -> tuple[TenantSpec, ...]:
    """Training has whole hosts: every other one those with older GPUs."""
    tenants = []
    for number, count in enumerate(shape.training):
        name = catalogue.TRAIN.name._replace(name=f"train-llm{'' if number == 0 else f'-{number + 1}'}")
        places = shelf.take(count, together=8, model="A100" if number % 2 else "H100")
        tenants.append(replace(catalogue.TRAIN, name=name, places=places))
    return tuple(tenants)


def _batch(platform: PlatformSpec, shape: Shape, shelf: Shelf) -> tuple[TenantSpec, ...]:
    """Batch work on what chat and code leave, and on GPUs of its own."""
    names = frozenset(service.name.name for service in platform.services)
    begin = starts(platform)
    tenants = [_onto(catalogue.BATCH_EMBED, (*_flat(begin["llm-chat"]), *shelf.take(shape.batch)), names)]
    if "llm-code" in begin:
        places = (*_flat(begin["llm-code"]), *shelf.take(shape.batch))
        tenants.append(_onto(catalogue.NIGHTLY_EVAL, places, names))
    tenants += [_onto(item, item.places, names) for item in sliced(platform)]
    return tuple(tenants)


def _flat(replicas: list[tuple[Place, ...]]) -> tuple[Place, ...]:
    return tuple(place for replica in replicas for place in replica)


def _onto(tenant: TenantSpec, places: tuple[tuple[str, int], ...], names: frozenset[str]) -> TenantSpec:
    return replace(tenant, places=places, calls=tuple(call for call in tenant.calls if call.service in names))
