"""Services of the catalogue without the calls that a platform lacks."""

from __future__ import annotations

from dataclasses import replace

from foreshock_simulator.scenarios.platforms.catalogue import MODEL_BY_ROUTE
from foreshock_simulator.spec.queries import calls
from foreshock_simulator.spec.services import Cached, Call, OperationSpec, ServiceSpec, Sometimes, Step, Together


def restrict(services: tuple[ServiceSpec, ...], names: frozenset[str]) -> tuple[ServiceSpec, ...]:
    """The services with these names, without calls to others and without operations that only forward to others."""
    return tuple(
        replace(
            service,
            operations=tuple(
                replace(operation, steps=without_calls(operation.steps, names))
                for operation in service.operations
                if not _forwards_only_to_others(operation, names)
            ),
        )
        for service in services
        if service.name.name in names
    )


def without_calls(steps: tuple[Step, ...], names: frozenset[str]) -> tuple[Step, ...]:
    """The steps without calls to services outside `names`, directly or behind a route of the gateway."""
    kept: list[Step] = []
    for step in steps:
        if isinstance(step, Call):
            if step.service in names and MODEL_BY_ROUTE.get(step.route, step.service) in names:
                kept.append(step)
        elif isinstance(step, Together | Sometimes | Cached):
            inner = without_calls(step.steps, names)
            if inner:
                kept.append(replace(step, steps=inner))
        else:
            kept.append(step)
    return tuple(kept)


def _forwards_only_to_others(operation: OperationSpec, names: frozenset[str]) -> bool:
    targets = [call.service for call in calls(operation.steps)]
    return operation.route in MODEL_BY_ROUTE and bool(targets) and targets[-1] not in names
