"""Spans in the head: immutable parts of numeric columns, and the chunks that hold the spans.

Texts are refs into the table's own symbol table. They become strings when a block is written; searches compare refs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.store.blocks.format import Columns, HeadTable, RowBatch
from foreshock_dashboard.store.spans.chunks import CHUNK_SPANS
from foreshock_dashboard.store.spans.columns import NO_SYMBOL, SymbolTable, is_text

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TablePart:
    """Some rows of a table. A text column without any text is missing from `columns`."""

    columns: Columns
    symbols: SymbolTable
    rows: int

    def __getitem__(self, column: str) -> NDArray[Any]:
        """Return a column."""
        present = self.columns.get(column)
        return np.full(self.rows, NO_SYMBOL, np.uint32) if present is None else present

    def equals(self, column: str, text: str) -> Mask:
        """Mask of the rows with this text in a text column."""
        refs, ref = self.columns.get(column), self.symbols.get(text)
        return np.zeros(self.rows, np.bool_) if refs is None or ref is None else refs == ref


@dataclass(eq=False, slots=True)
class SpanTable(HeadTable):
    """A head table of spans. One thread at a time inserts; any thread reads."""

    symbols: SymbolTable = field(default_factory=SymbolTable)
    parts: list[TablePart] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    """Chunks of each WAL record."""
    offsets: list[int] = field(default_factory=lambda: [0])
    """Start of each body in their concatenation, and of the next one."""

    def insert(self, batches: Sequence[RowBatch]) -> None:
        """Add batches."""
        offsets = list(accumulate((len(batch.body) for batch in batches), initial=self.offsets[-1]))
        part = self._part(batches, offsets[:-1])
        self.bodies += [batch.body for batch in batches]
        self.offsets += offsets[1:]
        self.parts.append(part)

    def _part(self, batches: Sequence[RowBatch], offsets: Sequence[int]) -> TablePart:
        arrays: dict[str, list[NDArray[Any]]] = {name: [] for batch in batches for name in batch.columns}
        for batch, offset in zip(batches, offsets, strict=True):
            refs = self.symbols.refs(batch.symbols)
            for name, of_column in arrays.items():
                column = batch.columns.get(name)
                if column is None:
                    column = np.full(batch.rows, NO_SYMBOL, np.uint32)
                elif is_text(name):
                    column = refs[column]
                elif name == "place":
                    column = column + offset * CHUNK_SPANS
                of_column.append(column)
        columns = {name: np.concatenate(of_column) for name, of_column in arrays.items()}
        return TablePart(columns, self.symbols, sum(batch.rows for batch in batches))

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of all rows."""
        return np.concatenate([part[name] for part in self.parts])

    def texts(self) -> NDArray[Any]:
        """Return the texts by ref."""
        return np.array(list(self.symbols), object)

    def chunks(self) -> ChunkReader:
        """Return the chunks as a file."""
        return ChunkReader(self.bodies, self.offsets)


class ChunkReader:
    """Reads the concatenation of bodies. No read crosses the end of a body, as no chunk does."""

    def __init__(self, bodies: Sequence[bytes], offsets: Sequence[int]) -> None:
        self._bodies, self._offsets = bodies, offsets
        self._body, self._position = b"", 0

    def seek(self, offset: int, /) -> None:
        """Move to a byte offset in the concatenation."""
        number = bisect_right(self._offsets, offset) - 1
        self._body, self._position = self._bodies[number], offset - self._offsets[number]

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        data = self._body[self._position : self._position + size]
        self._position += size
        return data
