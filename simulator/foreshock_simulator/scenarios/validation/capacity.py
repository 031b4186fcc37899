"""Initial placement of processes, and checks of capacity: pools, GPUs and quota for replicas, and memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from foreshock_simulator.control.capacity import Capacity
from foreshock_simulator.core.engine import Engine
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.hardware.models import MODELS, least_used_instance, mig_instances
from foreshock_simulator.scenarios.parsing.reader import Reader
from foreshock_simulator.spec.platform import Place, PlatformSpec, PoolSpec
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


def check_places(holder: object, places: Iterable[tuple[str, int]], platform: PlatformSpec, reader: Reader) -> None:
    """Check that the GPUs in the field `places` of a value exist."""
    gpus = {host.name: host.gpus for host in platform.hosts}
    for host, gpu in places:
        if reader.check_reference(holder, "places", host, gpus, "host") and gpu >= gpus[host]:
            reader.report(holder, "places", f"{host} has no GPU {gpu}", f"it has {gpus[host]}, counted from 0")


def check_pools(platform: PlatformSpec, reader: Reader) -> None:
    """Check that pools have existing GPUs, each in one pool, with valid MIG instances."""
    owner: dict[tuple[str, int], str] = {}
    for pool in platform.pools:
        check_places(pool, pool.places, platform, reader)
        for place in pool.places:
            if owner.setdefault(place, pool.name) != pool.name:
                problem = f"{place.host}/{place.gpu} is in pools {owner[place]!r} and {pool.name!r}"
                reader.report(pool, "places", problem, "keep one")
        if len(set(pool.places)) < len(pool.places):
            reader.report(pool, "places", f"pool {pool.name!r} has a GPU twice", "list each GPU once")
        instances = len(pool.mig_slices)
        if (pool.sharing == "mig") != bool(instances):
            problem = f"pool {pool.name!r} has sharing {pool.sharing!r} and {instances} mig_slices"
            reader.report(pool, "sharing", problem, "MIG needs both, other kinds of sharing neither")
        if instances:
            _check_instances(pool, platform, reader)
            if pool.slots > instances:
                problem = f"pool {pool.name!r} has {pool.slots} slots on {instances} MIG instances"
                reader.report(pool, "slots", problem, "each replica needs a dedicated instance")


def _check_instances(pool: PoolSpec, platform: PlatformSpec, reader: Reader) -> None:
    """Check that the MIG instances exist on the pool's kinds of GPU and fit together."""
    names = {place.host for place in pool.places}
    for kind in sorted({host.gpu_model for host in platform.hosts if host.name in names} & MODELS.keys()):
        try:
            mig_instances(MODELS[kind], pool.mig_slices)
        except ValueError as error:
            reader.report(pool, "mig_slices", str(error), "slice the GPU as (4, 3) or (3, 2, 2), for example")


def check_replicas_fit(platform: PlatformSpec, reader: Reader) -> None:
    """Check that the initial replicas fit in their pool and its quota, and each replica on one host."""
    for pool in platform.pools:
        services = [service for service in platform.services if service.pool == pool.name and service.model is not None]
        needed = sum(service.replicas * gpus_per_replica(service) for service in services)
        slots = len(pool.places) * pool.slots
        if needed > slots:
            problem = f"replicas in pool {pool.name!r} need {needed} GPUs at the start, but it has {slots}"
            reader.report(services[-1], "replicas", problem, "start fewer or add places")
        elif pool.quota is not None and needed > pool.quota:
            problem = f"pool {pool.name!r} has a quota of {pool.quota} but its services start on {needed} GPUs"
            reader.report(pool, "quota", problem, f"raise it to {needed} or start fewer replicas")
        available = max(Counter(place.host for place in pool.places).values(), default=0)
        for service in services:
            gpus = gpus_per_replica(service)
            if pool.places and gpus > available:
                replica = f"a replica of {service.name.name!r} needs {gpus} GPUs on one host"
                problem = f"{replica}, but no host of pool {pool.name!r} has more than {available}"
                line = reader.line(service.model, "tensor_parallel", reader.line(service))
                reader.problems.add(line, problem, "lower tensor_parallel")


def check_memory(platform: PlatformSpec, reader: Reader) -> None:
    """Check that GPUs have memory for their initial processes, and servers for their weights."""
    memory = memory_by_slot(platform)
    try:
        placement = initial_placement(platform)
    except ValueError as error:  # enough GPUs in all, but not on one host
        problem, _, remedy = str(error).partition("; ")
        reader.report(platform, "services", problem, remedy)
        return
    for service in platform.services:
        if isinstance(service.model, LlmSpec):
            share = weights_share(service.model, min(memory[slot] for slot in placement.slots[service.name.name]))
            if share >= 1.0:
                problem = f"the weights of {service.name.name!r} take {share:.0%} of the memory available to them"
                line = reader.line(service.model, "parameters", reader.line(service))
                reader.problems.add(line, problem, "raise tensor_parallel or memory_share")
    for slot, size in placement.bytes.items():
        if size > memory[slot]:
            last = placement.last[slot]
            sizes = f"needs {size / 1e9:.1f} GB of memory but has {memory[slot] / 1e9:.1f} GB"
            problem = f"{slot} {sizes}, after adding {last.name.name!r}"
            reader.report(last, "", problem, "give it a smaller model, fewer neighbors, or another GPU")
