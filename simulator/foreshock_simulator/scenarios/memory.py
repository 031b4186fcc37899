"""Whether the memory of GPUs holds what starts on them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from foreshock_simulator.control.capacity import Capacity
from foreshock_simulator.engine import Engine
from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.randomness import stream
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
    """The GPUs on which replicas start, by service.

    Raises:
        ValueError: a pool has no room for one.
    """
    capacity = Capacity(Engine(), platform.pools, stream(0, "starts"))
    return {
        service.name.name: [capacity.take(service.pool, gpus_of(service)) for _ in range(service.replicas)]
        for service in platform.services
        if service.model is not None
    }


def held_at_start(platform: PlatformSpec) -> Held:
    """What starts where.

    Raises:
        ValueError: a pool has no room for a replica.
    """
    replicas = starts(platform)
    size: dict[Place, float] = defaultdict(float)
    last: dict[Place, Holder] = {}
    pools = {pool.name: pool for pool in platform.pools}
    for service in platform.services:
        for place in (place for replica in replicas.get(service.name.name, ()) for place in replica):
            size[place] += _of_replica(service, pools[service.pool], room_of(platform, place))
            last[place] = service
    for tenant in platform.tenants:
        for host, gpu in tenant.places:
            size[Place(host, gpu)] += tenant.memory_bytes
            last[Place(host, gpu)] = tenant
    return Held(replicas, size, last)


def room_of(platform: PlatformSpec, place: Place) -> float:
    """Bytes of a GPU's memory that processes may have."""
    model = MODELS[next(host.gpu_model for host in platform.hosts if host.name == place.host)]
    return model.memory_bytes - model.reserved_bytes


def weights_share(model: LlmSpec, room: float) -> float:
    """The weights of a language model (16 bits each) as a share of what its server may have of each GPU's `room`."""
    return 2e9 * model.parameters / (model.tensor_parallel * model.memory_share * room)


def _of_replica(service: ServiceSpec, pool: PoolSpec, room: float) -> float:
    """Bytes that a replica takes on each of its GPUs; of a MIG instance, its share is of the instance's memory."""
    if isinstance(service.model, LlmSpec):
        instance = pool.mig_slices[0] / 7 if pool.mig_slices else 1.0
        return service.model.memory_share * room * instance
    return service.model.memory_bytes if service.model else 0.0
