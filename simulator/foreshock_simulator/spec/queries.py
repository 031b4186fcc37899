"""Queries over specs: steps and calls, GPUs of replicas, subjects of faults, and a scenario without its root cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from foreshock_simulator.spec.faults import BulkTransfer, Fault, LostScrapes, PacketLoss, PolicyChange, Throttle
from foreshock_simulator.spec.platform import PlatformSpec
from foreshock_simulator.spec.scenario import ScenarioSpec
from foreshock_simulator.spec.services import Cached, Call, LlmSpec, ServiceSpec, Sometimes, Step, Together


def every_step(steps: Sequence[Step]) -> Iterator[Step]:
    """All steps, nested ones after their parent."""
    for step in steps:
        yield step
        if isinstance(step, Together | Sometimes | Cached):
            yield from every_step(step.steps)


def calls(steps: Sequence[Step]) -> Iterator[Call]:
    """All calls within steps."""
    return (step for step in every_step(steps) if isinstance(step, Call))


def map_calls(steps: Sequence[Step], change: Callable[[Call], Call | None]) -> tuple[Step, ...]:
    """The steps with each call replaced or (for None) left out, nested ones included."""
    result: list[Step] = []
    for step in steps:
        if isinstance(step, Call):
            if (call := change(step)) is not None:
                result.append(call)
        elif isinstance(step, Together | Sometimes | Cached):
            inner = map_calls(step.steps, change)
            if inner or not step.steps:
                result.append(replace(step, steps=inner))
        else:
            result.append(step)
    return tuple(result)


def targets(call: Call) -> list[tuple[str, str]]:
    """The operations that a call may reach, as (service, route): its own and that of its fallback."""
    fallback = call.policy.fallback
    return [(call.service, call.route), *([fallback] if fallback else [])]


def edges(services: Sequence[ServiceSpec]) -> set[str]:
    """Pairs of services of which the first calls the second: `gateway -> llm-chat`."""
    return {
        f"{service.name.name} -> {call.service}"
        for service in services
        for operation in service.operations
        for call in calls(operation.steps)
    }


def caches(platform: PlatformSpec) -> set[str]:
    """Names of all caches."""
    return {cache for service in platform.services for cache in caches_of(service)}


def caches_of(service: ServiceSpec) -> set[str]:
    """Names of the caches that a service uses."""
    steps = (step for operation in service.operations for step in every_step(operation.steps))
    return {step.cache for step in steps if isinstance(step, Cached)}


def users(platform: PlatformSpec, resource: str) -> list[str]:
    """Services that use a cache, or that may have GPUs in a rack."""
    hosts = {host.name for host in platform.hosts if host.rack == resource}
    pools = {pool.name for pool in platform.pools if any(place.host in hosts for place in pool.places)}
    return [item.name.name for item in platform.services if resource in caches_of(item) or item.pool in pools]


def gpus_per_replica(service: ServiceSpec) -> int:
    """GPUs of one replica."""
    if service.model is None:
        return 0
    return service.model.tensor_parallel if isinstance(service.model, LlmSpec) else 1


def subjects(fault: Fault) -> tuple[str, ...]:
    """Possible names of a root cause: a flow, tenant, service, cache, rack, or path (`gateway -> llm-chat`)."""
    match fault:
        case PolicyChange():
            return (fault.caller, f"{fault.caller} -> {fault.callee}")
        case PacketLoss():
            return (" -> ".join(fault.between),)
        case BulkTransfer():
            return (fault.onto,)
        case Throttle():
            return (fault.service or fault.rack,)
        case LostScrapes():
            return ()
    fields = ("flow", "tenant", "service", "cache", "rack")
    return tuple(getattr(fault, field) for field in fields if hasattr(fault, field))


def without_root_cause(spec: ScenarioSpec, root_cause: str) -> ScenarioSpec:
    """The scenario without the faults that concern `root_cause` and, if that is a tenant, without the tenant.

    Raises:
        ValueError: no fault concerns it.
    """
    faults = tuple(fault for fault in spec.faults if root_cause not in subjects(fault))
    if len(faults) == len(spec.faults):
        names = ", ".join(dict.fromkeys(name for fault in spec.faults for name in subjects(fault)))
        raise ValueError(f"nothing in {spec.name!r} is about {root_cause!r}; its faults are about {names or 'nothing'}")
    # All faults of a tenant go with it, so no remaining fault refers to it.
    tenants = tuple(tenant for tenant in spec.platform.tenants if tenant.name.name != root_cause)
    return replace(spec, platform=replace(spec.platform, tenants=tenants), faults=faults)
