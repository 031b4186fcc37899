"""Attributes under numbers: most attributes of most spans are the same bytes over and over, and are read once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from foreshock_dashboard.model.otlp.values import searched, value_of
from foreshock_dashboard.model.span import AttributeValue

MAX_KNOWN, MAX_KNOWN_BYTES, MAX_VALUES = 16_384, 256, 1000
"""Attributes that are remembered as read, bytes of one, and values of one key: a request's id would come once each."""

OTHER = 0
"""The number of what is not asked for."""

Numbers = NDArray[np.int64]


class Table:
    """What numbers stand for: `entries` are keys and values, `columns` the keys' places among `keys`.

    A number holds until `forget`, or, where the attribute is not remembered, until `begin`. Not for several threads.

    Args:
        keys: those that are asked for.
        searched: how many of them, the first, are searched by.
        room: how many attributes may be remembered.
    """

    def __init__(self, keys: Sequence[str], searched: int, room: int) -> None:
        self.keys, self._searched, self._room = tuple(keys), searched, room
        self._columns = np.zeros(room, np.int64)
        self._scratch = np.zeros(room, np.int64)
        self.forget()

    def forget(self) -> None:
        """Let go of all of them."""
        self.entries: list[tuple[str, AttributeValue]] = [("", None)] * self._room
        self._texts: list[str | None] = [None] * self._room
        self._passing: list[int] = []
        self._columns[OTHER] = len(self.keys)
        self._next = 1

    def begin(self) -> None:
        """Let go of those that are not remembered."""
        del self.entries[self._room :], self._texts[self._room :]
        self._passing.clear()

    def remember(self, column: int, value: AttributeValue) -> int:
        """A number for an attribute."""
        number, self._next = self._next, self._next + 1
        self.entries[number] = self.keys[column], value
        self._texts[number] = self._text(column, value)
        self._columns[number] = column
        return number

    def note(self, column: int, value: AttributeValue) -> int:
        """The same of one that is not remembered."""
        number = len(self.entries)
        self.entries.append((self.keys[column], value))
        self._texts.append(self._text(column, value))
        self._passing.append(column)
        return number

    def _text(self, column: int, value: AttributeValue) -> str | None:
        return searched(value) if column < self._searched and value is not None else None

    def columns(self, numbers: Numbers) -> Numbers:
        """The places of their keys; of `OTHER`, one behind the last."""
        end = len(self.entries)
        if len(self._columns) < end:
            self._columns = np.resize(self._columns, 2 * end)
            self._scratch = np.resize(self._scratch, 2 * end)
        self._columns[self._room : end] = self._passing
        return self._columns[numbers]

    def texts(self, numbers: Numbers) -> tuple[NDArray[np.uint32], list[str | None]]:
        """The texts that they are searched by, and of each number its place among these; the first is None."""
        at = np.arange(len(numbers))
        self._scratch[numbers] = at
        distinct = numbers[self._scratch[numbers] == at]
        found = [*map(self._texts.__getitem__, distinct.tolist())]
        self._scratch[distinct] = [0 if text is None else place for place, text in enumerate(found, 1)]
        return self._scratch[numbers].astype(np.uint32), [None, *found]


class Known(dict[bytes, int]):
    """The number of each encoded KeyValue, given when it is first asked for with `[]`; `OTHER` unless of `keys`."""

    def __init__(self, keys: Collection[str], table: Table) -> None:
        super().__init__()
        self._columns = {key: column for column, key in enumerate(table.keys) if key in keys}
        self._table = table
        self._about: dict[bytes, _About] = {}
        """By the bytes of a key, its tag and length, as are:"""
        self._varied: dict[bytes, int] = {}
        """The columns of those of which no more values are remembered."""

    @property
    def full(self) -> bool:
        """Whether nothing more is remembered."""
        return len(self) >= MAX_KNOWN or len(self._about) >= MAX_KNOWN

    def forget(self) -> None:
        """Let go of all, when the table does."""
        self.clear()
        self._about.clear()
        self._varied.clear()

    def __missing__(self, pair: bytes) -> int:
        head = pair[: 2 + pair[1]] if len(pair) > 1 else pair  # nearly every one begins with its key, and that is short
        column = self._varied.get(head)
        if column is None:
            return self._first(head, pair)
        return OTHER if column == _NO_COLUMN else self._table.note(column, _value(pair, len(head)))

    def _first(self, head: bytes, pair: bytes) -> int:
        """The number of an attribute that is seen for the first time."""
        about = self._about.get(head) or self._learn(head, pair)
        remembered = about.values < MAX_VALUES and len(pair) <= MAX_KNOWN_BYTES and not self.full
        number = OTHER
        if about.column != _NO_COLUMN:
            put = self._table.remember if remembered else self._table.note
            number = put(about.column, _value(pair, len(head)))
        if remembered:
            self[pair] = number
            about.values += 1
            if about.values == MAX_VALUES:
                self._varied[head] = about.column
        return number

    def _learn(self, head: bytes, pair: bytes) -> _About:
        if head[:1] != b"\n" or len(head) < 2 or head[1] > 127:
            about = _About(self._columns.get(KeyValue.FromString(pair).key, _NO_COLUMN))
            about.values = MAX_VALUES  # rare: neither it nor its values are remembered
            return about
        about = _About(self._columns.get(head[2:].decode(), _NO_COLUMN))
        if not self.full:
            self._about[head] = about
        return about


_NO_COLUMN = -1


class _About:
    """A key's column, if it is asked for, and how many values of it are remembered."""

    __slots__ = ("column", "values")

    def __init__(self, column: int) -> None:
        self.column = column
        self.values = 0


def _value(pair: bytes, at: int) -> AttributeValue:
    """The value of an encoded KeyValue: if it is a short text behind a key that ends at `at`, by hand, for most are."""
    head = pair[at : at + 4]
    if len(head) == 4 and head[0] == 18 and head[2] == 10 and head[3] < 128 and len(pair) == at + 4 + head[3]:
        return pair[at + 4 :].decode()
    return value_of(KeyValue.FromString(pair).value)
