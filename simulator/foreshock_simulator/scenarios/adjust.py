"""Changes of a generated platform by a scenario: fields of its parts, and policies of calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import yaml

from foreshock_simulator.scenarios.parsing.document import line
from foreshock_simulator.scenarios.parsing.problems import alternatives
from foreshock_simulator.scenarios.parsing.reader import Reader
from foreshock_simulator.scenarios.parsing.values import Unreadable
from foreshock_simulator.spec.queries import calls
from foreshock_simulator.spec.scenario import PlatformSpec
from foreshock_simulator.spec.services import Cached, Call, ServiceSpec, Sometimes, Step, Together

ANY_CALLER = "*"
"""Wildcard for all callers."""
PART_KINDS = ("pools", "services", "tenants", "flows")


def adjust(platform: PlatformSpec, node: yaml.Node, reader: Reader) -> PlatformSpec:
    """Apply the changes of `node`: `pools: {chat: {quota: 4}}, calls: {gateway -> llm-chat: {attempts: 4}}`."""
    for key, value in _pairs(reader, node, "adjust"):
        if key.value in PART_KINDS:
            parts = getattr(platform, key.value)
            changed = _changed_parts(parts, value, key.value, reader)
            platform = replace(platform, **{key.value: changed})
        elif key.value == "calls":
            platform = replace(platform, services=_changed_calls(platform.services, value, reader))
        else:
            keys = (*PART_KINDS, "calls")
            reader.problems.add(line(key), f"adjust has no key {key.value!r}", alternatives(key.value, keys))
    return platform


def _pairs(reader: Reader, node: yaml.Node, field: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    try:
        return reader.pairs(node, field)
    except Unreadable:
        return []


def _name(part: Any) -> str:  # noqa: ANN401 - a pool, service, tenant or flow
    return part.name if isinstance(part.name, str) else str(part.name.name)


def _changed_parts(parts: tuple[Any, ...], node: yaml.Node, kind: str, reader: Reader) -> tuple[Any, ...]:
    by_name = {_name(part): part for part in parts}
    for key, value in _pairs(reader, node, kind):
        if key.value not in by_name:
            problem = f"there is no {kind.removesuffix('s')} {key.value!r} to change"
            reader.problems.add(line(key), problem, alternatives(key.value, by_name))
            continue
        try:
            by_name[key.value] = reader.override(value, by_name[key.value], key.value)
        except Unreadable:
            continue
    return tuple(by_name.values())


def _changed_calls(services: tuple[ServiceSpec, ...], node: yaml.Node, reader: Reader) -> tuple[ServiceSpec, ...]:
    for key, value in _pairs(reader, node, "calls"):
        caller, _, callee = (word.strip() for word in key.value.partition("->"))
        matches = 0

        def change(call: Call, callee: str = callee, value: yaml.Node = value) -> Call:
            nonlocal matches
            if call.service != callee:
                return call
            matches += 1
            try:
                return replace(call, policy=reader.override(value, call.policy, "the call"))
            except Unreadable:
                return call

        services = tuple(
            replace(
                service,
                operations=tuple(
                    replace(operation, steps=_map_calls(operation.steps, change)) for operation in service.operations
                ),
            )
            if caller in (service.name.name, ANY_CALLER)
            else service
            for service in services
        )
        if not matches:
            pairs = {f"{caller} -> {callee}" for caller, callee in _edges(services)}
            reader.problems.add(line(key), f"there are no calls {key.value!r}", alternatives(key.value, pairs))
    return services


def _map_calls(steps: tuple[Step, ...], change: Callable[[Call], Call]) -> tuple[Step, ...]:
    """The steps with each call replaced, nested ones included."""
    result: list[Step] = []
    for step in steps:
        if isinstance(step, Call):
            result.append(change(step))
        elif isinstance(step, Together | Sometimes | Cached):
            result.append(replace(step, steps=_map_calls(step.steps, change)))
        else:
            result.append(step)
    return tuple(result)


def _edges(services: tuple[ServiceSpec, ...]) -> set[tuple[str, str]]:
    return {
        (service.name.name, call.service)
        for service in services
        for operation in service.operations
        for call in calls(operation.steps)
    }
