"""Whether the memory of GPUs, or of their MIG instances, holds what starts there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from foreshock_simulator.control.capacity import Capacity
from foreshock_simulator.core.engine import Engine
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.hardware.mig import least_used_instance, mig_instances
from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.spec.hosts import Place
from foreshock_simulator.spec.queries import gpus_of
from foreshock_simulator.spec.scenario import PlatformSpec
from foreshock_simulator.spec.services import LlmSpec, ServiceSpec, TenantSpec

Holder = ServiceSpec | TenantSpec


class Slot(NamedTuple):
    """Where a process runs: a whole GPU (`instance` None), or one of the MIG instances of one."""

    place: Place
    instance: int | None = None

    def __str__(self) -> str:
        """As messages name it."""
        whole = f"{self.place.host}/{self.place.gpu}"
        return whole if self.instance is None else f"MIG instance {self.instance} of {whole}"


@dataclass(frozen=True, slots=True)
class Held:
    """What GPUs hold at the start: the replicas' slots by service, bytes by slot, and who came last there."""

    replicas: dict[str, list[tuple[Slot, ...]]]
    bytes: dict[Slot, float]
    last: dict[Slot, Holder]

    def slots_of(self, service: str) -> set[Slot]:
        """Where a service's replicas run."""
        return {slot for replica in self.replicas.get(service, ()) for slot in replica}

    def places_of(self, service: str) -> set[Place]:
        """The GPUs of a service's replicas."""
        return {slot.place for slot in self.slots_of(service)}


def starts(platform: PlatformSpec) -> dict[str, list[tuple[Place, ...]]]:
    """The GPUs on which replicas start, by service.

    Raises:
        ValueError: a pool has no room for one.
    """
    capacity = Capacity(Engine(), platform.pools, random_stream(0, "starts"))
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
    size: dict[Slot, float] = defaultdict(float)
    last: dict[Slot, Holder] = {}
    replicas: dict[str, list[tuple[Slot, ...]]] = defaultdict(list)
    rooms = rooms_of(platform)
    tenants = [(tenant, Slot(Place(*place), tenant.slice)) for tenant in platform.tenants for place in tenant.places]
    processes = Counter(slot for _, slot in tenants)
    of_tenants: dict[Slot, float] = defaultdict(float)
    for tenant, slot in tenants:
        of_tenants[slot] += tenant.memory_bytes
    begin = starts(platform)
    for service in platform.services:
        for places in begin.get(service.name.name, ()):
            choices = [tuple(Slot(place, number) for place in places) for number in _instances(rooms, places[0])]
            fits = [
                all(size[slot] + of_tenants[slot] + _of_replica(service, rooms[slot]) <= rooms[slot] for slot in slots)
                for slots in choices
            ]
            slots = choices[least_used_instance([sum(processes[slot] for slot in slots) for slots in choices], fits)]
            replicas[service.name.name].append(slots)
            processes.update(slots)
            for slot in slots:
                size[slot] += _of_replica(service, rooms[slot])
                last[slot] = service
    for tenant, slot in tenants:
        size[slot] += tenant.memory_bytes
        last[slot] = tenant
    return Held(dict(replicas), size, last)


def rooms_of(platform: PlatformSpec) -> dict[Slot, float]:
    """Bytes of memory that processes may have, by slot."""
    cut = {place: pool.mig_slices for pool in platform.pools for place in pool.places}
    rooms: dict[Slot, float] = {}
    for host in platform.hosts:
        model = MODELS[host.gpu_model]
        for place in (Place(host.name, gpu) for gpu in range(host.gpus)):
            if slices := cut.get(place):
                for number, instance in enumerate(mig_instances(model, slices)):
                    rooms[Slot(place, number)] = instance.memory_bytes
            else:
                rooms[Slot(place)] = model.memory_bytes - model.reserved_bytes
    return rooms


def weights_share(model: LlmSpec, room: float) -> float:
    """The weights of a language model (16 bits each) as a share of what its server may have of each GPU's `room`."""
    return 2e9 * model.parameters / (model.tensor_parallel * model.memory_share * room)


def _instances(rooms: Mapping[Slot, float], place: Place) -> tuple[int | None, ...]:
    """The MIG instances of a GPU; None alone where it is whole."""
    if Slot(place) in rooms:
        return (None,)
    numbers: list[int] = []
    while Slot(place, len(numbers)) in rooms:
        numbers.append(len(numbers))
    return tuple(numbers)


def _of_replica(service: ServiceSpec, room: float) -> float:
    """Bytes that a replica takes on each of its GPUs, or of their instances."""
    if isinstance(service.model, LlmSpec):
        return service.model.memory_share * room
    return service.model.memory_bytes if service.model else 0.0
