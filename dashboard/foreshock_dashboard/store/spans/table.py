"""Spans in memory: columns of numbers, in parts that are never changed, and the blocks that hold the spans themselves.

Texts are numbers of the table's own `Texts`. Nothing is converted before a segment is written, and a search compares
numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.store.blocks.block import Table
from foreshock_dashboard.store.blocks.chunk import Body, Chunk, Columns
from foreshock_dashboard.store.spans.columns import is_text
from foreshock_dashboard.store.spans.span_blocks import SPANS
from foreshock_dashboard.store.spans.symbols import NONE, Texts

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a table; a column of texts that none of them has is not there."""

    columns: Columns
    texts: Texts
    rows: int

    def __getitem__(self, column: str) -> NDArray[Any]:
        """The column."""
        found = self.columns.get(column)
        return np.full(self.rows, NONE, np.uint32) if found is None else found

    def has(self, column: str, text: str) -> Mask:
        """Which rows have this text in a column."""
        codes, code = self.columns.get(column), self.texts.get(text)
        return np.zeros(self.rows, np.bool_) if codes is None or code is None else codes == code


@dataclass(eq=False, slots=True)
class SpanTable(Table):
    """A table that is added to by one thread at a time, and read by any."""

    texts: Texts = field(default_factory=Texts)
    parts: list[Part] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=list)
    begins: list[int] = field(default_factory=lambda: [0])
    """Where each body begins, counted over all, and where the next one will."""

    def put(self, chunks: Sequence[Chunk]) -> None:
        """Add chunks."""
        begins = list(accumulate((len(chunk.body) for chunk in chunks), initial=self.begins[-1]))
        part = self._gathered(chunks, begins[:-1])
        self.bodies += [chunk.body for chunk in chunks]
        self.begins += begins[1:]
        self.parts.append(part)

    def _gathered(self, chunks: Sequence[Chunk], begins: Sequence[int]) -> Part:
        found: dict[str, list[NDArray[Any]]] = {name: [] for chunk in chunks for name in chunk.columns}
        for chunk, begin in zip(chunks, begins, strict=True):
            codes = self.texts.codes(chunk.texts)
            for name, parts in found.items():
                column = chunk.columns.get(name)
                if column is None:
                    column = np.full(chunk.rows, NONE, np.uint32)
                elif is_text(name):
                    column = codes[column]
                elif name == "place":
                    column = column + begin * SPANS
                parts.append(column)
        columns = {name: np.concatenate(parts) for name, parts in found.items()}
        return Part(columns, self.texts, sum(chunk.rows for chunk in chunks))

    def whole(self, column: str) -> NDArray[Any]:
        """A column of all rows."""
        return np.concatenate([part[column] for part in self.parts])

    def words(self) -> NDArray[Any]:
        """The texts, by their numbers."""
        return np.array(list(self.texts), object)

    def blocks(self) -> BodyReader:
        """The blocks, as a file."""
        return BodyReader(self.bodies, self.begins)


class BodyReader:
    """Reads from a body that no block crosses the end of."""

    def __init__(self, bodies: Sequence[Body], begins: Sequence[int]) -> None:
        self._bodies, self._begins = bodies, begins
        self._body, self._at = b"", 0

    def seek(self, at: int, /) -> None:
        """Go to a byte, counted over all bodies."""
        number = bisect_right(self._begins, at) - 1
        self._body, self._at = self._bodies[number], at - self._begins[number]

    def read(self, size: int, /) -> bytes:
        """The next bytes."""
        found = self._body[self._at : self._at + size]
        self._at += size
        return found
