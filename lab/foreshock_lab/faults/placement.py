"""Services of a topology at which a fault can happen and users notice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from foreshock_lab.faults.injection import Place
from foreshock_lab.topology.model import Call, ServiceSpec, Topology


def eligible_services(topology: Topology, place: Place) -> Sequence[str]:
    """Names of the services at which a kind can happen, sorted."""
    needed = needed_services(topology)
    services = [service for service in topology.services if service.name in needed]
    chosen = {
        "called": needed - {topology.front.name},
        "network": needed - {topology.front.name},
        "caller": (service.name for service in services if service.callees),
        "users": (topology.front.name,),
        "postgres": (service.name for service in services if "postgres" in service.stores),
        "valkey": (service.name for service in services if "valkey" in service.stores),
    }
    return sorted(chosen[place])


def needed_services(topology: Topology) -> frozenset[str]:
    """Names of the services without which requests of users fail."""
    found, pending = {topology.front.name}, [topology.front]
    while pending:
        calls = {step.service for step in pending.pop().steps if isinstance(step, Call) and step.required}
        pending += [topology.service(name) for name in calls - found]
        found |= calls
    return frozenset(found)


def call_rates(topology: Topology) -> Mapping[tuple[str, str], float]:
    """Calls per second of each caller and callee at the mean load, without caches and retries."""
    rates: defaultdict[tuple[str, str], float] = defaultdict(float)

    def visit(service: ServiceSpec, operation: str, rate: float) -> None:
        alone = replace(service, operations=tuple(item for item in service.operations if item.name == operation))
        for step in alone.steps:
            if isinstance(step, Call):
                rates[service.name, step.service] += rate * step.ratio
                visit(topology.service(step.service), step.operation, rate * step.ratio)

    for entry in topology.entries:
        visit(topology.front, entry.operation, topology.rate * entry.share)
    return rates


def most_called(topology: Topology, caller: str) -> str:
    """The service that a service calls most often."""
    calls = {callee: rate for (name, callee), rate in call_rates(topology).items() if name == caller}
    return max(sorted(calls), key=lambda callee: calls[callee])
