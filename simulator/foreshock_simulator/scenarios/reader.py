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

from foreshock_simulator.names import ServiceName
from foreshock_simulator.scenarios.document import line
from foreshock_simulator.scenarios.problems import Problems, alternatives
from foreshock_simulator.scenarios.quantities import NUMBER, QUANTITIES
from foreshock_simulator.spec.hosts import Place

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,62}")
MAX_RANGE = 64
"""GPUs that one `HOST/FIRST-LAST` names at most."""


class Unreadable(Exception):  # noqa: N818 - not an error by itself: the problem has been noted
    """A value could not be read, and a problem says why."""


hints = cache(typing.get_type_hints)
"""The types of a dataclass' fields."""


def tag(cls: type) -> str:
    """`longer_prompts` for LongerPrompts, `llm` for LlmSpec."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__.removesuffix("Spec")).lower()


class Reader:
    """Reads nodes, notes problems, and remembers on which line each value and each of its fields stands."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
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
            return self._choice(node, typing.get_args(wanted), field)
        if wanted is Place or wanted == tuple[str, int]:
            return self._place(node, field)
        if wanted is ServiceName:
            return self._service_name(node)
        if origin is tuple:
            return self._tuple(node, typing.get_args(wanted), field)
        if origin is dict:
            return self._dict(node, typing.get_args(wanted)[1], field)
        if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
            return self.build(node, wanted, field)
        return self._plain(node, wanted, field)

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
            self._note(node, f"{field} has no {name!r}", f"add '{name}:' to it")
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
                self._note(key, f"{field} has no key {key.value!r}", alternatives(name, known))
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
                self._note(
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
            if isinstance(node, yaml.ScalarNode) and _is_null(node):
                return []
            self._fail(node, f"{field} is {_kind(node)}", "write it as keys and values, 'key: value'")
        found: list[tuple[yaml.ScalarNode, yaml.Node]] = []
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._note(key, f"{field} has a key that is {_kind(key)}", "use a plain word")
            elif key.value in seen:
                self._note(key, f"{key.value!r} is there twice, first on line {seen[key.value]}", "keep one of them")
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
                return self._in_range(node, product, field)
        return self.read(node, wanted, field)

    def _union(self, node: yaml.Node, members: tuple[Any, ...], field: str) -> Any:  # noqa: ANN401
        if type(None) in members:
            if isinstance(node, yaml.ScalarNode) and _is_null(node):
                return None
            members = tuple(member for member in members if member is not type(None))
        if len(members) == 1:
            return self.read(node, members[0], field)
        known = {tag(cls): cls for cls in members}
        if isinstance(node, yaml.ScalarNode) and not _is_null(node):
            return self._bare(node, known, field)
        pairs = self.pairs(node, field)
        if len(pairs) != 1:
            self._fail(node, f"{field} has {len(pairs)} keys here", f"write one of {', '.join(known)}, and its fields")
        key, value = pairs[0]
        cls = known.get(key.value.replace("-", "_"))
        if cls is None:
            self._fail(key, f"there is no {key.value!r} among {field}", alternatives(key.value, known))
        return self.build(value, cls, key.value)

    def _bare(self, node: yaml.ScalarNode, known: dict[str, type], field: str) -> Any:  # noqa: ANN401
        cls = known.get(node.value.replace("-", "_"))
        if cls is None:
            self._fail(node, f"there is no {node.value!r} among {field}", alternatives(node.value, known))
        return self.build(yaml.MappingNode("tag:yaml.org,2002:map", [], node.start_mark), cls, node.value)

    def _choice(self, node: yaml.Node, choices: tuple[str, ...], field: str) -> str:
        text = self._text(node, field)
        if text not in choices:
            self._fail(node, f"{field}: there is no {text!r}", alternatives(text, choices))
        return text

    def _place(self, node: yaml.Node, field: str) -> Place:
        text = self._text(node, field)
        match = re.fullmatch(r"(.+)/(\d{1,4})", text)
        if not match:
            self._fail(node, f"{field}: {text!r} is no GPU", "write it as 'host-1/0'")
        return Place(match[1], int(match[2]))

    def _places(self, node: yaml.Node, field: str) -> list[Place]:
        """`host-1/0-3` is four GPUs."""
        if isinstance(node, yaml.ScalarNode):
            match = re.fullmatch(r"(.+)/(\d{1,4})-(\d{1,4})", node.value)
            if match:
                first, last = int(match[2]), int(match[3])
                if not first <= last < first + MAX_RANGE:
                    self._fail(node, f"{field}: {node.value!r} is no range of GPUs", "write it as 'host-1/0-3'")
                return [Place(match[1], gpu) for gpu in range(first, last + 1)]
        return [self._place(node, field)]

    def _service_name(self, node: yaml.Node) -> ServiceName:
        text = self._text(node, "name")
        namespace, _, name = text.rpartition("/")
        if not NAME.fullmatch(name) or (namespace and not NAME.fullmatch(namespace)):
            self._fail(
                node, f"name: {text!r} names no service", "write it as 'namespace/name' in letters, digits, - . _"
            )
        return ServiceName(namespace, name)

    def _tuple(self, node: yaml.Node, members: tuple[Any, ...], field: str) -> tuple[Any, ...]:
        if not isinstance(node, yaml.SequenceNode):
            self._fail(node, f"{field} is {_kind(node)}", "write it as a list, [first, second]")
        if members[-1] is not Ellipsis:
            if len(node.value) != len(members):
                self._fail(node, f"{field} has {len(node.value)} entries", f"give {len(members)}")
            return tuple(self.read(part, member, field) for part, member in zip(node.value, members, strict=True))
        places = members[0] is Place or members[0] == tuple[str, int]
        values: list[Any] = []
        for part in node.value:  # the readable ones are given, so that of a list of faults those are looked at as well
            with contextlib.suppress(Unreadable):
                values += self._places(part, field) if places else [self.read(part, members[0], field)]
        return tuple(values)

    def _dict(self, node: yaml.Node, wanted: Any, field: str) -> dict[str, Any]:  # noqa: ANN401
        return {key.value: self.read(value, wanted, f"{field} {key.value!r}") for key, value in self.pairs(node, field)}

    def _plain(self, node: yaml.Node, wanted: type, field: str) -> Any:  # noqa: ANN401
        text = self._text(node, field)
        if wanted is bool:
            if text not in ("true", "false"):
                self._fail(node, f"{field}: {text!r} is neither true nor false", "write one of the two")
            return text == "true"
        if wanted is str:
            if field == "name" and not NAME.fullmatch(text):
                self._fail(node, f"name: {text!r} is no name", "use letters, digits, - . _, at most 63")
            return text
        try:
            value = QUANTITIES.get(field, NUMBER).read(text)
        except ValueError as error:
            self._fail(node, f"{field}: {text!r} {error}", "change it")
        if wanted is int:
            if value != int(value):
                self._fail(node, f"{field}: {text!r} is not a whole number", "round it")
            return int(value)
        return value

    def _in_range(self, node: yaml.Node, value: Any, field: str) -> Any:  # noqa: ANN401
        try:
            QUANTITIES.get(field, NUMBER).check(value)
        except ValueError as error:
            self._fail(node, f"{field}: {value:g} {error}", "change the factor")
        return value

    def _text(self, node: yaml.Node, field: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or _is_null(node):
            self._fail(node, f"{field} is {_kind(node)}", "write a single value")
        return str(node.value)

    def _note(self, node: yaml.Node, what: str, remedy: str) -> None:
        self.problems.add(line(node), what, remedy)

    def _fail(self, node: yaml.Node, what: str, remedy: str) -> typing.NoReturn:
        self._note(node, what, remedy)
        raise Unreadable


def _classes(wanted: Any) -> list[type]:  # noqa: ANN401
    """The dataclasses of a union."""
    return [
        member for member in typing.get_args(wanted) if isinstance(member, type) and dataclasses.is_dataclass(member)
    ]


def _is_null(node: yaml.ScalarNode) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else "empty" if _is_null(node) else "a single value"  # type: ignore[arg-type]
