"""Checks of a platform: names, references, and cycles of calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.scenarios.parsing.reader import Reader
from foreshock_simulator.scenarios.validation.capacity import (
    check_memory,
    check_places,
    check_pools,
    check_replicas_fit,
)
from foreshock_simulator.spec.platform import Arrivals, FlowSpec, PlatformSpec
from foreshock_simulator.spec.queries import calls, every_step, targets
from foreshock_simulator.spec.services import Call, Serve, ServiceSpec, TenantSpec
from foreshock_simulator.traffic import traces

Routes = Mapping[str, Sequence[str]]
"""Routes of the operations by service."""


def check_platform(platform: PlatformSpec, reader: Reader) -> None:
    """Check a platform."""
    problems_before = reader.problems.count
    if not platform.services:
        reader.report(platform, "services", "the platform has no services", "add one")
    _check_names(platform, reader)
    for host in platform.hosts:
        reader.check_reference(host, "gpu_model", host.gpu_model, MODELS, "GPU model")
    check_pools(platform, reader)
    routes = {item.name.name: [operation.route for operation in item.operations] for item in platform.services}
    for service in platform.services:
        _check_service(service, platform, routes, reader)
    for tenant in platform.tenants:
        _check_tenant(tenant, platform, routes, reader)
    for flow in platform.flows:
        _check_flow(flow, routes, reader)
    _check_cycles(platform, reader)
    check_replicas_fit(platform, reader)
    if reader.problems.count == problems_before:  # the placement needs a valid platform
        check_memory(platform, reader)


def _check_names(platform: PlatformSpec, reader: Reader) -> None:
    """Check that names are unique by kind; services and tenants are one kind, since both appear as services."""
    _check_unique("host", [(host.name, host) for host in platform.hosts], reader)
    _check_unique("pool", [(pool.name, pool) for pool in platform.pools], reader)
    busy: tuple[ServiceSpec | TenantSpec, ...] = (*platform.services, *platform.tenants)
    _check_unique("service", [(item.name.name, item) for item in busy], reader)
    _check_unique("flow", [(flow.name, flow) for flow in platform.flows], reader)
    for service in platform.services:
        routes = [(operation.route, operation) for operation in service.operations]
        _check_unique(f"operation of {service.name.name!r}", routes, reader)


def _check_unique(kind: str, named: Iterable[tuple[str, object]], reader: Reader) -> None:
    names: set[str] = set()
    for name, item in named:
        if name in names:
            reader.report(item, "name", f"{name!r} is also the name of another {kind}", "rename one of them")
        names.add(name)


def _check_service(service: ServiceSpec, platform: PlatformSpec, routes: Routes, reader: Reader) -> None:
    name = service.name.name
    if not service.operations:
        reader.report(service, "operations", f"{name!r} has no operations", "add at least one operation")
    if service.model is None:
        if service.pool:
            reader.report(service, "pool", f"{name!r} has a pool and no model", "give it 'hosts' instead")
        elif not service.hosts:
            reader.report(service, "", f"{name!r} runs nowhere", "give it 'hosts', or a 'pool' and a 'model'")
        for host in service.hosts:
            reader.check_reference(service, "hosts", host, [host.name for host in platform.hosts], "host")
    else:
        reader.check_reference(service, "pool", service.pool, [pool.name for pool in platform.pools], "pool")
        if service.hosts:
            reader.report(service, "hosts", f"{name!r} has hosts and a model", "its pool says where it runs")
    scaler = service.autoscaler
    if scaler is not None and not scaler.minimum <= service.replicas <= scaler.maximum:
        limits = f"its autoscaler keeps {scaler.minimum} to {scaler.maximum}"
        problem = f"{name!r} starts with {service.replicas} replicas, {limits}"
        reader.report(service, "replicas", problem, "start within that")
    for operation in service.operations:
        for step in every_step(operation.steps):
            if isinstance(step, Serve) and service.model is None:
                reader.report(operation, "", f"{name!r} serves a model and has none", "give it a 'model'")
            if isinstance(step, Call):
                if service.kind != "service":
                    problem = f"{name!r} is a {service.kind} and calls {step.service!r}"
                    reader.report(step, "", problem, "let its callers call, or give it 'kind: service'")
                _check_call(step, routes, reader)


def _check_call(call: Call, routes: Routes, reader: Reader) -> None:
    own, *fallback = targets(call)
    _check_operation(call, ("service", "route"), own, routes, reader)
    for target in fallback:
        _check_operation(call.policy, ("fallback", "fallback"), target, routes, reader)


def _check_operation(
    holder: object, fields: tuple[str, str], target: tuple[str, str], routes: Routes, reader: Reader
) -> None:
    """Check that the service and route of a target, from two fields of the holder, exist."""
    service, route = target
    if reader.check_reference(holder, fields[0], service, routes, "service"):
        reader.check_reference(holder, fields[1], route, routes[service], f"route of {service!r} like")


def _check_tenant(tenant: TenantSpec, platform: PlatformSpec, routes: Routes, reader: Reader) -> None:
    name = tenant.name.name
    check_places(tenant, tenant.places, platform, reader)
    if not tenant.places:
        reader.report(tenant, "places", f"{name!r} runs nowhere", "give it 'places', [host-1/0]")
    for call in tenant.calls:
        _check_call(call, routes, reader)
    slices: dict[tuple[str, int], tuple[int, ...]] = {
        place: pool.mig_slices for pool in platform.pools for place in pool.places
    }
    for place in tenant.places:
        instances = len(slices.get(place, ()))
        if bool(instances) != (tenant.slice is not None) or (tenant.slice or 0) >= max(1, instances):
            problem = f"{name!r} has slice {tenant.slice} where a GPU has {instances} MIG instances"
            reader.report(tenant, "slice", problem, "name an instance by its index, from 0, where there are any")
            break


def _check_flow(flow: FlowSpec, routes: Routes, reader: Reader) -> None:
    _check_operation(flow, ("service", "route"), (flow.service, flow.route), routes, reader)
    for field, name in (("arrivals", flow.arrivals), ("tokens", flow.tokens)):
        try:
            _read_data(name)
        except OSError as error:
            problem = f"the data of {name!r} is missing: {error.filename or error}"
            reader.report(flow, field, problem, "reinstall the package, or name other data")


def _read_data(name: Arrivals) -> None:
    """Read the data of a flow's arrivals or tokens; the result is cached for the run.

    Raises:
        OSError: the data cannot be read.
    """
    if name == "servegen":
        traces.clients()
    elif name not in ("poisson", "gamma"):
        traces.load(name)


def _check_cycles(platform: PlatformSpec, reader: Reader) -> None:
    """Check that no operation calls itself, directly or indirectly."""
    operations = {
        (service.name.name, operation.route): operation
        for service in platform.services
        for operation in service.operations
    }
    graph = {
        node: [target for call in calls(operation.steps) for target in targets(call)]
        for node, operation in operations.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle: list[tuple[str, str]] = error.args[1][::-1]
        path = " -> ".join(f"{service} {route}" for service, route in cycle)
        first_line = min(reader.line(operations[node]) for node in cycle)
        reader.problems.add(first_line, f"calls form a cycle: {path}", "remove one of these calls")
