"""Reads a node of YAML as a type of the spec: dataclasses, unions of them with a tag, tuples, numbers with units.

The schema is the spec itself. A member of a union is written under its name in snake_case without `Spec`:
`surge: {flow: chat, at: 20m, factor: 3}`; one that needs no fields may be written bare: `serve`.
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

hints = cache(typing.get_type_hints)
"""The types of a dataclass' fields."""


def tag(cls: type) -> str:
    """`longer_prompts` for LongerPrompts, `llm` for LlmSpec."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__.removesuffix("Spec")).lower()


class Reader(Values):
    """Reads nodes, notes problems, and remembers on which line each value and each of its fields stands."""

    def __init__(self, problems: Problems) -> None:
        super().__init__(problems)
        # By identity, because two equal values may stand on two lines; `_kept` keeps an identity from being used again.
        self._lines: dict[tuple[int, str], int] = {}
        self._kept: list[object] = []
        self.elsewhere = 1
        """The line to be told of what was generated."""

    def line(self, value: object, field: str = "", default: int | None = None) -> int:
        """Where a value that was read, or a field of it, is written; `default` (`elsewhere`) where it is not there."""
        own = self._lines.get((id(value), ""), self.elsewhere if default is None else default)
        return self._lines.get((id(value), field), own)

    def mark(self, value: object, where: int, fields: dict[str, int] | None = None) -> None:
        """Say where a value is written."""
        self._kept.append(value)
        self._lines[id(value), ""] = where
        for name, at in (fields or {}).items():
            self._lines[id(value), name] = at

    def read(self, node: yaml.Node, wanted: Any, field: str) -> Any:  # noqa: ANN401 - as varied as the spec
        """The node as a value of the type `wanted`; `field` is what it is called there.

        Raises:
            Unreadable: it is none; what is wrong has been noted.
        """
        origin = typing.get_origin(wanted)
        if origin in (Union, types.UnionType):
            return self._union(node, typing.get_args(wanted), field)
        if origin is Literal:
            return self.choice(node, typing.get_args(wanted), field)
        if wanted is Place or wanted == tuple[str, int]:
            return self.place(node, field)
        if wanted is ServiceName:
            return self.service_name(node)
        if origin is tuple:
            return self._tuple(node, typing.get_args(wanted), field)
        if origin is dict:
            return self._dict(node, typing.get_args(wanted)[1], field)
        if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
            return self.build(node, wanted, field)
        return self.plain(node, wanted, field)

    def build(self, node: yaml.Node, cls: type, field: str) -> Any:  # noqa: ANN401
        """A dataclass from a mapping of its fields."""
        before = self.problems.noted
        given, where = self.fields(node, cls, field)
        if self.problems.noted > before:  # what is missing may be what is misspelt
            raise Unreadable
        missing = [
            item.name
            for item in dataclasses.fields(cls)
            if item.name not in where
            and item.default is dataclasses.MISSING
            and item.default_factory is dataclasses.MISSING
        ]
        for name in missing:
            self.note(node, f"{field} has no {name!r}", f"add '{name}:' to it")
        if missing:
            raise Unreadable
        value = cls(**given)
        self.mark(value, line(node), where)
        return value

    def fields(self, node: yaml.Node, cls: type, field: str) -> tuple[dict[str, Any], dict[str, int]]:
        """Those fields of a dataclass that a mapping has and that can be read, and the lines of all it has."""
        given: dict[str, Any] = {}
        where: dict[str, int] = {}
        known = hints(cls)
        for key, value in self.pairs(node, field):
            name = key.value.replace("-", "_")
            if name not in known:
                self.note(key, f"{field} has no key {key.value!r}", alternatives(name, known))
                continue
            where[name] = line(key)
            with contextlib.suppress(Unreadable):
                given[name] = self.read(value, known[name], name)
        return given, where

    def over(self, node: yaml.Node, base: Any, field: str) -> Any:  # noqa: ANN401
        """The dataclass `base` with those fields replaced that a mapping has: nested ones in part, numbers as `2x`."""
        given: dict[str, Any] = {}
        where: dict[str, int] = {}
        known = hints(base.__class__)
        for key, value in self.pairs(node, field):
            name = key.value.replace("-", "_")
            if name not in known or name == "name":
                self.note(
                    key, f"{field} has no key {key.value!r} to change", alternatives(name, known.keys() - {"name"})
                )
                continue
            where[name] = line(key)
            with contextlib.suppress(Unreadable):
                given[name] = self._changed(value, getattr(base, name), known[name], name)
        changed = dataclasses.replace(base, **given)
        self.mark(changed, line(node), where)
        return changed

    def pairs(self, node: yaml.Node, field: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        """The keys and values of a mapping; a key that is no text or comes again is noted and left out."""
        if not isinstance(node, yaml.MappingNode):
            if isinstance(node, yaml.ScalarNode) and is_null(node):
                return []
            self.fail(node, f"{field} is {kind_of(node)}", "write it as keys and values, 'key: value'")
        found: list[tuple[yaml.ScalarNode, yaml.Node]] = []
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.note(key, f"{field} has a key that is {kind_of(key)}", "use a plain word")
            elif key.value in seen:
                self.note(key, f"{key.value!r} is there twice, first on line {seen[key.value]}", "keep one of them")
            else:
                seen[key.value] = line(key)
                found.append((key, value))
        return found

    def _changed(self, node: yaml.Node, old: Any, wanted: Any, field: str) -> Any:  # noqa: ANN401
        if dataclasses.is_dataclass(old) and isinstance(node, yaml.MappingNode):
            keys = {key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)}
            if not keys & {tag(cls) for cls in _classes(wanted)}:
                return self.over(node, old, field)
        if isinstance(node, yaml.ScalarNode) and isinstance(old, int | float):
            times = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)x", node.value)
            if times:
                product = old * float(times[1])
                product = round(product) if isinstance(old, int) else product
                return self.in_range(node, product, field)
        return self.read(node, wanted, field)

    def _union(self, node: yaml.Node, members: tuple[Any, ...], field: str) -> Any:  # noqa: ANN401
        if type(None) in members:
            if isinstance(node, yaml.ScalarNode) and is_null(node):
                return None
            members = tuple(member for member in members if member is not type(None))
        if len(members) == 1:
            return self.read(node, members[0], field)
        known = {tag(cls): cls for cls in members}
        if isinstance(node, yaml.ScalarNode) and not is_null(node):
            return self._bare(node, known, field)
        pairs = self.pairs(node, field)
        if len(pairs) != 1:
            self.fail(node, f"{field} has {len(pairs)} keys here", f"write one of {', '.join(known)}, and its fields")
        key, value = pairs[0]
        cls = known.get(key.value.replace("-", "_"))
        if cls is None:
            self.fail(key, f"there is no {key.value!r} among {field}", alternatives(key.value, known))
        return self.build(value, cls, key.value)

    def _bare(self, node: yaml.ScalarNode, known: dict[str, type], field: str) -> Any:  # noqa: ANN401
        cls = known.get(node.value.replace("-", "_"))
        if cls is None:
            self.fail(node, f"there is no {node.value!r} among {field}", alternatives(node.value, known))
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
        for part in node.value:  # the readable ones are given, so that of a list of faults those are looked at as well
            with contextlib.suppress(Unreadable):
                values += self.places(part, field) if places else [self.read(part, members[0], field)]
        return tuple(values)

    def _dict(self, node: yaml.Node, wanted: Any, field: str) -> dict[str, Any]:  # noqa: ANN401
        return {key.value: self.read(value, wanted, f"{field} {key.value!r}") for key, value in self.pairs(node, field)}


def _classes(wanted: Any) -> list[type]:  # noqa: ANN401
    """The dataclasses of a union."""
    return [
        member for member in typing.get_args(wanted) if isinstance(member, type) and dataclasses.is_dataclass(member)
    ]
