"""Reads single YAML values: words, numbers with units, service names, and GPUs."""

from __future__ import annotations

import re
import typing
from typing import Any

import yaml

from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.scenarios.parsing.document import line
from foreshock_simulator.scenarios.parsing.problems import Problems, alternatives
from foreshock_simulator.scenarios.parsing.quantities import NUMBER, QUANTITIES
from foreshock_simulator.spec.hosts import Place

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,62}")
MAX_RANGE_GPUS = 64
"""Bounds `HOST/FIRST-LAST`."""


class Unreadable(Exception):  # noqa: N818 - not an error by itself: the problem has been noted
    """A value is unreadable; the problem has been added."""


class Values:
    """Reads single values and adds problems. All methods but `note` raise Unreadable for an invalid value.

    `field` is the name of the field, which determines unit and range of a number.
    """

    def __init__(self, problems: Problems) -> None:
        self.problems = problems

    def choice(self, node: yaml.Node, choices: tuple[str, ...], field: str) -> str:
        """One of several words."""
        text = self.text(node, field)
        if text not in choices:
            self.fail(node, f"{field}: there is no {text!r}", alternatives(text, choices))
        return text

    def place(self, node: yaml.Node, field: str) -> Place:
        """A GPU."""
        text = self.text(node, field)
        match = re.fullmatch(r"(.+)/(\d{1,4})", text)
        if not match:
            self.fail(node, f"{field}: {text!r} is no GPU", "write it as 'host-1/0'")
        return Place(match[1], int(match[2]))

    def places(self, node: yaml.Node, field: str) -> list[Place]:
        """GPUs: `host-1/0-3` is four."""
        if isinstance(node, yaml.ScalarNode):
            match = re.fullmatch(r"(.+)/(\d{1,4})-(\d{1,4})", node.value)
            if match:
                first, last = int(match[2]), int(match[3])
                if not first <= last < first + MAX_RANGE_GPUS:
                    self.fail(node, f"{field}: {node.value!r} is no range of GPUs", "write it as 'host-1/0-3'")
                return [Place(match[1], gpu) for gpu in range(first, last + 1)]
        return [self.place(node, field)]

    def service_name(self, node: yaml.Node) -> ServiceName:
        """A service by namespace and name."""
        text = self.text(node, "name")
        namespace, _, name = text.rpartition("/")
        if not NAME.fullmatch(name) or (namespace and not NAME.fullmatch(namespace)):
            self.fail(
                node, f"name: {text!r} names no service", "write it as 'namespace/name' in letters, digits, - . _"
            )
        return ServiceName(namespace, name)

    def plain(self, node: yaml.Node, expected: type, field: str) -> Any:  # noqa: ANN401
        """A word, a number with its unit, or true or false."""
        text = self.text(node, field)
        if expected is bool:
            if text not in ("true", "false"):
                self.fail(node, f"{field}: {text!r} is neither true nor false", "write one of the two")
            return text == "true"
        if expected is str:
            if field == "name" and not NAME.fullmatch(text):
                self.fail(node, f"name: {text!r} is no name", "use letters, digits, - . _, at most 63")
            return text
        try:
            value = QUANTITIES.get(field, NUMBER).read(text)
        except ValueError as error:
            self.fail(node, f"{field}: {text!r} {error}", "change it")
        if expected is int:
            if value != int(value):
                self.fail(node, f"{field}: {text!r} is not a whole number", "round it")
            return int(value)
        return value

    def in_range(self, node: yaml.Node, value: Any, field: str) -> Any:  # noqa: ANN401
        """Check a computed number against the range of the field."""
        try:
            QUANTITIES.get(field, NUMBER).check(value)
        except ValueError as error:
            self.fail(node, f"{field}: {value:g} {error}", "change the factor")
        return value

    def text(self, node: yaml.Node, field: str) -> str:
        """The text of a scalar."""
        if not isinstance(node, yaml.ScalarNode) or is_null(node):
            self.fail(node, f"{field} is {kind_of(node)}", "write a single value")
        return str(node.value)

    def add_problem(self, node: yaml.Node, problem: str, remedy: str) -> None:
        """Add a problem with a node."""
        self.problems.add(line(node), problem, remedy)

    def fail(self, node: yaml.Node, problem: str, remedy: str) -> typing.NoReturn:
        """Add a problem with a node and raise Unreadable."""
        self.add_problem(node, problem, remedy)
        raise Unreadable


def is_null(node: yaml.ScalarNode) -> bool:
    """Whether a scalar is empty."""
    return bool(node.tag == "tag:yaml.org,2002:null")


def kind_of(node: yaml.Node) -> str:
    """Kind of a node, for messages."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else "empty" if is_null(node) else "a single value"  # type: ignore[arg-type]
