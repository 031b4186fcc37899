"""Platforms of four sizes: the demo, and small, medium and large ones drawn by seed from the catalog."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import Final, Literal

from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.scenarios.platforms.catalog import MODEL_BY_ROUTE, catalog, mig_tenants, with_mig
from foreshock_simulator.scenarios.platforms.cells import ExtraServices, draw_services
from foreshock_simulator.scenarios.platforms.demo import demo
from foreshock_simulator.scenarios.platforms.flows import autoscaler, flows_of, with_traffic
from foreshock_simulator.scenarios.validation.capacity import initial_places
from foreshock_simulator.spec.platform import HostSpec, Place, PlatformSpec, PoolSpec, Topology
from foreshock_simulator.spec.queries import gpus_per_replica, map_calls
from foreshock_simulator.spec.services import Call, LlmSpec, ServiceSpec, TenantSpec

Size = Literal["demo", "small", "medium", "large"]
SIZES: Final[tuple[Size, ...]] = ("demo", "small", "medium", "large")

GPU_HOST_NIC_BYTES_PER_SECOND = 25e9
CPU_HOST_NIC_BYTES_PER_SECOND = 3.125e9
"""Bytes per second: 200 Gbit/s for hosts with GPUs, 25 Gbit/s for hosts without."""
HOSTS_PER_RACK = 4
A100_POOL_RATIO = 0.6
"""Share of the pools for one-GPU models that have A100s, on platforms with A100s."""


def hosts_of(with_gpus: int, gpus: int, without: int, older: int = 0) -> tuple[HostSpec, ...]:
    """Hosts `host-1` and on: first those with GPUs, the last `older` of them with A100s, then those without GPUs."""
    return tuple(
        HostSpec(
            f"host-{number + 1}",
            gpus if number < with_gpus else 0,
            "A100" if with_gpus - older <= number < with_gpus else "H100",
            GPU_HOST_NIC_BYTES_PER_SECOND if number < with_gpus else CPU_HOST_NIC_BYTES_PER_SECOND,
            f"rack-{number // HOSTS_PER_RACK + 1}",
        )
        for number in range(with_gpus + without)
    )


class FreeGpus:
    """GPUs that are not yet allocated."""

    def __init__(self, hosts: tuple[HostSpec, ...]) -> None:
        self._free = {host.name: [Place(host.name, gpu) for gpu in range(host.gpus)] for host in hosts}
        self._model = {host.name: host.gpu_model for host in hosts}

    def take(self, count: int, together: int = 1, model: str = "H100") -> tuple[Place, ...]:
        """Take `count` GPUs of a kind, `together` at a time from the host with the most left.

        Fewer when they run out.
        """
        taken: list[Place] = []
        while len(taken) < count:
            hosts = [name for name, free in self._free.items() if len(free) >= together and self._model[name] == model]
            if not hosts:
                break
            free = self._free[max(hosts, key=lambda name: len(self._free[name]))]
            taken += free[:together]
            del free[:together]
        return tuple(taken)


@dataclass(frozen=True, slots=True)
class SizeParameters:
    """Parameters of a size.

    `replicas`: initial replicas of model services. `names`: services of the catalog, None for all. `embed`, `image`:
    GPUs of these pools. `batch`: GPUs that batch tenants have to themselves. `training`: GPUs of each training tenant.
    `max_gpus`: limit per replica of a drawn model.
    """

    hosts: tuple[HostSpec, ...]
    services: int
    replicas: dict[str, int]
    names: frozenset[str] | None = None
    embed: int = 4
    image: int = 2
    batch: int = 2
    training: tuple[int, ...] = ()
    max_gpus: int = 4
    cpu_replicas: dict[str, int] = field(default_factory=dict)


SIZE_PARAMETERS: Final[dict[Size, SizeParameters]] = {
    "small": SizeParameters(
        hosts=hosts_of(2, 4, 2),
        services=5,
        replicas={"llm-chat": 2, "embedder": 2},
        names=frozenset({"assistant-feature", "gateway", "llm-chat", "vector-store", "embedder"}),
        embed=2,
    ),
    "medium": SizeParameters(
        hosts=hosts_of(8, 8, 4),
        services=25,
        replicas={"llm-chat": 4, "llm-code": 2, "embedder": 4, "reranker": 4, "image-gen": 2},
        batch=4,
        training=(16,),
        max_gpus=2,
    ),
    "large": SizeParameters(
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


def generate(size: Size, seed: int, topology: Topology) -> PlatformSpec:
    """A platform of a size; it depends on size, seed and topology only."""
    platform = demo(hosts_of(4, 8, 0), topology) if size == "demo" else _draw(size, seed, topology)
    return with_traffic(platform, topology)


def _draw(size: Size, seed: int, topology: Topology) -> PlatformSpec:
    parameters = SIZE_PARAMETERS[size]
    rng = random_stream(seed, f"topology/{size}")
    services = catalog().services
    if parameters.names is not None:
        services = restrict(services, parameters.names)
    extra_count = parameters.services - len(services)
    extra = draw_services(extra_count, rng, parameters.max_gpus) if extra_count else ExtraServices()
    services = tuple(
        replace(service, operations=(*service.operations, *extra.gateway_routes.get(service.name.name, ())))
        for service in (*services, *extra.services)
    )
    free_gpus = FreeGpus(parameters.hosts)
    training = _training(parameters, free_gpus)
    services, pools = _place_models(services, parameters, extra, free_gpus, topology, rng)
    services = _place_servers(services, parameters)
    platform = PlatformSpec(parameters.hosts, pools, services)
    platform = replace(platform, tenants=(*_batch(platform, parameters, free_gpus), *training))
    return replace(platform, flows=flows_of(platform, extra, topology, rng))


def _place_models(
    services: tuple[ServiceSpec, ...],
    parameters: SizeParameters,
    extra: ExtraServices,
    free_gpus: FreeGpus,
    topology: Topology,
    rng: random.Random,
) -> tuple[tuple[ServiceSpec, ...], tuple[PoolSpec, ...]]:
    """Assign models to pools. Pools of language models have twice the GPUs held at the start, as far as available."""
    pool_of = {name: pool for pool, names in extra.pools.items() for name in names}
    placed = [
        replace(
            service,
            pool=pool_of.get(service.name.name, service.pool),
            replicas=parameters.replicas.get(service.name.name, service.replicas),
        )
        for service in services
    ]
    pools: list[PoolSpec] = []
    models: dict[str, str] = {}
    for name in dict.fromkeys(service.pool for service in placed if service.model is not None):
        members = [service for service in placed if service.pool == name]
        if not any(isinstance(service.model, LlmSpec) for service in members):
            count = parameters.embed if name == "embed" else parameters.image
            pool = PoolSpec(name, free_gpus.take(count), slots=len(members))
            pools.append(with_mig(pool) if topology.mig and name == "embed" else pool)
            continue
        models[name] = "H100"
        older = name in extra.pools and any(host.gpu_model == "A100" for host in parameters.hosts)
        if older and all(gpus_per_replica(service) == 1 for service in members) and rng.random() < A100_POOL_RATIO:
            models[name] = "A100"
            # two older GPUs instead of one have about the same speed
            by_name = {
                service.name: replace(service, model=replace(service.model, tensor_parallel=2))
                for service in members
                if isinstance(service.model, LlmSpec)
            }
            members = list(by_name.values())
            placed = [by_name.get(service.name, service) for service in placed]
        together = max(gpus_per_replica(service) for service in members)
        held = sum(service.replicas * gpus_per_replica(service) for service in members)
        places = free_gpus.take(2 * held, together, models[name])
        pools.append(
            PoolSpec(name, places, quota=held + round(held * topology.spare), provisioning=topology.provisioning)
        )
    scaled = (
        replace(service, autoscaler=autoscaler(service, models[service.pool])) if service.pool in models else service
        for service in placed
    )
    return tuple(scaled), tuple(pools)


def _place_servers(services: tuple[ServiceSpec, ...], parameters: SizeParameters) -> tuple[ServiceSpec, ...]:
    """Spread services without models over the hosts without GPUs in turn, so that they share interfaces."""
    hosts = [host.name for host in parameters.hosts if not host.gpus]
    placed: list[ServiceSpec] = []
    first_host = count()
    for service in services:
        if service.model is None:
            replicas, first = parameters.cpu_replicas.get(service.name.name, service.replicas), next(first_host)
            chosen = tuple(hosts[(first + number) % len(hosts)] for number in range(min(replicas, len(hosts))))
            service = replace(service, hosts=chosen, replicas=replicas)
        placed.append(service)
    return tuple(placed)


def _training(parameters: SizeParameters, free_gpus: FreeGpus) -> tuple[TenantSpec, ...]:
    """Training tenants on whole hosts, every other one on older GPUs."""
    base = catalog().tenant("train-llm")
    tenants = []
    for number, gpus in enumerate(parameters.training):
        name = base.name._replace(name=f"train-llm{'' if number == 0 else f'-{number + 1}'}")
        places = free_gpus.take(gpus, together=8, model="A100" if number % 2 else "H100")
        tenants.append(replace(base, name=name, places=places))
    return tuple(tenants)


def _batch(platform: PlatformSpec, parameters: SizeParameters, free_gpus: FreeGpus) -> tuple[TenantSpec, ...]:
    """Batch tenants on the GPUs of chat and code, and on GPUs of their own."""
    names = {service.name.name for service in platform.services}
    initial = initial_places(platform)
    tenants = [
        replace(catalog().tenant(name), places=(*chain(*initial[model]), *free_gpus.take(parameters.batch)))
        for name, model in (("batch-embed", "llm-chat"), ("nightly-eval", "llm-code"))
        if model in initial
    ]
    return tuple(
        replace(tenant, calls=tuple(call for call in tenant.calls if call.service in names))
        for tenant in (*tenants, *mig_tenants(platform.pools))
    )


def restrict(services: tuple[ServiceSpec, ...], names: frozenset[str]) -> tuple[ServiceSpec, ...]:
    """The services with these names, without calls to others and without operations that only forward to others."""

    def remaining(call: Call) -> Call | None:
        return call if {call.service, MODEL_BY_ROUTE.get(call.route, call.service)} <= names else None

    return tuple(
        replace(
            service,
            operations=tuple(
                replace(operation, steps=map_calls(operation.steps, remaining))
                for operation in service.operations
                if MODEL_BY_ROUTE.get(operation.route, service.name.name) in names
            ),
        )
        for service in services
        if service.name.name in names
    )
