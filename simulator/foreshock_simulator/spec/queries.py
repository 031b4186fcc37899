"""What the parts of a spec refer to: the calls within steps, the GPUs of replicas, the names that a fault is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from foreshock_simulator.spec.faults import (
    BulkTransfer,
    CacheFlush,
    FailingWork,
    Fault,
    LongerPrompts,
    PacketLoss,
    PolicyChange,
    ReplicasFail,
    Restart,
    SlowerWork,
    Surge,
    TenantGrows,
    Throttle,
)  # fmt: skip
from foreshock_simulator.spec.scenario import PlatformSpec
from foreshock_simulator.spec.services import Cached, Call, LlmSpec, ServiceSpec, Sometimes, Step, Together


def every_step(steps: Sequence[Step]) -> Iterator[Step]:
    """All steps, those within others after them."""
    for step in steps:
        yield step
        if isinstance(step, Together | Sometimes | Cached):
            yield from every_step(step.steps)


def calls(steps: Sequence[Step]) -> Iterator[Call]:
    """All calls within steps."""
    return (step for step in every_step(steps) if isinstance(step, Call))


def targets(call: Call) -> list[tuple[str, str]]:
    """The operations that a call may reach, (service, route): its own, and that of its fallback."""
    fallback = call.policy.fallback
    return [(call.service, call.route), *([fallback] if fallback else [])]


def caches(platform: PlatformSpec) -> set[str]:
    """The names of all caches."""
    return {
        step.cache
        for service in platform.services
        for operation in service.operations
        for step in every_step(operation.steps)
        if isinstance(step, Cached)
    }


def gpus_of(service: ServiceSpec) -> int:
    """GPUs that one replica takes."""
    if service.model is None:
        return 0
    return service.model.tensor_parallel if isinstance(service.model, LlmSpec) else 1


def subjects(fault: Fault) -> tuple[str, ...]:
    """Names that a culprit may have: of a flow, tenant, service, cache, rack, or path (`gateway -> llm-chat`)."""
    match fault:
        case Surge() | LongerPrompts():
            return (fault.flow,)
        case TenantGrows():
            return (fault.tenant,)
        case ReplicasFail() | Restart() | SlowerWork() | FailingWork():
            return (fault.service,)
        case PolicyChange():
            return (fault.caller, f"{fault.caller} -> {fault.callee}")
        case CacheFlush():
            return (fault.cache,)
        case PacketLoss():
            return (" -> ".join(fault.between),)
        case BulkTransfer():
            return (fault.onto,)
        case Throttle():
            return (fault.service or fault.rack,)
        case _:
            return ()
