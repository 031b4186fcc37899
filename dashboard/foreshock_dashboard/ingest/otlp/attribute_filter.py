"""Those attributes of spans that are asked for, read from their bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.ingest.otlp.attribute_cache import END, Known, Mask, Numbers
from foreshock_dashboard.model.span import Attributes, Kind

Codes = NDArray[np.uint32]
NOTHING: Attributes = {}
_CALLS: frozenset[Kind] = frozenset(("client", "producer"))


class Searched(NamedTuple):
    """What spans are searched by, if they have it: for each of the `keys` that any has, where its text is in `texts`,
    which is 0 for none."""

    keys: frozenset[str]
    columns: dict[str, Codes]
    texts: Sequence[str | None]

    def rows(self, chosen: slice | list[int]) -> Searched:
        """The same of some of the spans."""
        return self._replace(columns={key: codes[chosen] for key, codes in self.columns.items()})


UNSEARCHED = Searched(frozenset(), {}, (None,))


class Pickers:
    """Reads what is asked for of spans by their kind. Thread-safe.

    Args:
        searched: the keys that spans are searched by.
        calls: those whose values are read of CLIENT and PRODUCER spans.
        telling: those of which one is reason enough to read the values of another span.
        told: those whose values are read then.
    """

    def __init__(
        self,
        searched: Iterable[str],
        calls: Iterable[str] = (),
        telling: Iterable[str] = (),
        told: Iterable[str] = (),
    ) -> None:
        self.keys = frozenset(searched)
        told = self.keys.union(telling, told)
        asked = [*sorted(self.keys), *sorted(told - self.keys), *sorted(frozenset(calls) - told)]
        self._known, self._told = Known(asked, len(self.keys)), len(told)
        self._telling = np.array([key in frozenset(telling) for key in asked] + [False])
        self._lock = threading.Lock()

    def pick(self, pairs: Sequence[bytes], kinds: Sequence[Kind]) -> tuple[list[Attributes], Searched]:
        """The values that are read of each span, and what they are searched by.

        Args:
            pairs: encoded KeyValues of spans of these kinds, `END` behind those of each. The first of a key holds.
        """
        calls = np.fromiter(map(_CALLS.__contains__, kinds), np.bool_, len(kinds))
        with self._lock:
            self._known.begin()
            found = self._known.look(pairs)
            counts = np.diff(np.flatnonzero(found == END), prepend=-1)
            rows = np.repeat(np.arange(len(kinds)), counts)
            numbers = self._known.numbers(pairs, found, self._told, calls[rows])
            columns = self._known.columns(numbers)
            calls[rows[self._telling[columns]]] = True
            values = self._values(numbers, rows, calls, counts.tolist())
            return values, self._searched(numbers, rows, columns, len(kinds))

    def _values(self, numbers: Numbers, rows: Numbers, read: Mask, counts: Sequence[int]) -> list[Attributes]:
        """The values of the spans that are to be `read`."""
        attributes = [NOTHING] * len(counts)
        entries = map(self._known.entries.__getitem__, numbers[read[rows]][::-1].tolist())
        for row in np.flatnonzero(read)[::-1].tolist():  # backwards: the first of a key is put there last
            attributes[row] = dict(islice(entries, counts[row]))
        return attributes

    def _searched(self, numbers: Numbers, rows: Numbers, columns: Numbers, spans: int) -> Searched:
        keys = self._known.keys[: len(self.keys)]
        matrix = np.zeros((len(keys), spans), np.uint32)
        at = np.flatnonzero(columns < len(keys))[::-1]
        codes, texts = self._known.texts(numbers[at])
        matrix[columns[at], rows[at]] = codes  # of several at one place the last: the first of the span's
        found = {keys[place]: matrix[place] for place in np.flatnonzero(matrix.any(axis=1))}
        return Searched(self.keys, found, texts)
