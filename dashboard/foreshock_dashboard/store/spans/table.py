"""Spans in the head: the columns by which they are searched, in immutable parts, and the chunks that hold the spans.

Texts are refs into the table's own symbol table. They become strings when a block is written; searches compare refs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.span import Kind, Status
from foreshock_dashboard.model.types import Bools
from foreshock_dashboard.store.blocks.format import Columns, HeadTable, RowBatch
from foreshock_dashboard.store.spans.chunks import CHUNK_SPANS

KINDS: tuple[Kind, ...] = ("internal", "server", "client", "producer", "consumer")
STATUSES: tuple[Status, ...] = ("unset", "ok", "error")

_NUMBER_COLUMNS = ("trace_hi", "trace_lo", "span", "root", "kind", "status", "start_ns", "end_ns", "place")
_TEXT_COLUMNS = ("name", "namespace", "service")
_ATTRIBUTE_PREFIX = "a:"


def span_columns(keys: Collection[str]) -> tuple[str, ...]:
    """Return the possible columns of spans that are searched by the attributes `keys`."""
    return (*_NUMBER_COLUMNS, *_TEXT_COLUMNS, *map(column_of, keys))


def column_of(key: str) -> str:
    """Return the column of an attribute."""
    return f"{_ATTRIBUTE_PREFIX}{key}"


def is_attribute(column: str) -> bool:
    """Whether a column holds an attribute."""
    return column.startswith(_ATTRIBUTE_PREFIX)


def is_text(column: str) -> bool:
    """Whether a column holds text."""
    return column in _TEXT_COLUMNS or is_attribute(column)


SymbolRefs = NDArray[np.uint32]
NO_SYMBOL = 0
"""Ref of a missing text."""


class SymbolTable(dict[str | None, int]):
    """Maps texts to integers, as most spans share a few texts. `[]` adds a missing text; `list(table)[ref]` is it."""

    def __init__(self) -> None:
        super().__init__({None: NO_SYMBOL})

    def __missing__(self, text: str | None) -> int:
        ref = self[text] = len(self)
        return ref

    def refs(self, texts: Sequence[str | None]) -> SymbolRefs:
        """Return the ref of each text."""
        return np.fromiter(map(self.__getitem__, texts), np.uint32, len(texts))


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

    def equals(self, column: str, text: str) -> Bools:
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

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes at an offset of the concatenated bodies; no chunk crosses the end of a body."""
        number = bisect_right(self.offsets, offset) - 1
        position = offset - self.offsets[number]
        return self.bodies[number][position : position + size]
