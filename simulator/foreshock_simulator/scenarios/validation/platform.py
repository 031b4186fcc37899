"""Checks of a platform: names, references, and cycles of calls."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.scenarios.parsing.problems import Problems
from foreshock_simulator.scenarios.validation.capacity import check_memory, check_pools, check_replicas_fit
from foreshock_simulator.scenarios.validation.references import Lines, check_places, known_reference
from foreshock_simulator.spec.queries import calls, every_step, targets
from foreshock_simulator.spec.scenario import PlatformSpec
from foreshock_simulator.spec.services import Call, Serve, ServiceSpec, TenantSpec
from foreshock_simulator.spec.traffic import Arrivals
from foreshock_simulator.traffic import servegen, traces


def check_platform(platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    """Check a platform."""
    problems_before = problems.count
    if not platform.services:
        problems.add(lines.line(platform, "services"), "the platform has no services", "add one")
    _check_names(platform, lines, problems)
    for host in platform.hosts:
        known_reference(host.gpu_model, MODELS, "GPU model", lines.line(host, "gpu_model"), problems)
    check_pools(platform, lines, problems)
    for service in platform.services:
        _check_service(service, platform, lines, problems)
    for tenant in platform.tenants:
        _check_tenant(tenant, platform, lines, problems)
    _check_flows(platform, lines, problems)
    _check_cycles(platform, lines, problems)
    check_replicas_fit(platform, lines, problems)
    if problems.count == problems_before:  # the placement needs a valid platform
        check_memory(platform, lines, problems)


def _check_names(platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    """Check that names are unique by kind; services and tenants are one kind, since both appear as services."""
    _check_unique("host", [(host.name, host) for host in platform.hosts], lines, problems)
    _check_unique("pool", [(pool.name, pool) for pool in platform.pools], lines, problems)
    busy: tuple[ServiceSpec | TenantSpec, ...] = (*platform.services, *platform.tenants)
    _check_unique("service", [(item.name.name, item) for item in busy], lines, problems)
    _check_unique("flow", [(flow.name, flow) for flow in platform.flows], lines, problems)
    for service in platform.services:
        routes = [(operation.route, operation) for operation in service.operations]
        _check_unique(f"operation of {service.name.name!r}", routes, lines, problems)


def _check_unique(kind: str, named: Sequence[tuple[str, object]], lines: Lines, problems: Problems) -> None:
    names: set[str] = set()
    for name, item in named:
        if name in names:
            problems.add(lines.line(item, "name"), f"{name!r} is the name of another {kind} too", "rename one of them")
        names.add(name)


def _check_service(service: ServiceSpec, platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    name = service.name.name
    if not service.operations:
        problems.add(
            lines.line(service, "operations"), f"{name!r} has no operations", "a service can be asked something"
        )
    if service.model is None:
        if service.pool:
            problems.add(lines.line(service, "pool"), f"{name!r} has a pool and no model", "give it 'hosts' instead")
        elif not service.hosts:
            problems.add(lines.line(service), f"{name!r} runs nowhere", "give it 'hosts', or a 'pool' and a 'model'")
        for host in service.hosts:
            hosts = [host.name for host in platform.hosts]
            known_reference(host, hosts, "host", lines.line(service, "hosts"), problems)
    else:
        pools = [pool.name for pool in platform.pools]
        known_reference(service.pool, pools, "pool", lines.line(service, "pool"), problems)
        if service.hosts:
            problems.add(lines.line(service, "hosts"), f"{name!r} has hosts and a model", "its pool says where it runs")
    scaler = service.autoscaler
    if scaler is not None and not scaler.minimum <= service.replicas <= scaler.maximum:
        problems.add(
            lines.line(service, "replicas"),
            f"{name!r} starts with {service.replicas} replicas, its autoscaler keeps {scaler.minimum} to "
            f"{scaler.maximum}",
            "start within that",
        )
    for operation in service.operations:
        for step in every_step(operation.steps):
            if isinstance(step, Serve) and service.model is None:
                problems.add(lines.line(operation), f"{name!r} serves a model and has none", "give it a 'model'")
            if isinstance(step, Call) and service.kind != "service":
                problem = f"{name!r} is a {service.kind} and calls {step.service!r}"
                problems.add(lines.line(step), problem, "let its callers call, or give it 'kind: service'")
            if isinstance(step, Call):
                _check_call(step, platform, lines, problems)


def _check_call(call: Call, platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    for (service, route), fields in zip(targets(call), (("service", "route"), ("fallback", "fallback")), strict=False):
        holder: object = call if fields[0] == "service" else call.policy
        _check_operation(
            service, route, platform, lines.line(holder, fields[0]), lines.line(holder, fields[1]), problems
        )


def _check_operation(
    service: str, route: str, platform: PlatformSpec, line: int, route_line: int, problems: Problems
) -> None:
    """Check that a service and its route exist."""
    routes = {item.name.name: [operation.route for operation in item.operations] for item in platform.services}
    if known_reference(service, routes, "service", line, problems):
        known_reference(route, routes[service], f"route of {service!r} like", route_line, problems)


def _check_tenant(tenant: TenantSpec, platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    line = lines.line(tenant, "places")
    check_places(tenant.places, platform, line, problems)
    if not tenant.places:
        problems.add(line, f"{tenant.name.name!r} runs nowhere", "give it 'places', [host-1/0]")
    for call in tenant.calls:
        _check_call(call, platform, lines, problems)
    slices = {place: pool.mig_slices for pool in platform.pools for place in pool.places}
    for place in tenant.places:
        mig_slices = slices.get(place, ())  # type: ignore[call-overload]
        if bool(mig_slices) != (tenant.slice is not None) or (tenant.slice or 0) >= max(1, len(mig_slices)):
            problems.add(
                lines.line(tenant, "slice"),
                f"{tenant.name.name!r} has slice {tenant.slice} where a GPU has {len(mig_slices)} MIG instances",
                "name an instance by its index, from 0, where there are any",
            )
            break


def _check_flows(platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    for flow in platform.flows:
        service, route = lines.line(flow, "service"), lines.line(flow, "route")
        _check_operation(flow.service, flow.route, platform, service, route, problems)
        for field, name in (("arrivals", flow.arrivals), ("tokens", flow.tokens)):
            try:
                _read_data(name)
            except OSError as error:
                problem = f"the data of {name!r} is missing: {error.filename or error}"
                problems.add(lines.line(flow, field), problem, "install the package anew, or name other data")


def _read_data(name: Arrivals) -> None:
    """Read the data of a flow's arrivals or tokens; the result is cached for the run.

    Raises:
        OSError: the data cannot be read.
    """
    if name == "servegen":
        servegen.clients()
    elif name not in ("poisson", "gamma"):
        traces.load(name)


def _check_cycles(platform: PlatformSpec, lines: Lines, problems: Problems) -> None:
    """Check that no operation calls itself, directly or indirectly."""
    graph = {
        (service.name.name, operation.route): [target for call in calls(operation.steps) for target in targets(call)]
        for service in platform.services
        for operation in service.operations
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle: list[tuple[str, str]] = error.args[1][::-1]
        lines_by_operation = {
            (service.name.name, operation.route): lines.line(operation)
            for service in platform.services
            for operation in service.operations
        }
        path = " -> ".join(f"{service} {route}" for service, route in cycle)
        problems.add(
            min(lines_by_operation[node] for node in cycle), f"calls go round: {path}", "take one of these calls away"
        )
