"""How the values in a device script are read: small functions that check one JSON value and say what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any, TypeVar

from foreshock_exporter.script.wave import MAX_SWING_RATIO, Wave

MAX_TEXT = 128
"""Characters of a name in a script."""
MIN_WAVE_PERIOD, MAX_WAVE_PERIOD = 0.1, 1e6
"""Seconds."""

_T = TypeVar("_T")
Reader = Callable[[object], _T]


class ReadError(ValueError):
    """A value is not what it should be. `key` is where it stands inside its line; the message says what would be."""

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key

    def under(self, key: str) -> ReadError:
        """The same, seen from the object that holds it."""
        return ReadError(str(self), f"{key}.{self.key}" if self.key else key)


def key(read: Reader[Any], default: Any, text: str) -> Any:  # noqa: ANN401 as field()
    """A key of an object in a script: how it is read, its value where it is missing, and what it is for."""
    metadata = {"read": read, "help": text}
    return (
        field(default_factory=dict, metadata=metadata) if default == {} else field(default=default, metadata=metadata)
    )


def quoted(value: object) -> str:
    """A value as it may stand in a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def text(value: object) -> str:
    """A printable string."""
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        raise ReadError(f"{quoted(value)} is not a text of at most {MAX_TEXT} printable characters")
    return value


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ReadError(f"{quoted(value)} is not true or false")
    return value


def number(low: float, high: float, what: str = "a number") -> Reader[float]:
    """A number within bounds, in the words of `what`."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ReadError(f"{quoted(value)} is not {what} from {low:g} to {high:g}")
        return float(value)

    return read


def whole(low: int, high: int) -> Reader[int]:
    """A whole number within bounds."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ReadError(f"{quoted(value)} is not a whole number from {low} to {high}")
        return value

    return read


def one_of(words: Iterable[str]) -> Reader[Any]:
    """One of some words."""
    allowed = tuple(words)

    def read(value: object) -> str:
        if value not in allowed or not isinstance(value, str):
            raise ReadError(f"{quoted(value)} is not one of {', '.join(allowed)}{_meant(value, allowed)}")
        return value

    return read


def some_of(words: Iterable[str]) -> Reader[frozenset[str]]:
    """A list of some words."""
    read_word = one_of(words)

    def read(value: object) -> frozenset[str]:
        if not isinstance(value, list):
            raise ReadError(f"{quoted(value)} is not a list such as [] or of some words in quotes")
        return frozenset(read_word(word) for word in value)

    return read


def list_of(read_item: Reader[_T], most: int) -> Reader[tuple[_T, ...]]:
    """A list of at most so many things."""

    def read(value: object) -> tuple[_T, ...]:
        if not isinstance(value, list) or len(value) > most:
            raise ReadError(f"{quoted(value)} is not a list of at most {most} entries")
        return tuple(read_item(item) for item in value)

    return read


def fields_reader(readers: Mapping[str, Reader[Any]]) -> Reader[dict[Any, Any]]:
    """An object with at least one of these keys."""

    def read(value: object) -> dict[Any, Any]:
        if not isinstance(value, dict) or not value:
            raise ReadError(f"{quoted(value)} is not an object with some of the keys {', '.join(readers)}")
        found = {}
        for name, inner in value.items():
            if name not in readers:
                raise ReadError(f"unknown key; known are {', '.join(readers)}{_meant(name, readers)}", name)
            try:
                found[name] = readers[name](inner)
            except ReadError as error:
                raise error.under(name) from error
        return found

    return read


def or_null(read_value: Reader[_T]) -> Reader[_T | None]:
    """The value, or null."""
    return lambda value: None if value is None else read_value(value)


def wave(low: float, high: float, what: str = "a number") -> Reader[Wave]:
    """A number, or an object of mean, swing and period; within bounds at all times."""
    mean = number(low, high, what)
    parts = fields_reader(
        {"mean": mean, "swing": number(-high, high), "period": number(MIN_WAVE_PERIOD, MAX_WAVE_PERIOD)}
    )

    def read(value: object) -> Wave:
        if not isinstance(value, dict):
            return Wave(mean(value))
        found = parts(value)
        if "mean" not in found:
            raise ReadError("a wave needs a mean", "mean")
        made = Wave(**found)
        swing = abs(made.swing)
        if swing > MAX_SWING_RATIO * made.mean:
            raise ReadError(
                f"{made.swing:g} is more than {MAX_SWING_RATIO:g} of the mean {made.mean:g}; make it smaller", "swing"
            )
        if not low <= made.mean - swing or not made.mean + swing <= high:
            raise ReadError(
                f"{made.mean:g} ± {swing:g} leaves the range from {low:g} to {high:g}; make it smaller", "swing"
            )
        return made if swing else Wave(made.mean)

    return read


def _meant(word: object, words: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, words, 1) if isinstance(word, str) and len(word) <= MAX_TEXT else ()
    return f"; did you mean {close[0]}?" if close else ""
