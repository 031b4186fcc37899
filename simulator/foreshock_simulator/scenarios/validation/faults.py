"""Checks of faults and expectations against the platform."""

from __future__ import annotations

from foreshock_simulator.scenarios.parsing.document import alternatives
from foreshock_simulator.scenarios.parsing.reader import Reader
from foreshock_simulator.scenarios.validation.capacity import Slot, check_places, initial_placement, memory_by_slot
from foreshock_simulator.spec.faults import (
    CrashLoop,
    Fault,
    MemoryLeak,
    PolicyChange,
    ReplicasFail,
    TenantGrows,
    Throttle,
)
from foreshock_simulator.spec.platform import Place, PlatformSpec
from foreshock_simulator.spec.queries import caches, edges, subjects
from foreshock_simulator.spec.scenario import Expectation


def check_faults(platform: PlatformSpec, faults: tuple[Fault, ...], duration: float, reader: Reader) -> None:
    """Check the faults on a valid platform."""
    for fault in faults:
        if fault.at >= duration:
            problem = f"it starts at {fault.at:g} s, but the scenario ends at {duration:g} s"
            reader.report(fault, "at", problem, "make it earlier or 'duration' longer")
        valid = _check_references(fault, platform, reader)
        match fault:
            case PolicyChange():
                _check_policy(fault, platform, reader)
            case ReplicasFail() | CrashLoop() if valid:
                _check_replicas(fault, platform, reader)
            case TenantGrows():
                problems_before = reader.problems.count
                check_places(fault, fault.places, platform, reader)
                if valid and reader.problems.count == problems_before:
                    _check_growth(fault, platform, reader)
            case MemoryLeak() if valid:
                _check_memory_limit(fault, platform, reader)
            case Throttle(service="", rack=""):
                reader.report(fault, "", "throttle has neither a service nor a rack", "add 'service:'")


def check_expectation(platform: PlatformSpec, faults: tuple[Fault, ...], expects: Expectation, reader: Reader) -> None:
    """Check the expectation: a cascade has a cause, an origin, and a root cause that a fault concerns.

    One that is left to the run may lack the cause.
    """
    if expects.origin:
        services = [service.name.name for service in platform.services]
        reader.check_reference(expects, "origin", expects.origin, services, "service")
    named = {name for fault in faults for name in subjects(fault)}
    if expects.root_cause and expects.root_cause not in named:
        problem = f"no fault concerns the root cause {expects.root_cause!r}"
        reader.report(expects, "root_cause", problem, alternatives(expects.root_cause, named))
    if expects.cascade is not False:
        expected = "possible" if expects.cascade is None else "expected"
        for field in ("root_cause", "origin") if expects.cascade is None else ("cause", "root_cause", "origin"):
            if not getattr(expects, field):
                reader.report(expects, "", f"a cascade is {expected}, but there is no {field}", f"add '{field}:'")


def _check_references(fault: Fault, platform: PlatformSpec, reader: Reader) -> bool:
    """Check the names in a fault; returns whether all are known. The kind of a name follows from its field."""
    kind, services = "service", [service.name.name for service in platform.services]
    if isinstance(fault, TenantGrows | Throttle):
        kind = "service with a model"
        services = [service.name.name for service in platform.services if service.model is not None]
    valid = True
    for field, kind_of_name, known in (
        ("flow", "flow", [flow.name for flow in platform.flows]),
        ("tenant", "tenant", [tenant.name.name for tenant in platform.tenants]),
        ("service", kind, services),
        ("between", kind, services),
        ("onto", kind, services),
        ("cache", "cache", caches(platform)),
        ("rack", "rack", [host.rack for host in platform.hosts if host.rack]),
        ("hosts", "host", [host.name for host in platform.hosts]),
    ):
        names: str | tuple[str, ...] = getattr(fault, field, ())
        if isinstance(fault, Throttle) and (not names or (field == "rack" and fault.service)):
            continue  # a service or a rack, the former if both are there
        for name in (names,) if isinstance(names, str) else names:
            valid &= reader.check_reference(fault, field, name, known, kind_of_name)
    return valid


def _check_policy(fault: PolicyChange, platform: PlatformSpec, reader: Reader) -> None:
    edge, known = f"{fault.caller} -> {fault.callee}", edges(platform.services)
    if edge not in known:
        reader.report(fault, "caller", f"there are no calls {edge!r}", alternatives(edge, known))
    if fault.timeout is None and fault.attempts is None:
        reader.report(fault, "", "policy_change changes nothing", "add 'timeout:' or 'attempts:'")


def _check_replicas(fault: ReplicasFail | CrashLoop, platform: PlatformSpec, reader: Reader) -> None:
    service = next(service for service in platform.services if service.name.name == fault.service)
    if fault.replicas > service.replicas:
        problem = f"{fault.replicas} replicas fail, but {fault.service!r} starts with {service.replicas}"
        reader.report(fault, "replicas", problem, "let fewer fail")


def _check_memory_limit(fault: MemoryLeak, platform: PlatformSpec, reader: Reader) -> None:
    service = next(service for service in platform.services if service.name.name == fault.service)
    if service.memory_bytes is None:
        problem = f"{fault.service!r} has no limit of memory"
        remedy = f"add 'adjust: {{services: {{{fault.service}: {{memory_bytes: 2GB}}}}}}'"
        reader.report(fault, "service", problem, remedy)


def _check_growth(fault: TenantGrows, platform: PlatformSpec, reader: Reader) -> None:
    """Check that the workers that start have memory beside the initial processes."""
    tenant = next(tenant for tenant in platform.tenants if tenant.name.name == fault.tenant)
    placement, memory = initial_placement(platform), memory_by_slot(platform)
    onto = {slot.place for name in fault.onto for slot in placement.slots[name]}
    onto |= {Place(*place) for place in fault.places}
    if not onto:
        reader.report(fault, "", "the tenant has nowhere to grow", "add 'onto: [service]' or 'places: [host-1/0]'")
    for slot in sorted(Slot(place, tenant.slice) for place in onto):
        if slot not in memory:
            grows = f"grows onto {slot.place.host}/{slot.place.gpu}, which has no such instance"
            problem = f"{tenant.name.name!r} has slice {tenant.slice} and {grows}"
            reader.report(fault, "onto", problem, "let it grow onto GPUs with the same MIG layout")
            return
        needed = placement.bytes.get(slot, 0.0) + fault.workers * tenant.memory_bytes
        if needed > memory[slot]:
            sizes = f"needs {needed / 1e9:.1f} GB of memory but has {memory[slot] / 1e9:.1f} GB"
            reader.report(fault, "workers", f"with {fault.workers} workers more {slot} {sizes}", "start fewer workers")
            return
