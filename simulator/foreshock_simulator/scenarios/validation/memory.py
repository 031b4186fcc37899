"""Initial placement of processes on GPUs and MIG instances, and their memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from foreshock_simulator.control.capacity import Capacity
from foreshock_simulator.core.engine import Engine
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.hardware.models import MODELS, least_used_instance, mig_instances
from foreshock_simulator.spec.platform import Place, PlatformSpec
from foreshock_simulator.spec.queries import gpus_per_replica
from foreshock_simulator.spec.services import LlmSpec, ServiceSpec, TenantSpec


class Slot(NamedTuple):
    """Location of a process: a whole GPU (`instance` None), or a MIG instance."""

    place: Place
    instance: int | None = None

    def __str__(self) -> str:
        """Name in messages."""
        gpu = f"{self.place.host}/{self.place.gpu}"
        return gpu if self.instance is None else f"MIG instance {self.instance} of {gpu}"


@dataclass(frozen=True, slots=True)
class Placement:
    """Initial placement: slots of the replicas by service, used bytes by slot, and the last process of each slot."""

    slots: dict[str, set[Slot]]
    bytes: dict[Slot, float]
    last: dict[Slot, ServiceSpec | TenantSpec]


def initial_places(platform: PlatformSpec) -> dict[str, list[tuple[Place, ...]]]:
    """GPUs of the initial replicas, by service.

    Raises:
        ValueError: a pool has not enough room.
    """
    capacity = Capacity(Engine(), platform.pools, random_stream(0, "starts"))
    return {
        service.name.name: [capacity.allocate(service.pool, gpus_per_replica(service)) for _ in range(service.replicas)]
        for service in platform.services
        if service.model is not None
    }


def initial_placement(platform: PlatformSpec) -> Placement:
    """The initial placement of all processes.

    Raises:
        ValueError: a pool has not enough room for a replica.
    """
    memory = memory_by_slot(platform)
    slots_at: dict[Place, list[Slot]] = defaultdict(list)
    for slot in memory:
        slots_at[slot.place].append(slot)
    tenants = [(tenant, Slot(Place(*place), tenant.slice)) for tenant in platform.tenants for place in tenant.places]
    processes = Counter(slot for _, slot in tenants)
    tenant_bytes: dict[Slot, float] = defaultdict(float)
    for tenant, slot in tenants:
        tenant_bytes[slot] += tenant.memory_bytes
    placement = Placement(defaultdict(set), defaultdict(float), {})
    used = placement.bytes
    replica_places = initial_places(platform)
    for service in platform.services:
        for places in replica_places.get(service.name.name, ()):
            choices = list(zip(*(slots_at[place] for place in places), strict=True))
            fits = [
                all(used[s] + tenant_bytes[s] + _replica_bytes(service, memory[s]) <= memory[s] for s in slots)
                for slots in choices
            ]
            slots = choices[least_used_instance([sum(processes[slot] for slot in slots) for slots in choices], fits)]
            placement.slots[service.name.name].update(slots)
            processes.update(slots)
            for slot in slots:
                used[slot] += _replica_bytes(service, memory[slot])
                placement.last[slot] = service
    for tenant, slot in tenants:
        used[slot] += tenant.memory_bytes
        placement.last[slot] = tenant
    return placement


def memory_by_slot(platform: PlatformSpec) -> dict[Slot, float]:
    """Memory for processes in bytes, by slot."""
    mig_slices = {place: pool.mig_slices for pool in platform.pools for place in pool.places}
    memory: dict[Slot, float] = {}
    for host in platform.hosts:
        model = MODELS[host.gpu_model]
        for place in (Place(host.name, gpu) for gpu in range(host.gpus)):
            if slices := mig_slices.get(place):
                for number, instance in enumerate(mig_instances(model, slices)):
                    memory[Slot(place, number)] = instance.memory_bytes
            else:
                memory[Slot(place)] = model.memory_bytes - model.reserved_bytes
    return memory


def weights_share(model: LlmSpec, available_bytes: float) -> float:
    """Weights of a language model (16 bits each) as a share of its server's part of each GPU's memory."""
    return 2e9 * model.parameters / (model.tensor_parallel * model.memory_share * available_bytes)


def _replica_bytes(service: ServiceSpec, available_bytes: float) -> float:
    """Bytes of a replica on each of its GPUs or MIG instances."""
    if isinstance(service.model, LlmSpec):
        return service.model.memory_share * available_bytes
    return service.model.memory_bytes if service.model else 0.0
