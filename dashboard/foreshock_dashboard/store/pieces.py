"""The pieces that a shelf is made of: tables in memory, segments on disk, and what a reader holds of both."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import duckdb
import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.store.chunk import SPANS, Body, Chunk, Columns
from foreshock_dashboard.store.segment import Meta


class Format(Protocol):
    """What a kind of data knows of itself."""

    kind: str
    columns: dict[str, str]
    day: int
    """A day in the kind's unit of time."""

    def write(self, cursor: duckdb.DuckDBPyConnection, table: Table, folder: Path) -> tuple[int, tuple[str, ...]]:
        """Write a table's rows as Parquet below `folder`, sorted; gives how many, and metrics' names (of samples)."""
        ...

    def merge(self, cursor: duckdb.DuckDBPyConnection, sources: list[Path], folder: Path) -> int:
        """Write the rows of several segments as one; gives how many."""
        ...


@dataclass(eq=False, slots=True)
class Table:
    """A piece in memory."""

    name: str
    opened: float
    rows: int = 0
    bytes: int = 0
    start: int = 0
    end: int = 0
    numbers: list[int] = field(default_factory=list)
    """The inbox rows in it, ascending."""
    readers: int = 0
    gone: bool = False
    metrics: set[int] = field(default_factory=set)
    """Samples only: the metrics' numbers."""
    bodies: list[Body] = field(default_factory=list)
    """Spans only: the chunks' bodies; the first begins at `base`, counted as places are."""
    base: int = 0
    reach: int = 0
    """Where the next body begins, counted as places are."""

    def add(self, numbers: list[int], chunks: list[Chunk], metrics: list[int]) -> None:
        """Count requests in; `chunks` are those of them that have rows."""
        starts, ends = [chunk.start for chunk in chunks], [chunk.end for chunk in chunks]
        if self.rows:
            starts, ends = [*starts, self.start], [*ends, self.end]
        self.numbers += numbers
        self.start, self.end = min(starts, default=0), max(ends, default=0)
        self.rows += sum(chunk.rows for chunk in chunks)
        self.bytes += sum(chunk.bytes for chunk in chunks)
        self.metrics.update(metrics)
        self.bodies += [chunk.body for chunk in chunks if chunk.body]
        self.reach += sum(len(chunk.body) for chunk in chunks)


def gathered(chunks: Sequence[Chunk], reach: int) -> Columns:
    """The columns of chunks that have rows, one behind the other; what a chunk lacks is null there.

    Places count from `reach` on.
    """
    parts: dict[str, list[NDArray[Any]]] = {name: [] for chunk in chunks for name in chunk.columns}
    for chunk in chunks:
        for name, found in parts.items():
            column = chunk.columns.get(name)
            if column is None:
                column = np.full(chunk.rows, None, object)
            found.append(column + (reach * SPANS) if name == "place" else column)
        reach += len(chunk.body)
    return {name: np.concatenate(found) for name, found in parts.items()}


def metrics_of(chunk: Chunk) -> list[int]:
    """Samples only: the metrics' numbers."""
    return np.unique(chunk.columns["metric"]).tolist() if "metric" in chunk.columns else []


@dataclass(eq=False, slots=True)
class Segment:
    """A piece on disk."""

    folder: Path
    meta: Meta
    verified: bool = False
    readers: int = 0
    gone: bool = False
    checking: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class Pieces:
    """What a reader holds, oldest first."""

    segments: tuple[Segment, ...]
    tables: tuple[Table, ...]

    def all(self) -> tuple[Segment | Table, ...]:
        """Both."""
        return (*self.segments, *self.tables)


def written(copied: duckdb.DuckDBPyConnection) -> int:
    """How many rows a COPY wrote."""
    found = copied.fetchone()
    return int(found[0]) if found else 0
