"""Checks of capacity: valid pools, GPUs and quota for the initial replicas, and memory."""

from __future__ import annotations

from collections import Counter

from foreshock_simulator.hardware.mig import mig_instances
from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.scenarios.parsing.problems import Problems
from foreshock_simulator.scenarios.validation.memory import initial_placement, memory_by_slot, weights_share
from foreshock_simulator.scenarios.validation.references import Lines, check_places
from foreshock_simulator.spec.hosts import PoolSpec
from foreshock_simulator.spec.queries import gpus_per_replica
from foreshock_simulator.spec.scenario import PlatformSpec
from foreshock_simulator.spec.services import LlmSpec, ServiceSpec


def check_pools(platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    """Check that pools have existing GPUs, each in one pool, with valid MIG instances."""
    owner: dict[tuple[str, int], str] = {}
    for pool in platform.pools:
        line = lines.line(pool, "places")
        check_places(pool.places, platform, line, problems)
        for place in pool.places:
            if owner.setdefault(place, pool.name) != pool.name:
                problems.add(line, f"{place[0]}/{place[1]} is in pools {owner[place]!r} and {pool.name!r}", "keep one")
        if len(set(pool.places)) < len(pool.places):
            problems.add(line, f"pool {pool.name!r} has a GPU twice", "name each once")
        if (pool.sharing == "mig") != bool(pool.mig_slices):
            problems.add(
                lines.line(pool, "sharing"),
                f"pool {pool.name!r} has sharing {pool.sharing!r} and {len(pool.mig_slices)} mig_slices",
                "MIG needs both, anything else neither",
            )
        if pool.mig_slices:
            _check_instances(pool, platform, lines, problems)
        if pool.mig_slices and pool.slots > len(pool.mig_slices):
            problems.add(
                lines.line(pool, "slots"),
                f"pool {pool.name!r} has {pool.slots} slots on {len(pool.mig_slices)} MIG instances",
                "a replica has an instance of its own",
            )


def _check_instances(pool: PoolSpec, platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    """Check that the MIG instances exist on the pool's kinds of GPU and fit together."""
    names = {place.host for place in pool.places}
    for kind in sorted({host.gpu_model for host in platform.hosts if host.name in names} & MODELS.keys()):
        try:
            mig_instances(MODELS[kind], pool.mig_slices)
        except ValueError as error:
            problems.add(lines.line(pool, "mig_slices"), str(error), "cut the GPU as (4, 3) or (3, 2, 2), say")


def check_replicas_fit(platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    """Check that the initial replicas fit in their pool and its quota."""
    for pool in platform.pools:
        services = [service for service in platform.services if service.pool == pool.name and service.model is not None]
        needed = sum(service.replicas * gpus_per_replica(service) for service in services)
        slots = len(pool.places) * pool.slots
        if needed > slots:
            problems.add(
                lines.line(services[-1], "replicas"),
                f"replicas in pool {pool.name!r} start on {needed} GPUs and it has room for {slots}",
                "start fewer or add places",
            )
        elif pool.quota is not None and needed > pool.quota:
            problems.add(
                lines.line(pool, "quota"),
                f"pool {pool.name!r} has a quota of {pool.quota} and its services start on {needed} GPUs",
                f"raise it to {needed} or start fewer replicas",
            )
        for service in services:
            _check_one_host(service, pool, lines, problems)


def _check_one_host(service: ServiceSpec, pool: PoolSpec, lines: Lines, problems: Problems) -> None:
    gpus, available = gpus_per_replica(service), max(Counter(place.host for place in pool.places).values(), default=0)
    if pool.places and gpus > available:
        problems.add(
            lines.line(service.model, "tensor_parallel", lines.line(service)),
            f"a replica of {service.name.name!r} takes {gpus} GPUs of one host and no host of pool "
            f"{pool.name!r} has more than {available}",
            "lower tensor_parallel",
        )


def check_memory(platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    """Check that GPUs have memory for their initial processes, and servers for their weights."""
    memory = memory_by_slot(platform)
    try:
        placement = initial_placement(platform)
    except ValueError as error:  # enough GPUs in all, but not on one host
        problem, _, remedy = str(error).partition("; ")
        problems.add(lines.line(platform, "services"), problem, remedy)
        return
    for service in platform.services:
        if isinstance(service.model, LlmSpec):
            share = weights_share(service.model, min(memory[slot] for slot in placement.slots_of(service.name.name)))
            if share >= 1.0:
                problems.add(
                    lines.line(service.model, "parameters", lines.line(service)),
                    f"the weights of {service.name.name!r} take {share:.0%} of the memory that it may have",
                    "raise tensor_parallel or memory_share",
                )
    for slot, size in placement.bytes.items():
        if size > memory[slot]:
            last = placement.last[slot]
            problems.add(
                lines.line(last),
                f"{slot} is to hold {size / 1e9:.1f} GB of memory and has {memory[slot] / 1e9:.1f} GB, "
                f"{last.name.name!r} being the last to come",
                "give it a smaller model, fewer neighbours or another GPU",
            )
