"""The interface between the generic block store and one kind of data (samples or spans)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]
Body = bytes  # `bytes` is a field of the classes below


@dataclass(frozen=True, slots=True)
class RowBatch:
    """The rows of one WAL record, as columns of equal length.

    start, end: earliest and latest time, in the kind's unit (ms for samples, ns for spans).
    bytes: approximate memory of the rows. refused: rows that were not accepted.
    symbols: spans only: the strings that the integers of text columns refer to (see `SymbolTable`).
    body: spans only: the chunks that hold the spans, as in the WAL record.
    """

    columns: Columns
    rows: int
    start: int
    end: int
    bytes: int
    refused: int = 0
    symbols: Sequence[str | None] = ()
    body: Body = b""


@dataclass(eq=False, slots=True)
class HeadTable:
    """Rows in memory that become one block. Subclasses add the storage of the rows."""

    created: float
    """Unix seconds; reset when the first row arrives."""
    rows: int = 0
    bytes: int = 0
    start: int = 0
    end: int = 0
    record_ids: list[int] = field(default_factory=list)
    """Ids of the WAL records in the table, ascending."""
    readers: int = 0
    obsolete: bool = False
    """No longer in the manifest; dropped after its last reader."""

    def count(self, record_ids: list[int], batches: Sequence[RowBatch]) -> None:
        """Update ids, time range and sizes for inserted records; `batches` are the non-empty ones."""
        starts, ends = [batch.start for batch in batches], [batch.end for batch in batches]
        if self.rows:
            starts, ends = [*starts, self.start], [*ends, self.end]
        self.record_ids += record_ids
        self.start, self.end = min(starts, default=0), max(ends, default=0)
        self.rows += sum(batch.rows for batch in batches)
        self.bytes += sum(batch.bytes for batch in batches)


T = TypeVar("T", bound=HeadTable)


class BlockFormat(ABC, Generic[T]):
    """How one kind of data is held in memory and written to blocks."""

    kind: str
    second: int
    """Length of a second in the kind's unit of time."""

    @abstractmethod
    def create(self, now: float) -> T:
        """Return an empty table."""

    @abstractmethod
    def insert(self, table: T, batches: Sequence[RowBatch]) -> None:
        """Add the rows of non-empty batches to a table. Raises duckdb.Error or MemoryError if no row was added."""

    @abstractmethod
    def drop(self, table: T) -> None:
        """Free a table's memory."""

    @abstractmethod
    def write(self, table: T, folder: Path) -> tuple[int, tuple[str, ...]]:
        """Write a table's rows, sorted, below `folder`. Return the number of rows and (samples only) metric names."""

    @abstractmethod
    def merge(self, sources: list[Path], folder: Path) -> int:
        """Write the rows of several blocks as one block. Return the number of rows."""
