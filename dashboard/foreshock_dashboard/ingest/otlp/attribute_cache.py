"""Attributes under numbers: most attributes of most spans are the same bytes over and over, and are read once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress, repeat

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from foreshock_dashboard.ingest.otlp import columns
from foreshock_dashboard.ingest.otlp.values import searched, value_of
from foreshock_dashboard.model.span import AttributeValue

MAX_KNOWN, MAX_KNOWN_BYTES, MAX_VALUES = 32_768, 256, 1000
"""Attributes that are remembered as read, bytes of one, and values of one key: a request's id would come once each."""

OTHER, END = 0, 1
"""The numbers of what is not asked for, and of what stands behind a span's attributes."""

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]

_NEW, _UNSEEN, _NO_COLUMN = -1, -2, -1
_SHORT = [b"", b"", b"", b"", *(bytes((18, size - 2, 10, size - 4)) for size in range(4, 130))]
"""How the value of a KeyValue begins that is a text and has so many bytes in all."""
_LONGEST = 512
"""More bytes than a KeyValue has whose key and value are short."""
_HEADS = [bytes((10, size)) for size in range(128)]
"""What stands before a KeyValue of so many bytes in a Resource."""


class Known:
    """What numbers stand for: `entries` are keys and values, `texts` what those of the first keys are searched by.

    A number holds until `forget`, or, where the attribute is not remembered, until `begin`. Not for several threads.

    Args:
        keys: those that are asked for; an attribute's column is its key's place among them.
        searched: how many of them, the first, are searched by.
    """

    def __init__(self, keys: Sequence[str], searched: int) -> None:
        self.keys, self._searched = tuple(keys), searched
        self._column_of = {key: column for column, key in enumerate(self.keys)}
        self._room = MAX_KNOWN + 2
        self._columns = np.zeros(self._room, np.int64)
        self._scratch = np.zeros(self._room, np.int64)
        self.forget()

    def forget(self) -> None:
        """Let go of all of them."""
        self.entries: list[tuple[str, AttributeValue]] = [("", None)] * self._room
        self._texts: list[str | None] = [None] * self._room
        self._columns[OTHER] = self._columns[END] = len(self.keys)
        self._numbers: dict[bytes, int] = {columns.END: END}
        self._next = END + 1
        self._values: dict[bytes, int] = {}
        """By the bytes of a key, its tag and length: how many values of it are remembered."""
        self._varied: dict[bytes, int] = {}
        """The columns of those of which no more are."""
        self._leads: dict[bytes, int] = {}
        """Of those, what stands before a short text of one length: the column, and how long the whole is."""

    def begin(self) -> None:
        """Let go of those that are not remembered, and of all where there is no room for more."""
        if self._full:
            self.forget()
        del self.entries[self._room :], self._texts[self._room :]

    @property
    def _full(self) -> bool:
        return len(self._numbers) >= MAX_KNOWN or len(self._values) >= MAX_KNOWN

    def look(self, pairs: Sequence[bytes]) -> Numbers:
        """The number of each encoded KeyValue that is remembered, or is `columns.END`."""
        return np.fromiter(map(self._numbers.get, pairs, repeat(_NEW)), np.int64, len(pairs))

    def numbers(self, pairs: Sequence[bytes], found: Numbers, wanted: int, more: Mask) -> Numbers:
        """The number of each encoded KeyValue, of which `found` is what `look` gave: what is new is read.

        Args:
            wanted: how many of the keys, the first, are asked for in any case.
            more: which of the pairs the other keys are asked for of.

        Raises:
            DecodeError: one of them is malformed.
        """
        places = np.flatnonzero(found == _NEW)
        new = [pairs[at] for at in places.tolist()]
        found[places] = OTHER
        columns = self._varied_columns(new)
        short = columns != _UNSEEN
        rest = np.flatnonzero(~short)
        others = [new[at] for at in rest.tolist()]
        _check(others)
        for at, pair in zip(rest.tolist(), others, strict=True):
            head = pair[: 2 + pair[1]] if len(pair) > 1 else pair  # nearly every one begins with its key
            columns[at] = column = self._varied.get(head, _UNSEEN)
            if column == _UNSEEN:
                found[places[at]] = self._first(head, pair)
            else:
                self._learn(head, pair, column)
        for column in sorted({*columns.tolist()} - {_UNSEEN, _NO_COLUMN}):
            chosen = columns == column
            if column >= wanted:
                chosen &= more[places]
            after = 2 + len(self.keys[column].encode())
            values = [
                pair[after + 4 :].decode() if plain else _value(pair, after)
                for pair, plain in zip(compress(new, chosen.tolist()), short[chosen].tolist(), strict=True)
            ]
            found[places[chosen]] = self._note(column, values)
        found[(self._columns[found] >= wanted) & ~more] = OTHER
        return found

    def _varied_columns(self, pairs: Sequence[bytes]) -> Numbers:
        """The columns of those encoded KeyValues that are short texts of keys with many values, `_UNSEEN` of others.

        What stands before such a text tells its length, so only the text itself has to be looked at.

        Raises:
            DecodeError: one of them is malformed.
        """
        leads = [pair[: 6 + pair[1]] if len(pair) > 1 else pair for pair in pairs]
        told = np.fromiter(map(self._leads.get, leads, repeat(0)), np.int64, len(pairs))
        short = (told > 0) & (told % _LONGEST == np.fromiter(map(len, pairs), np.int64, len(pairs)))
        texts = b"".join(compress(pairs, short.tolist()))  # each begins with a line feed, so none completes another
        try:
            texts.decode()
        except UnicodeDecodeError as error:
            raise DecodeError("an attribute's text is no UTF-8") from error
        return np.where(short, told // _LONGEST + _UNSEEN, _UNSEEN)

    def _learn(self, head: bytes, pair: bytes, column: int) -> None:
        """What stands before a short text of a key with many values."""
        size = len(pair) - len(head)
        if 4 <= size < 130 and pair.startswith(_SHORT[size], len(head)):
            self._leads[pair[: len(head) + 4]] = (column - _UNSEEN) * _LONGEST + len(pair)

    def _first(self, head: bytes, pair: bytes) -> int:
        """The number of an attribute of which the value, if not the key, is seen for the first time."""
        number = self._numbers.get(pair)
        if number is not None:  # it is there twice
            return number
        plain = head[:1] == b"\n" and len(head) > 1 and head[1] < 128
        key = head[2:].decode() if plain else KeyValue.FromString(pair).key
        column = self._column_of.get(key, _NO_COLUMN)
        value = None
        if column != _NO_COLUMN:
            value = _value(pair, len(head)) if plain else value_of(KeyValue.FromString(pair).value)
        values = self._values.get(head, 0)
        if not plain or values >= MAX_VALUES or len(pair) > MAX_KNOWN_BYTES or self._full:
            return OTHER if column == _NO_COLUMN else int(self._note(column, [value])[0])
        self._values[head] = values + 1
        if values + 1 == MAX_VALUES:
            self._varied[head] = column
        number = OTHER
        if column != _NO_COLUMN:
            number, self._next = self._next, self._next + 1
            self.entries[number] = key, value
            self._texts[number] = searched(value) if column < self._searched and value is not None else None
            self._columns[number] = column
        self._numbers[pair] = number
        return number

    def _note(self, column: int, values: Sequence[AttributeValue]) -> Numbers:
        """Numbers for attributes of one key that are not remembered."""
        first = len(self.entries)
        self.entries += zip(repeat(self.keys[column]), values)
        told = column < self._searched
        self._texts += [searched(value) if told and value is not None else None for value in values]
        end = len(self.entries)
        if len(self._columns) < end:
            self._columns = np.resize(self._columns, 2 * end)
            self._scratch = np.resize(self._scratch, 2 * end)
        self._columns[first:end] = column
        return np.arange(first, end)

    def columns(self, numbers: Numbers) -> Numbers:
        """The columns of numbers; of `OTHER`, one behind the last."""
        return self._columns[numbers]

    def texts(self, numbers: Numbers) -> tuple[NDArray[np.uint32], list[str | None]]:
        """The texts that they are searched by, and of each number its place among these; the first is None."""
        at = np.arange(len(numbers))
        self._scratch[numbers] = at
        distinct = numbers[self._scratch[numbers] == at]
        found = [*map(self._texts.__getitem__, distinct.tolist())]
        self._scratch[distinct] = [0 if text is None else place for place, text in enumerate(found, 1)]
        return self._scratch[numbers].astype(np.uint32), [None, *found]


def _check(pairs: Sequence[bytes]) -> None:
    """Raise DecodeError if one is malformed. Many are parsed at once, as those of a Resource."""
    short = [part for pair in pairs if len(pair) < 128 for part in (_HEADS[len(pair)], pair)]
    Resource.FromString(b"".join(short))
    for pair in pairs:
        if len(pair) >= 128:
            KeyValue.FromString(pair)


def _value(pair: bytes, at: int) -> AttributeValue:
    """The value of an encoded KeyValue: if it is a short text behind a key that ends at `at`, by hand, for most are."""
    size = len(pair) - at
    if 4 <= size < 130 and pair[at : at + 4] == _SHORT[size]:
        return pair[at + 4 :].decode()
    return value_of(KeyValue.FromString(pair).value)
