"""Options declared as fields of a dataclass: each is a flag, an environment variable, and a key of a YAML file.

The exporter and the hub share this module. pydantic-settings would do the same, but its import takes longer than the
whole start of the exporter.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, fields
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")
"""Value of the variable `NAME_PORT` that Kubernetes sets for the Service `name`."""


class InvalidOptionError(ValueError):
    """Raised for an invalid value. The message names its source, the value, and the remedy.

    source: `argument`, `variable`, or `file`.
    """

    def __init__(self, source: str, message: str) -> None:
        super().__init__(message)
        self.source = source


class Option(NamedTuple):
    """One option.

    Attributes:
        parse: value of a text. The ValueError message is appended to the quoted value: "is not a valid port".
        default: default as users write it, for the help text; "" for none.
        help: noun phrase.
        metavar: placeholder of the value in the help text; "" for a switch, which has a `--no-…` form instead.
        flag: such as `--scrape-interval`.
        key: key in the YAML file, and the environment variable without its prefix.
        bare: text that the flag without a value stands for; "" where a value is required.
        separator: what joins the texts of a repeated flag; "" for a flag that is given once. The messages of `parse`
            then quote the faulty part themselves.
        group: heading in the help text; "" for none.
        name: field of the dataclass.
        variable: environment variable.
    """

    parse: Callable[[str], Any]
    default: str
    help: str
    metavar: str
    flag: str
    key: str
    bare: str
    separator: str
    group: str = ""
    name: str = ""
    variable: str = ""

    @property
    def description(self) -> str:
        """What the help text says: `help`, and the default in brackets."""
        return f"{self.help} (default: {self.default})" if self.default and self.metavar else self.help


def option(
    parse: Callable[[str], Any],
    default: str | Callable[[], object] | None,
    help: str,  # noqa: A002 - as argparse calls it
    metavar: str = "",
    *,
    shown: str = "",
    flag: str = "",
    key: str = "",
    bare: str = "",
    separator: str = "",
    group: str = "",
) -> Any:  # noqa: ANN401 - as dataclasses.field
    """A field that is an option. Its flag follows from its name and its key from the flag unless given.

    Args:
        default: text that is parsed when the dataclass is made, function that makes the value, or None.
        shown: default in the help text, where `default` is no text or says less.

    The other arguments are as in `Option`.
    """
    shown = shown or (default if isinstance(default, str) else "")
    declared = Option(parse, shown, help, metavar, flag, key, bare, separator, group)
    metadata = {"option": declared}
    if default is None:
        return field(default=None, metadata=metadata)
    if isinstance(default, str):
        return field(default_factory=partial(_parsed, declared, "argument", flag, default), metadata=metadata)
    return field(default_factory=default, metadata=metadata)


def options_of(cls: type, prefix: str) -> Iterator[Option]:
    """The options of a dataclass, in the order of its fields. prefix: beginning of their variables."""
    for item in fields(cls):
        declared: Option = item.metadata["option"]
        flag = declared.flag or "--" + item.name.replace("_", "-")
        key = declared.key or re.sub(r"[.-]", "_", flag.removeprefix("--"))
        yield declared._replace(name=item.name, flag=flag, key=key, variable=prefix + key.upper())


def add_flags(parser: argparse.ArgumentParser, options: Iterable[Option]) -> None:
    """Add the flags, by group; their texts are parsed by `parse_options`."""
    for group, items in groupby(options, key=lambda item: item.group):
        target = parser.add_argument_group(group) if group else parser
        for item in items:
            text = item.description.replace("%", "%%")
            if not item.metavar:
                target.add_argument(item.flag, dest=item.name, action=argparse.BooleanOptionalAction, help=text)
            elif item.separator:
                target.add_argument(item.flag, dest=item.name, action="append", metavar=item.metavar, help=text)
            else:
                nargs, const = ("?", item.bare) if item.bare else (None, None)
                target.add_argument(
                    item.flag, dest=item.name, nargs=nargs, const=const, metavar=item.metavar, help=text
                )


def parse_options(
    options: Iterable[Option], flags: Mapping[str, Any], environ: Mapping[str, str], file: Mapping[str, str]
) -> dict[str, Any]:
    """Values by field name of all options that are set: flags override environment variables, which override the file.

    Args:
        flags: parsed flags by field name; None for flags that are not given.
        environ: environment variables.
        file: texts by the place that messages name, such as `foreshock.yml: port`, of the options by key.

    Raises:
        InvalidOptionError: a value cannot be parsed, even if a source of higher precedence overrides it.
    """
    values: dict[str, Any] = {}
    for item in options:
        given = flags.get(item.name)
        if isinstance(given, list | tuple):  # a repeated flag
            given = item.separator.join(given) if given else None
        for source, place, text in (
            ("file", item.key, file.get(item.key)),
            ("variable", item.variable, environ.get(item.variable)),
            ("argument", item.flag, given),
        ):
            if text is not None:
                values[item.name] = text if isinstance(text, bool) else _parsed(item, source, place, text)
    return values


def _parsed(item: Option, source: str, place: str, text: str) -> object:
    try:
        return item.parse(text)
    except ValueError as error:
        problem = f"{error}" if item.separator else f"{text!r} {error}"
        if source == "variable" and place.endswith("_PORT") and _SERVICE_LINK.match(text):
            service = place.removesuffix("_PORT").lower().replace("_", "-")
            problem = (
                f"{text!r} comes from the Kubernetes Service {service!r}; set enableServiceLinks: false in the pod spec"
            )
        raise InvalidOptionError(source, f"{place}: {problem}") from None


def one_of(words: Sequence[str]) -> Callable[[str], str]:
    """A parser that accepts these words in any case and returns them in lower case."""

    def parse(text: str) -> str:
        word = text.strip().lower()
        if word not in words:
            raise ValueError(f"is not a valid value; use {', '.join(words)}")
        return word

    return parse
