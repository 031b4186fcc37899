"""Readers of JSON values in device scripts: each checks one value and explains an error."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any, TypeVar

from foreshock_exporter.script.wave import MAX_SWING_RATIO, Wave

MAX_TEXT = 128
"""Characters of a name."""
MIN_WAVE_PERIOD, MAX_WAVE_PERIOD = 0.1, 1e6
"""Seconds."""

_T = TypeVar("_T")
Reader = Callable[[object], _T]


class ReadError(ValueError):
    """Wrong value. `key` is its path in the line; the message has the expected form."""

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key

    def under(self, key: str) -> ReadError:
        """Same error with the key of the enclosing object prepended."""
        return ReadError(str(self), f"{key}.{self.key}" if self.key else key)


def key(read: Reader[Any], default: Any, text: str) -> Any:  # noqa: ANN401 as field()
    """Dataclass field for a key of an object: reader, default, and help text."""
    metadata = {"read": read, "help": text}
    return (
        field(default_factory=dict, metadata=metadata) if default == {} else field(default=default, metadata=metadata)
    )


def quoted(value: object) -> str:
    """Value for an error message, shortened."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        raise ReadError(f"{quoted(value)} is not a text of at most {MAX_TEXT} printable characters")
    return value


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ReadError(f"{quoted(value)} is not true or false")
    return value


def number(low: float, high: float, what: str = "a number") -> Reader[float]:
    """Reader of a number within bounds, called `what` in errors."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ReadError(f"{quoted(value)} is not {what} from {low:g} to {high:g}")
        return float(value)

    return read


def whole(low: int, high: int) -> Reader[int]:
    """Reader of an integer within bounds."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ReadError(f"{quoted(value)} is not a whole number from {low} to {high}")
        return value

    return read


def one_of(allowed: Iterable[str]) -> Reader[Any]:
    """Reader of one of some words."""
    allowed = tuple(allowed)

    def read(value: object) -> str:
        if value not in allowed or not isinstance(value, str):
            raise ReadError(f"{quoted(value)} is not one of {', '.join(allowed)}{_suggestion(value, allowed)}")
        return value

    return read


def some_of(allowed: Iterable[str]) -> Reader[frozenset[str]]:
    """Reader of a list of some words."""
    read_word = one_of(allowed)

    def read(value: object) -> frozenset[str]:
        if not isinstance(value, list):
            raise ReadError(f"{quoted(value)} is not a valid list; use [] or quoted strings")
        return frozenset(read_word(word) for word in value)

    return read


def list_of(read_item: Reader[_T], max_items: int) -> Reader[tuple[_T, ...]]:
    """Reader of a list with at most `max_items` items."""

    def read(value: object) -> tuple[_T, ...]:
        if not isinstance(value, list) or len(value) > max_items:
            raise ReadError(f"{quoted(value)} is not a list of at most {max_items} entries")
        return tuple(read_item(item) for item in value)

    return read


def fields_reader(readers: Mapping[str, Reader[Any]]) -> Reader[dict[Any, Any]]:
    """Reader of an object with at least one of the given keys."""

    def read(value: object) -> dict[Any, Any]:
        if not isinstance(value, dict) or not value:
            raise ReadError(
                f"{quoted(value)} is not a valid object; use an object with any of the keys {', '.join(readers)}"
            )
        values = {}
        for name, inner in value.items():
            if name not in readers:
                raise ReadError(f"unknown key; known are {', '.join(readers)}{_suggestion(name, readers)}", name)
            try:
                values[name] = readers[name](inner)
            except ReadError as error:
                raise error.under(name) from error
        return values

    return read


def or_null(read_value: Reader[_T]) -> Reader[_T | None]:
    return lambda value: None if value is None else read_value(value)


def wave(low: float, high: float, what: str = "a number") -> Reader[Wave]:
    """Reader of a number or an object with mean, swing, and period, within bounds at all times."""
    mean = number(low, high, what)
    parts = fields_reader(
        {"mean": mean, "swing": number(-high, high), "period": number(MIN_WAVE_PERIOD, MAX_WAVE_PERIOD)}
    )

    def read(value: object) -> Wave:
        if not isinstance(value, dict):
            return Wave(mean(value))
        values = parts(value)
        if "mean" not in values:
            raise ReadError("a wave needs a mean", "mean")
        result = Wave(**values)
        swing = abs(result.swing)
        if swing > MAX_SWING_RATIO * result.mean:
            raise ReadError(
                f"{result.swing:g} is more than {MAX_SWING_RATIO:g} of the mean {result.mean:g}; make it smaller",
                "swing",
            )
        if not low <= result.mean - swing or not result.mean + swing <= high:
            raise ReadError(
                f"{result.mean:g} ± {swing:g} leaves the range from {low:g} to {high:g}; make it smaller", "swing"
            )
        return result if swing else Wave(result.mean)

    return read


def _suggestion(word: object, allowed: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, allowed, 1) if isinstance(word, str) and len(word) <= MAX_TEXT else ()
    return f"; did you mean {close[0]}?" if close else ""
