"""Changes of a generated platform by a scenario: fields of its parts, and policies of calls."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import yaml

from foreshock_simulator.scenarios.parsing.document import alternatives, line
from foreshock_simulator.scenarios.parsing.reader import Reader, Unreadable
from foreshock_simulator.spec.platform import PlatformSpec
from foreshock_simulator.spec.queries import edges, map_calls
from foreshock_simulator.spec.services import Call, ServiceSpec

ANY_CALLER = "*"
"""Wildcard for all callers."""
PART_KINDS = ("pools", "services", "tenants", "flows")


def adjust(platform: PlatformSpec, node: yaml.Node, reader: Reader) -> PlatformSpec:
    """Apply the changes of `node`: `pools: {chat: {quota: 4}}, calls: {gateway -> llm-chat: {attempts: 4}}`.

    Raises:
        Unreadable: the node is no mapping. Invalid changes are problems and are left out.
    """
    for key, value in reader.pairs(node, "adjust"):
        with suppress(Unreadable):
            if key.value in PART_KINDS:
                changed = _changed_parts(getattr(platform, key.value), value, key.value, reader)
                platform = replace(platform, **{key.value: changed})
            elif key.value == "calls":
                platform = replace(platform, services=_changed_calls(platform.services, value, reader))
            else:
                remedy = alternatives(key.value, (*PART_KINDS, "calls"))
                reader.problems.add(line(key), f"adjust has no key {key.value!r}", remedy)
    return platform


def _name(part: Any) -> str:  # noqa: ANN401 - a pool, service, tenant or flow
    return part.name if isinstance(part.name, str) else str(part.name.name)


def _changed_parts(parts: tuple[Any, ...], node: yaml.Node, kind: str, reader: Reader) -> tuple[Any, ...]:
    by_name = {_name(part): part for part in parts}
    for key, value in reader.pairs(node, kind):
        if key.value in by_name:
            with suppress(Unreadable):
                by_name[key.value] = reader.override(value, by_name[key.value], key.value)
        else:
            problem = f"there is no {kind.removesuffix('s')} {key.value!r} to change"
            reader.problems.add(line(key), problem, alternatives(key.value, by_name))
    return tuple(by_name.values())


def _changed_calls(services: tuple[ServiceSpec, ...], node: yaml.Node, reader: Reader) -> tuple[ServiceSpec, ...]:
    for key, value in reader.pairs(node, "calls"):
        caller, _, callee = (word.strip() for word in key.value.partition("->"))
        matches = 0

        def change(call: Call, callee: str = callee, value: yaml.Node = value) -> Call:
            nonlocal matches
            if call.service == callee:
                matches += 1
                with suppress(Unreadable):
                    return replace(call, policy=reader.override(value, call.policy, "the call"))
            return call

        services = tuple(
            replace(
                service,
                operations=tuple(
                    replace(operation, steps=map_calls(operation.steps, change)) for operation in service.operations
                ),
            )
            if caller in (service.name.name, ANY_CALLER)
            else service
            for service in services
        )
        if not matches:
            remedy = alternatives(key.value, edges(services))
            reader.problems.add(line(key), f"there are no calls {key.value!r}", remedy)
    return services
