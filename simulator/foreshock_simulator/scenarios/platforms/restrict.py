"""Services of the catalogue without what a platform lacks."""

from __future__ import annotations

from dataclasses import replace

from foreshock_simulator.scenarios.platforms.catalogue import BEHIND
from foreshock_simulator.spec.queries import calls
from foreshock_simulator.spec.services import Cached, Call, OperationSpec, ServiceSpec, Sometimes, Step, Together


def restrict(services: tuple[ServiceSpec, ...], names: frozenset[str]) -> tuple[ServiceSpec, ...]:
    """Those services of these names, without calls to others and without operations that were but such a call."""
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
    """The steps without calls to services (or by routes that forward to services) outside `names`."""
    kept: list[Step] = []
    for step in steps:
        if isinstance(step, Call):
            if step.service in names and BEHIND.get(step.route, step.service) in names:
                kept.append(step)
        elif isinstance(step, Together | Sometimes | Cached):
            inner = without_calls(step.steps, names)
            if inner:
                kept.append(replace(step, steps=inner))
        else:
            kept.append(step)
    return tuple(kept)


def _forwards_only_to_others(operation: OperationSpec, names: frozenset[str]) -> bool:
    asked = [call.service for call in calls(operation.steps)]
    return operation.route in BEHIND and bool(asked) and asked[-1] not in names
