"""Whether what happens in a scenario refers to what is there."""

from __future__ import annotations

from foreshock_simulator.scenarios.parsing.problems import Problems, alternatives
from foreshock_simulator.scenarios.validation.memory import Slot, held_at_start, rooms_of
from foreshock_simulator.scenarios.validation.references import Lines, known_places, known_reference
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
    """Note what is wrong with the faults on a platform that is sound."""
    for fault in faults:
        if fault.at >= duration:
            problems.add(
                lines.line(fault, "at"),
                f"it happens at {fault.at:g} s and the scenario ends at {duration:g} s",
                "make it earlier or 'duration' longer",
            )
        _references(fault, platform, lines, problems)


def check_expectation(
    platform: PlatformSpec, faults: tuple[Fault, ...], expects: Expectation, lines: Lines, problems: Problems
) -> None:
    """Note what is wrong with what is expected: a cascade has a cause, an origin, and a culprit that can be removed."""
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


def _references(fault: Fault, platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    services = {service.name.name for service in platform.services}
    modelled = {service.name.name for service in platform.services if service.model is not None}

    def known(name: str, names: set[str], what: str, field: str) -> bool:
        return known_reference(name, names, what, lines.line(fault, field), problems)

    match fault:
        case Surge() | LongerPrompts():
            known(fault.flow, {flow.name for flow in platform.flows}, "flow", "flow")
        case TenantGrows():
            there = known(fault.tenant, {tenant.name.name for tenant in platform.tenants}, "tenant", "tenant")
            for name in fault.onto:
                there &= known(name, modelled, "service with a model", "onto")
            before = problems.noted
            known_places(fault.places, platform, lines.line(fault, "places"), problems)
            if there and problems.noted == before:
                _growth_fits(fault, platform, lines, problems)
        case ReplicasFail():
            if known(fault.service, services, "service", "service"):
                _enough_replicas(fault, platform, lines, problems)
        case Restart() | SlowerWork() | FailingWork():
            known(fault.service, services, "service", "service")
        case PolicyChange():
            _policy(fault, platform, lines, problems)
        case CacheFlush():
            known(fault.cache, caches(platform), "cache", "cache")
        case PacketLoss():
            for name in fault.between:
                known(name, services, "service", "between")
        case BulkTransfer():
            known(fault.onto, services, "service", "onto")
        case Throttle():
            if fault.service:
                known(fault.service, modelled, "service with a model", "service")
            elif fault.rack:
                known(fault.rack, {host.rack for host in platform.hosts if host.rack}, "rack", "rack")
            else:
                problems.add(lines.line(fault), "throttle names neither a service nor a rack", "add 'service:'")
        case LostScrapes():
            for name in fault.hosts:
                known(name, {host.name for host in platform.hosts}, "host", "hosts")


def _policy(fault: PolicyChange, platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
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


def _enough_replicas(fault: ReplicasFail, platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    service = next(service for service in platform.services if service.name.name == fault.service)
    if fault.replicas > service.replicas:
        problems.add(
            lines.line(fault, "replicas"),
            f"{fault.replicas} replicas fail and {fault.service!r} starts with {service.replicas}",
            "let fewer fail",
        )


def _growth_fits(fault: TenantGrows, platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    """The workers that start find memory beside what starts on the same GPUs."""
    tenant = next(tenant for tenant in platform.tenants if tenant.name.name == fault.tenant)
    held = held_at_start(platform)
    onto = {place for name in fault.onto for place in held.places_of(name)} | {Place(*place) for place in fault.places}
    if not onto:
        problems.add(lines.line(fault), "the tenant grows nowhere", "add 'onto: [service]' or 'places: [host-1/0]'")
    rooms = rooms_of(platform)
    for slot in sorted(Slot(place, tenant.slice) for place in onto):
        if slot not in rooms:
            where = f"{slot.place.host}/{slot.place.gpu}"
            problems.add(
                lines.line(fault, "onto"),
                f"{tenant.name.name!r} has slice {tenant.slice} and grows onto {where}, which has no such instance",
                "let it grow onto GPUs that are cut as those are that it has",
            )
            return
        wanted = held.bytes.get(slot, 0.0) + fault.workers * tenant.memory_bytes
        if wanted > rooms[slot]:
            problems.add(
                lines.line(fault, "workers"),
                f"with {fault.workers} workers more {slot} is to hold {wanted / 1e9:.1f} GB of memory "
                f"and has {rooms[slot] / 1e9:.1f} GB",
                "start fewer workers",
            )
            return
