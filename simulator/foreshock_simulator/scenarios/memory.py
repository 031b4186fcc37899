"""Whether the memory of GPUs holds what starts on them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.scenarios.walk import gpus_of
from foreshock_simulator.spec.hosts import Place, PoolSpec
from foreshock_simulator.spec.scenario import PlatformSpec
from foreshock_simulator.spec.services import LlmSpec, ServiceSpec, TenantSpec

Holder = ServiceSpec | TenantSpec


@dataclass(frozen=True, slots=True)
class Held:
    """What GPUs hold at the start: the replicas' places by service, bytes by GPU, and who came last there."""

    replicas: dict[str, list[tuple[Place, ...]]]
    bytes: dict[Place, float]
    last: dict[Place, Holder]

    def places_of(self, service: str) -> set[Place]:
        """The GPUs of a service's replicas."""
        return {place for replica in self.replicas.get(service, ()) for place in replica}


def starts(platform: PlatformSpec) -> dict[str, list[tuple[Place, ...]]]:
    """The GPUs on which replicas start, by service: the emptiest first, in the order of the pool's places.

    The platform has been checked: there is room.
    """
    placed: dict[str, list[tuple[Place, ...]]] = {}
    for pool in platform.pools:
        held = dict.fromkeys(pool.places, 0)
        for service in platform.services:
            if service.pool == pool.name and service.model is not None:
                placed[service.name.name] = [_claim(pool, held, gpus_of(service)) for _ in range(service.replicas)]
    return placed


def held_at_start(platform: PlatformSpec) -> Held:
    """What starts where."""
    replicas = starts(platform)
    size: dict[Place, float] = defaultdict(float)
    last: dict[Place, Holder] = {}
    pools = {pool.name: pool for pool in platform.pools}
    for service in platform.services:
        for place in (place for replica in replicas.get(service.name.name, ()) for place in replica):
            size[place] += _of_replica(service, pools[service.pool], room_of(platform, place, whole=True))
            last[place] = service
    for tenant in platform.tenants:
        for host, gpu in tenant.places:
            size[Place(host, gpu)] += tenant.memory_bytes
            last[Place(host, gpu)] = tenant
    return Held(replicas, size, last)


def room_of(platform: PlatformSpec, place: Place, *, whole: bool = False) -> float:
    """Bytes of a GPU's memory that processes may have; with `whole`, the driver's too."""
    model = MODELS[next(host.gpu_model for host in platform.hosts if host.name == place.host)]
    return model.memory_bytes - (0.0 if whole else model.reserved_bytes)


def weights_share(service: ServiceSpec, memory_bytes: float) -> float:
    """The weights of a language model as a share of what its server may have of each GPU's memory (16 bits each)."""
    assert isinstance(service.model, LlmSpec)  # noqa: S101 - the caller asks for no other
    return 2e9 * service.model.parameters / (service.model.tensor_parallel * service.model.memory_share * memory_bytes)


def _of_replica(service: ServiceSpec, pool: PoolSpec, memory_bytes: float) -> float:
    """Bytes that a replica takes on each of its GPUs; of a MIG instance, its share is of the instance's memory."""
    if isinstance(service.model, LlmSpec):
        instance = pool.mig_slices[0] / 7 if pool.mig_slices else 1.0
        return service.model.memory_share * memory_bytes * instance
    return service.model.memory_bytes if service.model else 0.0


def _claim(pool: PoolSpec, held: dict[Place, int], count: int) -> tuple[Place, ...]:
    """The emptiest `count` GPUs of one host; none where no host has as many with a free slot."""
    hosts: dict[str, list[Place]] = defaultdict(list)
    for place in pool.places:
        if held[place] < pool.slots:
            hosts[place.host].append(place)
    candidates = [sorted(places, key=held.__getitem__)[:count] for places in hosts.values() if len(places) >= count]
    if not candidates:
        return ()
    best = min(candidates, key=lambda places: sum(held[place] for place in places))
    for place in best:
        held[place] += 1
    return tuple(best)
