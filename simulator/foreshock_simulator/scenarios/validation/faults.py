"""Checks of faults and expectations against the platform."""

from __future__ import annotations

from foreshock_simulator.scenarios.parsing.problems import Problems, alternatives
from foreshock_simulator.scenarios.validation.memory import Slot, initial_placement, memory_by_slot
from foreshock_simulator.scenarios.validation.references import Lines, check_places, known_reference
from foreshock_simulator.spec.faults import (
    BulkTransfer,
    CacheFlush,
    FailingWork,
    Fault,
    LongerPrompts,
    LostScrapes,
    PacketLoss,
    PolicyChange,
    ReplicasFail,
    Restart,
    SlowerWork,
    Surge,
    TenantGrows,
    Throttle,
)  # fmt: skip
from foreshock_simulator.spec.hosts import Place
from foreshock_simulator.spec.queries import caches, calls, subjects
from foreshock_simulator.spec.scenario import Expectation, PlatformSpec


def check_faults(
    platform: PlatformSpec, faults: tuple[Fault, ...], duration: float, lines: Lines, problems: Problems
) -> None:
    """Check the faults on a valid platform."""
    for fault in faults:
        if fault.at >= duration:
            problems.add(
                lines.line(fault, "at"),
                f"it happens at {fault.at:g} s and the scenario ends at {duration:g} s",
                "make it earlier or 'duration' longer",
            )
        _check_references(fault, platform, lines, problems)


def check_expectation(
    platform: PlatformSpec, faults: tuple[Fault, ...], expects: Expectation, lines: Lines, problems: Problems
) -> None:
    """Check the expectation: a cascade has a cause, an origin, and a culprit that a fault concerns."""
    services = {service.name.name for service in platform.services}
    if expects.origin:
        known_reference(expects.origin, services, "service", lines.line(expects, "origin"), problems)
    named = {name for fault in faults for name in subjects(fault)}
    if expects.culprit and expects.culprit not in named:
        problems.add(
            lines.line(expects, "culprit"),
            f"no fault is about the culprit {expects.culprit!r}",
            alternatives(expects.culprit, named),
        )
    if expects.cascade:
        for field in ("cause", "culprit", "origin"):
            if not getattr(expects, field):
                problems.add(lines.line(expects), f"a cascade is expected and no {field}", f"add '{field}:'")


def _check_references(fault: Fault, platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    services = {service.name.name for service in platform.services}
    services_with_model = {service.name.name for service in platform.services if service.model is not None}

    def check(name: str, names: set[str], kind: str, field: str) -> bool:
        return known_reference(name, names, kind, lines.line(fault, field), problems)

    match fault:
        case Surge() | LongerPrompts():
            check(fault.flow, {flow.name for flow in platform.flows}, "flow", "flow")
        case TenantGrows():
            valid = check(fault.tenant, {tenant.name.name for tenant in platform.tenants}, "tenant", "tenant")
            for name in fault.onto:
                valid &= check(name, services_with_model, "service with a model", "onto")
            problems_before = problems.count
            check_places(fault.places, platform, lines.line(fault, "places"), problems)
            if valid and problems.count == problems_before:
                _check_growth(fault, platform, lines, problems)
        case ReplicasFail():
            if check(fault.service, services, "service", "service"):
                _check_replicas(fault, platform, lines, problems)
        case Restart() | SlowerWork() | FailingWork():
            check(fault.service, services, "service", "service")
        case PolicyChange():
            _check_policy(fault, platform, lines, problems)
        case CacheFlush():
            check(fault.cache, caches(platform), "cache", "cache")
        case PacketLoss():
            for name in fault.between:
                check(name, services, "service", "between")
        case BulkTransfer():
            check(fault.onto, services, "service", "onto")
        case Throttle():
            if fault.service:
                check(fault.service, services_with_model, "service with a model", "service")
            elif fault.rack:
                check(fault.rack, {host.rack for host in platform.hosts if host.rack}, "rack", "rack")
            else:
                problems.add(lines.line(fault), "throttle names neither a service nor a rack", "add 'service:'")
        case LostScrapes():
            for name in fault.hosts:
                check(name, {host.name for host in platform.hosts}, "host", "hosts")


def _check_policy(fault: PolicyChange, platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    edges = {
        f"{service.name.name} -> {call.service}"
        for service in platform.services
        for operation in service.operations
        for call in calls(operation.steps)
    }
    edge = f"{fault.caller} -> {fault.callee}"
    if edge not in edges:
        problems.add(lines.line(fault, "caller"), f"there are no calls {edge!r}", alternatives(edge, edges))
    if fault.timeout is None and fault.attempts is None:
        problems.add(lines.line(fault), "policy_change changes nothing", "add 'timeout:' or 'attempts:'")


def _check_replicas(fault: ReplicasFail, platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    service = next(service for service in platform.services if service.name.name == fault.service)
    if fault.replicas > service.replicas:
        problems.add(
            lines.line(fault, "replicas"),
            f"{fault.replicas} replicas fail and {fault.service!r} starts with {service.replicas}",
            "let fewer fail",
        )


def _check_growth(fault: TenantGrows, platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    """Check that the workers that start have memory beside the initial processes."""
    tenant = next(tenant for tenant in platform.tenants if tenant.name.name == fault.tenant)
    placement = initial_placement(platform)
    onto = {place for name in fault.onto for place in placement.places_of(name)} | {
        Place(*place) for place in fault.places
    }
    if not onto:
        problems.add(lines.line(fault), "the tenant grows nowhere", "add 'onto: [service]' or 'places: [host-1/0]'")
    memory = memory_by_slot(platform)
    for slot in sorted(Slot(place, tenant.slice) for place in onto):
        if slot not in memory:
            gpu = f"{slot.place.host}/{slot.place.gpu}"
            problems.add(
                lines.line(fault, "onto"),
                f"{tenant.name.name!r} has slice {tenant.slice} and grows onto {gpu}, which has no such instance",
                "let it grow onto GPUs that are cut as those are that it has",
            )
            return
        needed = placement.bytes.get(slot, 0.0) + fault.workers * tenant.memory_bytes
        if needed > memory[slot]:
            problems.add(
                lines.line(fault, "workers"),
                f"with {fault.workers} workers more {slot} is to hold {needed / 1e9:.1f} GB of memory "
                f"and has {memory[slot] / 1e9:.1f} GB",
                "start fewer workers",
            )
            return
