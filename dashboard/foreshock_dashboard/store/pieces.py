"""The pieces that a shelf is made of: tables in memory, segments on disk, and what a reader holds of both."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import duckdb
import numpy as np

from foreshock_dashboard.store.codec import Chunk
from foreshock_dashboard.store.segment import Meta


class Format(Protocol):
    """What a kind of data knows of itself."""

    kind: str
    columns: dict[str, str]
    day: int
    """A day in the kind's unit of time."""

    def write(self, cursor: duckdb.DuckDBPyConnection, table: str, folder: Path) -> tuple[str, ...]:
        """Write a table's rows as Parquet below `folder`, sorted; gives the metrics' names (none for spans)."""
        ...

    def merge(self, cursor: duckdb.DuckDBPyConnection, sources: list[Path], folder: Path) -> None:
        """Write the rows of several segments as one."""
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
