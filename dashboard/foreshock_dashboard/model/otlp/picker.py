"""Those attributes of spans that are asked for, read from their bytes."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.otlp.known import MAX_KNOWN, Known, Table
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
        asked = [*sorted(self.keys), *sorted(told.union(calls) - self.keys)]
        self._table = Table(asked, len(self.keys), 2 * MAX_KNOWN + 1)
        self._calls, self._others = Known(asked, self._table), Known(told, self._table)
        self._telling = np.array([key in frozenset(telling) for key in asked] + [False])
        self._lock = threading.Lock()

    def pick(self, spans: Sequence[Any], kinds: Sequence[Kind]) -> tuple[list[Attributes], Searched]:
        """The values that are read of each span, and what they are searched by.

        Args:
            spans: their `attributes` are encoded KeyValues. The first of a key holds.
        """
        with self._lock:
            if self._calls.full or self._others.full:
                self._table.forget()
                self._calls.forget()
                self._others.forget()
            self._table.begin()
            known = {True: self._calls.__getitem__, False: self._others.__getitem__}
            numbers = [
                [*map(known[kind in _CALLS], span.attributes[:])] for span, kind in zip(spans, kinds, strict=True)
            ]
            return self._read(numbers, [row for row, kind in enumerate(kinds) if kind in _CALLS])

    def _read(self, numbers: list[list[int]], calls: Collection[int]) -> tuple[list[Attributes], Searched]:
        counts = [*map(len, numbers)]
        flat = np.fromiter(chain.from_iterable(numbers), np.int64, sum(counts))[::-1]
        rows = np.repeat(np.arange(len(numbers)), counts)[::-1]
        columns = self._table.columns(flat)
        attributes = [NOTHING] * len(numbers)
        entry = self._table.entries.__getitem__
        for row in {*calls, *rows[self._telling[columns]].tolist()}:
            attributes[row] = dict(map(entry, reversed(numbers[row])))
        searched = columns < len(self.keys)
        codes, texts = self._table.texts(flat[searched])
        matrix = np.zeros((len(self.keys), len(numbers)), np.uint32)
        matrix[columns[searched], rows[searched]] = codes  # of several at one place the last: the first of the span's
        found = {self._table.keys[place]: matrix[place] for place in np.flatnonzero(matrix.any(axis=1))}
        return attributes, Searched(self.keys, found, texts)
