"""Reads the needed attributes of many spans from their bytes.

The same bytes, as most attributes of most spans are, are decoded once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import compress, islice, repeat
from typing import NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from foreshock_dashboard.ingest.otlp.columns import SPAN_END
from foreshock_dashboard.ingest.otlp.values import search_text, value_of
from foreshock_dashboard.model.span import Attributes, AttributeValue, Kind
from foreshock_dashboard.model.types import Bools

MAX_CACHED = 32_768
"""Attributes that are cached."""
MAX_CACHED_ATTRIBUTE_BYTES = 256
"""Longest encoded attribute that is cached."""
MAX_VALUES_PER_KEY = 1000
"""Values of one key that are cached. A key with more, such as a request id, has each value once."""

NOT_NEEDED, END_OF_SPAN = 0, 1
"""Ids of an attribute that is not needed, and of `SPAN_END` after the attributes of a span."""

IntArray = NDArray[np.int64]

_UNCACHED, _UNKNOWN_COLUMN, _NO_COLUMN = -1, -2, -1
_TEXT_PREFIXES = [b"", b"", b"", b"", *(bytes((18, size - 2, 10, size - 4)) for size in range(4, 130))]
"""First bytes of the value of a KeyValue that is a text, by the number of its bytes."""
_LENGTH_BASE = 512
"""More than the bytes of a KeyValue with a short key and a short text; packs column and length into one number."""
_PAIR_PREFIXES = [bytes((10, size)) for size in range(128)]
"""Bytes before a KeyValue within a Resource, by the number of its bytes."""
Codes = NDArray[np.uint32]
NO_ATTRIBUTES: Attributes = {}
_CALLS: frozenset[Kind] = frozenset(("client", "producer"))


class SearchColumns(NamedTuple):
    """The searchable attributes of spans.

    searchable_keys: all keys that are searched.
    columns: for each key that any span has, one code per span, shape (spans,): an index into `texts`.
    texts: the distinct texts; the first is None, for a span without the attribute.
    """

    searchable_keys: frozenset[str]
    columns: dict[str, Codes]
    texts: Sequence[str | None]

    def select(self, rows: slice | list[int]) -> SearchColumns:
        """Return the columns of some of the spans."""
        return self._replace(columns={key: codes[rows] for key, codes in self.columns.items()})


NO_SEARCH_COLUMNS = SearchColumns(frozenset(), {}, (None,))


class AttributeReader:
    """Reads attributes of spans according to their kind. Thread-safe.

    Args:
        searchable: keys of which the text is read from every span.
        call_keys: keys that are read from CLIENT and PRODUCER spans.
        trigger_keys: one of these makes a span of another kind worth reading.
        triggered_keys: keys that are read from such a span, besides `searchable` and `trigger_keys`.
        max_cached, max_values_per_key: limits of the `AttributeCache`.
    """

    def __init__(
        self,
        searchable: Iterable[str],
        call_keys: Iterable[str] = (),
        trigger_keys: Iterable[str] = (),
        triggered_keys: Iterable[str] = (),
        max_cached: int = MAX_CACHED,
        max_values_per_key: int = MAX_VALUES_PER_KEY,
    ) -> None:
        self.searchable_keys = frozenset(searchable)
        triggers = frozenset(trigger_keys)
        common = self.searchable_keys.union(triggers, triggered_keys)
        keys = [
            *sorted(self.searchable_keys),
            *sorted(common - self.searchable_keys),
            *sorted(frozenset(call_keys) - common),
        ]
        self._cache = AttributeCache(keys, len(self.searchable_keys), max_cached, max_values_per_key)
        self._common = len(common)
        self._is_trigger = np.array([key in triggers for key in keys] + [False])
        self._lock = threading.Lock()

    def read(self, pairs: Sequence[bytes], kinds: Sequence[Kind]) -> tuple[list[Attributes], SearchColumns]:
        """Return the attributes of each span, and the searchable attributes as columns.

        Args:
            pairs: encoded KeyValues of spans of these kinds, with `SPAN_END` after those of each span. The first of
                several with one key is used.
        """
        is_read = np.fromiter(map(_CALLS.__contains__, kinds), np.bool_, len(kinds))
        with self._lock:
            self._cache.start_batch()
            cached = self._cache.lookup(pairs)
            counts = np.diff(np.flatnonzero(cached == END_OF_SPAN), prepend=-1)
            rows = np.repeat(np.arange(len(kinds)), counts)
            ids = self._cache.attribute_ids(pairs, cached, self._common, is_read[rows])
            columns = self._cache.columns(ids)
            is_read[rows[self._is_trigger[columns]]] = True
            attributes = self._attributes(ids, rows, is_read, counts.tolist())
            return attributes, self._search_columns(ids, rows, columns, len(kinds))

    def _attributes(self, ids: IntArray, rows: IntArray, is_read: Bools, counts: Sequence[int]) -> list[Attributes]:
        """Return the attributes of the spans with `is_read`, and none of the others."""
        attributes = [NO_ATTRIBUTES] * len(counts)
        entries = map(self._cache.entries.__getitem__, ids[is_read[rows]][::-1].tolist())
        for row in np.flatnonzero(is_read)[::-1].tolist():  # backwards: the first value of a key is set last
            attributes[row] = dict(islice(entries, counts[row]))
        return attributes

    def _search_columns(self, ids: IntArray, rows: IntArray, columns: IntArray, spans: int) -> SearchColumns:
        keys = self._cache.keys[: len(self.searchable_keys)]
        matrix = np.zeros((len(keys), spans), np.uint32)
        searchable = np.flatnonzero(columns < len(keys))[::-1]
        codes, texts = self._cache.texts(ids[searchable])
        matrix[columns[searchable], rows[searchable]] = codes  # backwards: the first value of a key is set last
        used = {keys[index]: matrix[index] for index in np.flatnonzero(matrix.any(axis=1))}
        return SearchColumns(self.searchable_keys, used, texts)


class AttributeCache:
    """Maps encoded attributes to ids. Not thread-safe.

    A cached attribute keeps its id until `clear`. The id of any other is valid until `start_batch`.

    entries: key and value by id.

    Args:
        keys: the needed keys. The column of an attribute is the index of its key.
        searchable: how many of the first keys have a search text.
        max_cached: limit of cached attributes. max_values_per_key: limit of cached values of one key.
    """

    def __init__(
        self,
        keys: Sequence[str],
        searchable: int,
        max_cached: int = MAX_CACHED,
        max_values_per_key: int = MAX_VALUES_PER_KEY,
    ) -> None:
        self.keys, self._searchable = tuple(keys), searchable
        self._max_cached, self._max_values_per_key = max_cached, max_values_per_key
        self._column_of = {key: column for column, key in enumerate(self.keys)}
        self._size = max_cached + 2
        self._columns = np.zeros(self._size, np.int64)
        self._scratch = np.zeros(self._size, np.int64)
        self.clear()

    def clear(self) -> None:
        """Remove all attributes."""
        self.entries: list[tuple[str, AttributeValue]] = [("", None)] * self._size
        self._texts: list[str | None] = [None] * self._size
        self._columns[NOT_NEEDED] = self._columns[END_OF_SPAN] = len(self.keys)
        self._ids: dict[bytes, int] = {SPAN_END: END_OF_SPAN}
        self._next = END_OF_SPAN + 1
        self._value_counts: dict[bytes, int] = {}
        """Cached values by the bytes of the key, with its tag and length."""
        self._varied_columns: dict[bytes, int] = {}
        """Columns of the keys with too many values, by the same bytes."""
        self._text_prefixes: dict[bytes, int] = {}
        """For these keys, column and total length by the bytes before a short text of one length."""

    def start_batch(self) -> None:
        """Remove the attributes that are not cached, or all if the cache is full."""
        if self._is_full:
            self.clear()
        del self.entries[self._size :], self._texts[self._size :]

    @property
    def _is_full(self) -> bool:
        return len(self._ids) >= self._max_cached or len(self._value_counts) >= self._max_cached

    def lookup(self, pairs: Sequence[bytes]) -> IntArray:
        """Return the ids of cached KeyValues and of `SPAN_END`; a negative one for others. Shape (pairs,)."""
        return np.fromiter(map(self._ids.get, pairs, repeat(_UNCACHED)), np.int64, len(pairs))

    def attribute_ids(self, pairs: Sequence[bytes], cached: IntArray, common: int, extended: Bools) -> IntArray:
        """Return the id of each encoded KeyValue, and decode those that are not cached. Shape (pairs,).

        Args:
            cached: the result of `lookup`; it is overwritten.
            common: how many of the first keys are needed from every span.
            extended: for which pairs the other keys are needed, too. Shape (pairs,).

        Raises:
            DecodeError: one of them is malformed.
        """
        ids = cached
        positions = np.flatnonzero(ids == _UNCACHED)
        new = [pairs[position] for position in positions.tolist()]
        ids[positions] = NOT_NEEDED
        columns = self._short_text_columns(new)
        is_short_text = columns != _UNKNOWN_COLUMN
        remaining = np.flatnonzero(~is_short_text)
        remaining_pairs = [new[index] for index in remaining.tolist()]
        _check(remaining_pairs)
        for index, pair in zip(remaining.tolist(), remaining_pairs, strict=True):
            head = pair[: 2 + pair[1]] if len(pair) > 1 else pair  # nearly every pair begins with its key
            columns[index] = column = self._varied_columns.get(head, _UNKNOWN_COLUMN)
            if column == _UNKNOWN_COLUMN:
                ids[positions[index]] = self._decode(head, pair)
            else:
                self._learn_text_prefix(head, pair, column)
        for column in sorted({*columns.tolist()} - {_UNKNOWN_COLUMN, _NO_COLUMN}):
            selected = columns == column
            if column >= common:
                selected &= extended[positions]
            key_end = 2 + len(self.keys[column].encode())
            values = [
                pair[key_end + 4 :].decode() if short else _value(pair, key_end)
                for pair, short in zip(compress(new, selected.tolist()), is_short_text[selected].tolist(), strict=True)
            ]
            ids[positions[selected]] = self._add_uncached(column, values)
        ids[(self._columns[ids] >= common) & ~extended] = NOT_NEEDED
        return ids

    def _short_text_columns(self, pairs: Sequence[bytes]) -> IntArray:
        """Return the columns of short texts of keys with many values; `_UNKNOWN_COLUMN` for other pairs.

        The bytes before such a text contain its length, so only the text itself has to be checked.

        Raises:
            DecodeError: one of the texts is not UTF-8.
        """
        prefixes = [pair[: 6 + pair[1]] if len(pair) > 1 else pair for pair in pairs]
        known = np.fromiter(map(self._text_prefixes.get, prefixes, repeat(0)), np.int64, len(pairs))
        lengths = np.fromiter(map(len, pairs), np.int64, len(pairs))
        is_short = (known > 0) & (known % _LENGTH_BASE == lengths)
        texts = b"".join(compress(pairs, is_short.tolist()))  # each begins with a line feed, so none completes another
        try:
            texts.decode()
        except UnicodeDecodeError as error:
            raise DecodeError("an attribute's text is not valid UTF-8") from error
        return np.where(is_short, known // _LENGTH_BASE + _UNKNOWN_COLUMN, _UNKNOWN_COLUMN)

    def _learn_text_prefix(self, head: bytes, pair: bytes, column: int) -> None:
        """Remember the bytes before a short text of a key with many values."""
        size = len(pair) - len(head)
        if 4 <= size < 130 and pair.startswith(_TEXT_PREFIXES[size], len(head)):
            self._text_prefixes[pair[: len(head) + 4]] = (column - _UNKNOWN_COLUMN) * _LENGTH_BASE + len(pair)

    def _decode(self, head: bytes, pair: bytes) -> int:
        """Decode an attribute with a new key or value, cache it if possible, and return its id."""
        attribute_id = self._ids.get(pair)
        if attribute_id is not None:  # it occurs twice in the batch
            return attribute_id
        key_first = head[:1] == b"\n" and len(head) > 1 and head[1] < 128
        key = head[2:].decode() if key_first else KeyValue.FromString(pair).key
        column = self._column_of.get(key, _NO_COLUMN)
        value = None
        if column != _NO_COLUMN:
            value = _value(pair, len(head)) if key_first else value_of(KeyValue.FromString(pair).value)
        values = self._value_counts.get(head, 0)
        cacheable = key_first and values < self._max_values_per_key and len(pair) <= MAX_CACHED_ATTRIBUTE_BYTES
        if not cacheable or self._is_full:
            return NOT_NEEDED if column == _NO_COLUMN else int(self._add_uncached(column, [value])[0])
        self._value_counts[head] = values + 1
        if values + 1 == self._max_values_per_key:
            self._varied_columns[head] = column
        attribute_id = NOT_NEEDED
        if column != _NO_COLUMN:
            attribute_id, self._next = self._next, self._next + 1
            self.entries[attribute_id] = key, value
            self._texts[attribute_id] = search_text(value) if column < self._searchable and value is not None else None
            self._columns[attribute_id] = column
        self._ids[pair] = attribute_id
        return attribute_id

    def _add_uncached(self, column: int, values: Sequence[AttributeValue]) -> IntArray:
        """Return ids for values of one key that are not cached."""
        first = len(self.entries)
        self.entries += zip(repeat(self.keys[column]), values)
        searchable = column < self._searchable
        self._texts += [search_text(value) if searchable and value is not None else None for value in values]
        end = len(self.entries)
        if len(self._columns) < end:
            self._columns = np.resize(self._columns, 2 * end)
            self._scratch = np.resize(self._scratch, 2 * end)
        self._columns[first:end] = column
        return np.arange(first, end)

    def columns(self, ids: IntArray) -> IntArray:
        """Return the columns; for `NOT_NEEDED` and `END_OF_SPAN`, the number of keys."""
        return self._columns[ids]

    def texts(self, ids: IntArray) -> tuple[NDArray[np.uint32], list[str | None]]:
        """Return for each id the index of its search text, and these texts; the first is None."""
        positions = np.arange(len(ids))
        self._scratch[ids] = positions
        distinct = ids[self._scratch[ids] == positions]
        texts = [*map(self._texts.__getitem__, distinct.tolist())]
        self._scratch[distinct] = [0 if text is None else index for index, text in enumerate(texts, 1)]
        return self._scratch[ids].astype(np.uint32), [None, *texts]


def _check(pairs: Sequence[bytes]) -> None:
    """Raise DecodeError if a KeyValue is malformed. Short ones are parsed together, as those of a Resource."""
    short = [part for pair in pairs if len(pair) < 128 for part in (_PAIR_PREFIXES[len(pair)], pair)]
    Resource.FromString(b"".join(short))
    for pair in pairs:
        if len(pair) >= 128:
            KeyValue.FromString(pair)


def _value(pair: bytes, key_end: int) -> AttributeValue:
    """Return the value of an encoded KeyValue; short text, the common case, is sliced from the bytes."""
    size = len(pair) - key_end
    if 4 <= size < 130 and pair[key_end : key_end + 4] == _TEXT_PREFIXES[size]:
        return pair[key_end + 4 :].decode()
    return value_of(KeyValue.FromString(pair).value)
