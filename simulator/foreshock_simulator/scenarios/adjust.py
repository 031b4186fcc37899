"""What a scenario changes in a generated platform: fields of parts by name, and policies of calls by their ends."""

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

ANYBODY = "*"
"""In place of a caller: all who make such calls."""
KINDS = ("pools", "services", "tenants", "flows")


def adjust(platform: PlatformSpec, node: yaml.Node, reader: Reader) -> PlatformSpec:
    """The platform with what `node` says: `pools: {chat: {quota: 4}}, calls: {gateway -> llm-chat: {attempts: 4}}`."""
    for key, value in _noted(reader, node, "adjust"):
        if key.value in KINDS:
            parts = getattr(platform, key.value)
            changed = _parts(parts, value, key.value, reader)
            platform = replace(platform, **{key.value: changed})
        elif key.value == "calls":
            platform = replace(platform, services=_calls(platform.services, value, reader))
        else:
            known = (*KINDS, "calls")
            reader.problems.add(line(key), f"adjust has no key {key.value!r}", alternatives(key.value, known))
    return platform


def _noted(reader: Reader, node: yaml.Node, field: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    try:
        return reader.pairs(node, field)
    except Unreadable:
        return []


def _name(part: Any) -> str:  # noqa: ANN401 - a pool, service, tenant or flow
    return part.name if isinstance(part.name, str) else str(part.name.name)


def _parts(parts: tuple[Any, ...], node: yaml.Node, kind: str, reader: Reader) -> tuple[Any, ...]:
    by_name = {_name(part): part for part in parts}
    for key, value in _noted(reader, node, kind):
        if key.value not in by_name:
            what = f"there is no {kind.removesuffix('s')} {key.value!r} to change"
            reader.problems.add(line(key), what, alternatives(key.value, by_name))
            continue
        try:
            by_name[key.value] = reader.over(value, by_name[key.value], key.value)
        except Unreadable:
            continue
    return tuple(by_name.values())


def _calls(services: tuple[ServiceSpec, ...], node: yaml.Node, reader: Reader) -> tuple[ServiceSpec, ...]:
    for key, value in _noted(reader, node, "calls"):
        caller, _, callee = (word.strip() for word in key.value.partition("->"))
        found = 0

        def change(call: Call, callee: str = callee, value: yaml.Node = value) -> Call:
            nonlocal found
            if call.service != callee:
                return call
            found += 1
            try:
                return replace(call, policy=reader.over(value, call.policy, "the call"))
            except Unreadable:
                return call

        services = tuple(
            replace(
                service,
                operations=tuple(
                    replace(operation, steps=_mapped(operation.steps, change)) for operation in service.operations
                ),
            )
            if caller in (service.name.name, ANYBODY)
            else service
            for service in services
        )
        if not found:
            pairs = {f"{caller} -> {callee}" for caller, callee in _edges(services)}
            reader.problems.add(line(key), f"there are no calls {key.value!r}", alternatives(key.value, pairs))
    return services


def _mapped(steps: tuple[Step, ...], change: Callable[[Call], Call]) -> tuple[Step, ...]:
    """The steps with each call changed, however deep."""
    mapped: list[Step] = []
    for step in steps:
        if isinstance(step, Call):
            mapped.append(change(step))
        elif isinstance(step, Together | Sometimes | Cached):
            mapped.append(replace(step, steps=_mapped(step.steps, change)))
        else:
            mapped.append(step)
    return tuple(mapped)


def _edges(services: tuple[ServiceSpec, ...]) -> set[tuple[str, str]]:
    return {
        (service.name.name, call.service)
        for service in services
        for operation in service.operations
        for call in calls(operation.steps)
    }
