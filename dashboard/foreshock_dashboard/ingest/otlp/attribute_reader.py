"""Reads the needed attributes of many spans from their bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.ingest.otlp.attribute_cache import (
    END_OF_SPAN,
    MAX_CACHED,
    MAX_VALUES_PER_KEY,
    AttributeCache,
    IntArray,
    Mask,
)
from foreshock_dashboard.model.span import Attributes, Kind

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

    def _attributes(self, ids: IntArray, rows: IntArray, is_read: Mask, counts: Sequence[int]) -> list[Attributes]:
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
