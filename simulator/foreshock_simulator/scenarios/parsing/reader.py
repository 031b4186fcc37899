"""Reads YAML nodes as types of the spec: dataclasses, tagged unions of them, tuples, words, and numbers with units.

The spec is the schema. A member of a union is written under its name in snake_case without `Spec`: `surge: {flow: chat,
at: 20m, factor: 3}`. One without fields may be written bare: `serve`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import types
import typing
from collections.abc import Iterable
from functools import cache
from typing import Any, Literal, NoReturn, Union

import yaml

from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.scenarios.parsing.document import Problems, alternatives, line
from foreshock_simulator.scenarios.parsing.quantities import NUMBER, QUANTITIES
from foreshock_simulator.spec.platform import Place

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,62}")
MAX_RANGE_GPUS = 64
"""Bounds `HOST/FIRST-LAST`."""

field_types = cache(typing.get_type_hints)
"""Types of the fields of a dataclass."""


class Unreadable(Exception):  # noqa: N818 - not an error by itself: the problem has been added
    """A value is unreadable; the problem has been added."""


def tag(cls: type) -> str:
    """The key of a class: `longer_prompts` for LongerPrompts, `llm` for LlmSpec."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__.removesuffix("Spec")).lower()


class Reader:
    """Reads nodes, adds problems, and records the line of each value and field.

    Methods that take a node raise `Unreadable` for an invalid one. `field` is the name of the field, which determines
    the unit and range of a number.
    """

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        # By identity, since equal values may be on different lines; `_values` keeps identities from being reused.
        self._lines: dict[tuple[int, str], int] = {}
        self._values: list[object] = []
        self.default_line = 1
        """Line reported for values that were generated."""

    def line(self, value: object, field: str = "", default: int | None = None) -> int:
        """Line of a value or of its field; `default` (or `default_line`) for values that were not read."""
        value_line = self._lines.get((id(value), ""), self.default_line if default is None else default)
        return self._lines.get((id(value), field), value_line)

    def report(self, value: object, field: str, problem: str, remedy: str) -> None:
        """Add a problem with a value or, unless `field` is empty, with its field."""
        self.problems.add(self.line(value, field), problem, remedy)

    def check_reference(self, value: object, field: str, name: str, known: Iterable[str], kind: str) -> bool:
        """Whether a name in the field of a value is known; an unknown name is a problem."""
        names = set(known)
        if name not in names:
            self.report(value, field, f"there is no {kind} {name!r}", alternatives(name, names))
        return name in names

    def read(self, node: yaml.Node, expected: Any, field: str) -> Any:  # noqa: ANN401 - as varied as the spec
        """Read a node as the expected type of a field."""
        origin, members = typing.get_origin(expected), typing.get_args(expected)
        if origin in (Union, types.UnionType):
            return self._union(node, members, field)
        if origin is Literal:
            text = self._text(node, field)
            if text not in members:
                self._fail(node, f"{field}: there is no {text!r}", alternatives(text, members))
            return text
        if expected is ServiceName:
            return self._service_name(node)
        if origin is tuple:
            return self._tuple(node, members, field)
        if dataclasses.is_dataclass(expected) and isinstance(expected, type):
            return self._build(node, expected, field)
        return self._scalar(node, expected, field)

    def fields(
        self, node: yaml.Node, cls: type, field: str, base: object = None
    ) -> tuple[dict[str, Any], dict[str, int]]:
        """The readable fields of a dataclass in a mapping, and the lines of all its fields.

        With `base`, they are changes of it: nested values may be partial, and numbers relative (`2x`).
        """
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        types = field_types(cls)
        known, purpose = (types.keys(), "") if base is None else (types.keys() - {"name"}, " to change")
        for key, value in self.pairs(node, field):
            name = key.value.replace("-", "_")
            if name not in known:
                problem = f"{field} has no key {key.value!r}{purpose}"
                self.problems.add(line(key), problem, alternatives(name, known))
                continue
            lines[name] = line(key)
            with contextlib.suppress(Unreadable):
                if base is None:
                    values[name] = self.read(value, types[name], name)
                else:
                    values[name] = self._changed(value, getattr(base, name), types[name], name)
        return values, lines

    def override(self, node: yaml.Node, base: Any, field: str) -> Any:  # noqa: ANN401
        """A copy of the dataclass `base` with the changes of a mapping."""
        values, lines = self.fields(node, base.__class__, field, base)
        return self._mark(dataclasses.replace(base, **values), node, lines)

    def pairs(self, node: yaml.Node, field: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        """Keys and values of a mapping, without keys that are no scalars or are duplicates, which are problems."""
        if _is_null(node):
            return []
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, f"{field} is {_kind_of(node)}", "write it as keys and values, 'key: value'")
        pairs: list[tuple[yaml.ScalarNode, yaml.Node]] = []
        first_lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.problems.add(line(key), f"{field} has a key that is {_kind_of(key)}", "use a plain word")
            elif key.value in first_lines:
                problem = f"{key.value!r} is there twice, first on line {first_lines[key.value]}"
                self.problems.add(line(key), problem, "keep one of them")
            else:
                first_lines[key.value] = line(key)
                pairs.append((key, value))
        return pairs

    def _mark(self, value: object, node: yaml.Node, fields: dict[str, int]) -> object:
        """Record the line of a value and of its fields; returns the value."""
        self._values.append(value)
        self._lines[id(value), ""] = line(node)
        for name, at in fields.items():
            self._lines[id(value), name] = at
        return value

    def _build(self, node: yaml.Node, cls: type, field: str) -> object:
        """Read a dataclass from a mapping of its fields."""
        problems_before = self.problems.count
        values, lines = self.fields(node, cls, field)
        if self.problems.count == problems_before:  # else a missing field may be a misspelled one
            for item in dataclasses.fields(cls):
                if item.name not in lines and item.default is item.default_factory is dataclasses.MISSING:
                    self.problems.add(line(node), f"{field} has no {item.name!r}", f"add '{item.name}:' to it")
        if self.problems.count > problems_before:
            raise Unreadable
        return self._mark(cls(**values), node, lines)

    def _changed(self, node: yaml.Node, old: Any, expected: Any, field: str) -> Any:  # noqa: ANN401
        if dataclasses.is_dataclass(old) and isinstance(node, yaml.MappingNode):
            keys = {key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)}
            if keys.isdisjoint(tag(member) for member in typing.get_args(expected) if isinstance(member, type)):
                return self.override(node, old, field)
        multiplier = isinstance(node, yaml.ScalarNode) and re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)x", node.value)
        if not multiplier or not isinstance(old, int | float):
            return self.read(node, expected, field)
        product = old * float(multiplier[1])
        product = round(product) if isinstance(old, int) else product
        try:
            QUANTITIES.get(field, NUMBER).check(product)
        except ValueError as error:
            self._fail(node, f"{field}: {product:g} {error}", "change the factor")
        return product

    def _union(self, node: yaml.Node, members: tuple[Any, ...], field: str) -> Any:  # noqa: ANN401
        if type(None) in members:
            if _is_null(node):
                return None
            members = tuple(member for member in members if member is not type(None))
        if len(members) == 1:
            return self.read(node, members[0], field)
        classes = {tag(cls): cls for cls in members}
        if isinstance(node, yaml.ScalarNode) and not _is_null(node):
            key: yaml.ScalarNode = node
            value: yaml.Node = yaml.MappingNode("tag:yaml.org,2002:map", [], node.start_mark)
        else:
            pairs = self.pairs(node, field)
            if len(pairs) != 1:
                remedy = f"write one of {', '.join(classes)}, and its fields"
                self._fail(node, f"{field} has {len(pairs)} keys here", remedy)
            key, value = pairs[0]
        cls = classes.get(key.value.replace("-", "_"))
        if cls is None:
            self._fail(key, f"there is no {key.value!r} among {field}", alternatives(key.value, classes))
        return self._build(value, cls, key.value)

    def _tuple(self, node: yaml.Node, members: tuple[Any, ...], field: str) -> tuple[Any, ...]:
        if not isinstance(node, yaml.SequenceNode):
            self._fail(node, f"{field} is {_kind_of(node)}", "write it as a list, [first, second]")
        if members[-1] is not Ellipsis:
            if len(node.value) != len(members):
                self._fail(node, f"{field} has {len(node.value)} entries", f"give {len(members)}")
            return tuple(self.read(part, member, field) for part, member in zip(node.value, members, strict=True))
        places = members[0] is Place or members[0] == tuple[str, int]
        values: list[Any] = []
        for part in node.value:  # readable members are returned, so that the other faults of a list are checked as well
            with contextlib.suppress(Unreadable):
                values += self._places(part, field) if places else [self.read(part, members[0], field)]
        return tuple(values)

    def _places(self, node: yaml.Node, field: str) -> list[Place]:
        """GPUs: `host-1/0` is one, `host-1/0-3` is four."""
        text = self._text(node, field)
        match = re.fullmatch(r"(.+)/(\d{1,4})(?:-(\d{1,4}))?", text)
        if not match:
            self._fail(node, f"{field}: {text!r} is not a GPU", "write it as 'host-1/0'")
        first, last = int(match[2]), int(match[3] or match[2])
        if not first <= last < first + MAX_RANGE_GPUS:
            self._fail(node, f"{field}: {text!r} is not a range of GPUs", "write it as 'host-1/0-3'")
        return [Place(match[1], gpu) for gpu in range(first, last + 1)]

    def _service_name(self, node: yaml.Node) -> ServiceName:
        text = self._text(node, "name")
        namespace, _, name = text.rpartition("/")
        if not NAME.fullmatch(name) or (namespace and not NAME.fullmatch(namespace)):
            remedy = "write it as 'namespace/name' in letters, digits, - . _"
            self._fail(node, f"name: {text!r} names no service", remedy)
        return ServiceName(namespace, name)

    def _scalar(self, node: yaml.Node, expected: type, field: str) -> str | float | bool:
        """A word, a number with its unit, or true or false."""
        text = self._text(node, field)
        if expected is bool:
            if text not in ("true", "false"):
                self._fail(node, f"{field}: {text!r} is neither true nor false", "write one of the two")
            return text == "true"
        if expected is str:
            if field == "name" and not NAME.fullmatch(text):
                self._fail(node, f"name: {text!r} is not a name", "use letters, digits, - . _, at most 63")
            return text
        try:
            value = QUANTITIES.get(field, NUMBER).read(text)
        except ValueError as error:
            self._fail(node, f"{field}: {text!r} {error}", "change it")
        if expected is int and value != int(value):
            self._fail(node, f"{field}: {text!r} is not a whole number", "round it")
        return int(value) if expected is int else value

    def _text(self, node: yaml.Node, field: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or _is_null(node):
            self._fail(node, f"{field} is {_kind_of(node)}", "write a single value")
        return str(node.value)

    def _fail(self, node: yaml.Node, problem: str, remedy: str) -> NoReturn:
        """Add a problem with a node and raise Unreadable."""
        self.problems.add(line(node), problem, remedy)
        raise Unreadable


def _is_null(node: yaml.Node) -> bool:
    """Whether a node is an empty scalar."""
    return isinstance(node, yaml.ScalarNode) and bool(node.tag == "tag:yaml.org,2002:null")


def _kind_of(node: yaml.Node) -> str:
    """Kind of a node, for messages."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else "empty" if _is_null(node) else "a single value"
