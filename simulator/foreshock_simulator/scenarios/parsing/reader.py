"""Reads YAML nodes as types of the spec: dataclasses, tagged unions of them, tuples, and numbers with units.

The spec is the schema. A member of a union is written under its name in snake_case without `Spec`: `surge: {flow: chat,
at: 20m, factor: 3}`. One without fields may be written bare: `serve`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import types
import typing
from functools import cache
from typing import Any, Literal, Union

import yaml

from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.scenarios.parsing.document import line
from foreshock_simulator.scenarios.parsing.problems import Problems, alternatives
from foreshock_simulator.scenarios.parsing.values import Unreadable, Values, is_null, kind_of
from foreshock_simulator.spec.hosts import Place

field_types = cache(typing.get_type_hints)
"""Types of the fields of a dataclass."""


def tag(cls: type) -> str:
    """The key of a class: `longer_prompts` for LongerPrompts, `llm` for LlmSpec."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__.removesuffix("Spec")).lower()


class Reader(Values):
    """Reads nodes, adds problems, and records the line of each value and field."""

    def __init__(self, problems: Problems) -> None:
        super().__init__(problems)
        # By identity, since equal values may be on different lines; `_values` keeps identities from being reused.
        self._lines: dict[tuple[int, str], int] = {}
        self._values: list[object] = []
        self.default_line = 1
        """Line reported for values that were generated."""

    def line(self, value: object, field: str = "", default: int | None = None) -> int:
        """Line of a value or of its field; `default` (or `default_line`) for values that were not read."""
        value_line = self._lines.get((id(value), ""), self.default_line if default is None else default)
        return self._lines.get((id(value), field), value_line)

    def mark(self, value: object, line_number: int, fields: dict[str, int] | None = None) -> None:
        """Record the line of a value and of its fields."""
        self._values.append(value)
        self._lines[id(value), ""] = line_number
        for name, at in (fields or {}).items():
            self._lines[id(value), name] = at

    def read(self, node: yaml.Node, expected: Any, field: str) -> Any:  # noqa: ANN401 - as varied as the spec
        """Read a node as the type `wanted` for a field.

        Raises:
            Unreadable: invalid; the problem has been added.
        """
        origin = typing.get_origin(expected)
        if origin in (Union, types.UnionType):
            return self._union(node, typing.get_args(expected), field)
        if origin is Literal:
            return self.choice(node, typing.get_args(expected), field)
        if expected is Place or expected == tuple[str, int]:
            return self.place(node, field)
        if expected is ServiceName:
            return self.service_name(node)
        if origin is tuple:
            return self._tuple(node, typing.get_args(expected), field)
        if origin is dict:
            return self._dict(node, typing.get_args(expected)[1], field)
        if dataclasses.is_dataclass(expected) and isinstance(expected, type):
            return self.build(node, expected, field)
        return self.plain(node, expected, field)

    def build(self, node: yaml.Node, cls: type, field: str) -> Any:  # noqa: ANN401
        """Read a dataclass from a mapping of its fields."""
        problems_before = self.problems.count
        values, lines = self.fields(node, cls, field)
        if self.problems.count > problems_before:  # a missing field may be a misspelled one
            raise Unreadable
        missing = [
            item.name
            for item in dataclasses.fields(cls)
            if item.name not in lines
            and item.default is dataclasses.MISSING
            and item.default_factory is dataclasses.MISSING
        ]
        for name in missing:
            self.add_problem(node, f"{field} has no {name!r}", f"add '{name}:' to it")
        if missing:
            raise Unreadable
        value = cls(**values)
        self.mark(value, line(node), lines)
        return value

    def fields(self, node: yaml.Node, cls: type, field: str) -> tuple[dict[str, Any], dict[str, int]]:
        """The readable fields of a dataclass in a mapping, and the lines of all its fields."""
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        types = field_types(cls)
        for key, value in self.pairs(node, field):
            name = key.value.replace("-", "_")
            if name not in types:
                self.add_problem(key, f"{field} has no key {key.value!r}", alternatives(name, types))
                continue
            lines[name] = line(key)
            with contextlib.suppress(Unreadable):
                values[name] = self.read(value, types[name], name)
        return values, lines

    def override(self, node: yaml.Node, base: Any, field: str) -> Any:  # noqa: ANN401
        """A copy of the dataclass `base` with some fields replaced.

        Nested values may be partial, and numbers relative: `2x`.
        """
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        types = field_types(base.__class__)
        for key, value in self.pairs(node, field):
            name = key.value.replace("-", "_")
            if name not in types or name == "name":
                self.add_problem(
                    key, f"{field} has no key {key.value!r} to change", alternatives(name, types.keys() - {"name"})
                )
                continue
            lines[name] = line(key)
            with contextlib.suppress(Unreadable):
                values[name] = self._changed(value, getattr(base, name), types[name], name)
        changed = dataclasses.replace(base, **values)
        self.mark(changed, line(node), lines)
        return changed

    def pairs(self, node: yaml.Node, field: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        """Keys and values of a mapping, without keys that are no scalars or are duplicates, which are problems."""
        if not isinstance(node, yaml.MappingNode):
            if isinstance(node, yaml.ScalarNode) and is_null(node):
                return []
            self.fail(node, f"{field} is {kind_of(node)}", "write it as keys and values, 'key: value'")
        pairs: list[tuple[yaml.ScalarNode, yaml.Node]] = []
        first_lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.add_problem(key, f"{field} has a key that is {kind_of(key)}", "use a plain word")
            elif key.value in first_lines:
                self.add_problem(
                    key, f"{key.value!r} is there twice, first on line {first_lines[key.value]}", "keep one of them"
                )
            else:
                first_lines[key.value] = line(key)
                pairs.append((key, value))
        return pairs

    def _changed(self, node: yaml.Node, old: Any, expected: Any, field: str) -> Any:  # noqa: ANN401
        if dataclasses.is_dataclass(old) and isinstance(node, yaml.MappingNode):
            keys = {key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)}
            if not keys & {tag(cls) for cls in _classes(expected)}:
                return self.override(node, old, field)
        if isinstance(node, yaml.ScalarNode) and isinstance(old, int | float):
            multiplier = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)x", node.value)
            if multiplier:
                product = old * float(multiplier[1])
                product = round(product) if isinstance(old, int) else product
                return self.in_range(node, product, field)
        return self.read(node, expected, field)

    def _union(self, node: yaml.Node, members: tuple[Any, ...], field: str) -> Any:  # noqa: ANN401
        if type(None) in members:
            if isinstance(node, yaml.ScalarNode) and is_null(node):
                return None
            members = tuple(member for member in members if member is not type(None))
        if len(members) == 1:
            return self.read(node, members[0], field)
        classes = {tag(cls): cls for cls in members}
        if isinstance(node, yaml.ScalarNode) and not is_null(node):
            return self._bare(node, classes, field)
        pairs = self.pairs(node, field)
        if len(pairs) != 1:
            self.fail(node, f"{field} has {len(pairs)} keys here", f"write one of {', '.join(classes)}, and its fields")
        key, value = pairs[0]
        cls = classes.get(key.value.replace("-", "_"))
        if cls is None:
            self.fail(key, f"there is no {key.value!r} among {field}", alternatives(key.value, classes))
        return self.build(value, cls, key.value)

    def _bare(self, node: yaml.ScalarNode, classes: dict[str, type], field: str) -> Any:  # noqa: ANN401
        cls = classes.get(node.value.replace("-", "_"))
        if cls is None:
            self.fail(node, f"there is no {node.value!r} among {field}", alternatives(node.value, classes))
        return self.build(yaml.MappingNode("tag:yaml.org,2002:map", [], node.start_mark), cls, node.value)

    def _tuple(self, node: yaml.Node, members: tuple[Any, ...], field: str) -> tuple[Any, ...]:
        if not isinstance(node, yaml.SequenceNode):
            self.fail(node, f"{field} is {kind_of(node)}", "write it as a list, [first, second]")
        if members[-1] is not Ellipsis:
            if len(node.value) != len(members):
                self.fail(node, f"{field} has {len(node.value)} entries", f"give {len(members)}")
            return tuple(self.read(part, member, field) for part, member in zip(node.value, members, strict=True))
        places = members[0] is Place or members[0] == tuple[str, int]
        values: list[Any] = []
        for part in node.value:  # readable members are returned, so that the other faults of a list are checked as well
            with contextlib.suppress(Unreadable):
                values += self.places(part, field) if places else [self.read(part, members[0], field)]
        return tuple(values)

    def _dict(self, node: yaml.Node, expected: Any, field: str) -> dict[str, Any]:  # noqa: ANN401
        return {
            key.value: self.read(value, expected, f"{field} {key.value!r}") for key, value in self.pairs(node, field)
        }


def _classes(wanted: Any) -> list[type]:  # noqa: ANN401
    """Dataclasses of a union."""
    return [
        member for member in typing.get_args(wanted) if isinstance(member, type) and dataclasses.is_dataclass(member)
    ]
