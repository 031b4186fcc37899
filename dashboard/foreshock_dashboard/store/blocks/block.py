"""The pieces that a shelf is made of: tables in memory, segments on disk, and what a reader holds of both."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from foreshock_dashboard.store.blocks.block_meta import Meta
from foreshock_dashboard.store.blocks.chunk import Chunk


@dataclass(eq=False, slots=True)
class Table:
    """A piece in memory. What it keeps its rows in is its format's."""

    opened: float
    rows: int = 0
    bytes: int = 0
    start: int = 0
    end: int = 0
    numbers: list[int] = field(default_factory=list)
    """The inbox rows in it, ascending."""
    readers: int = 0
    gone: bool = False

    def count(self, numbers: list[int], chunks: Sequence[Chunk]) -> None:
        """Take note of requests that are in it now; `chunks` are those of them that have rows."""
        starts, ends = [chunk.start for chunk in chunks], [chunk.end for chunk in chunks]
        if self.rows:
            starts, ends = [*starts, self.start], [*ends, self.end]
        self.numbers += numbers
        self.start, self.end = min(starts, default=0), max(ends, default=0)
        self.rows += sum(chunk.rows for chunk in chunks)
        self.bytes += sum(chunk.bytes for chunk in chunks)


@dataclass(eq=False, slots=True)
class Segment:
    """A piece on disk."""

    folder: Path
    meta: Meta
    verified: bool = False
    readers: int = 0
    gone: bool = False
    checking: threading.Lock = field(default_factory=threading.Lock)


T = TypeVar("T", bound=Table)


class Format(Protocol[T]):
    """How one kind of data lies in memory and in segments."""

    kind: str
    day: int
    """A day in the kind's unit of time."""

    def create(self, now: float) -> T:
        """A table without rows."""
        ...

    def put(self, table: T, chunks: Sequence[Chunk]) -> None:
        """Add the rows of chunks, which have some, to a table.

        Raises:
            duckdb.Error, MemoryError: none of them was added.
        """
        ...

    def drop(self, table: T) -> None:
        """Let a table's memory go."""
        ...

    def write(self, table: T, folder: Path) -> tuple[int, tuple[str, ...]]:
        """Write a table's rows below `folder`, sorted; gives how many, and metrics' names (of samples)."""
        ...

    def merge(self, sources: list[Path], folder: Path) -> int:
        """Write the rows of several segments as one; gives how many."""
        ...


@dataclass(frozen=True, slots=True)
class Pieces(Generic[T]):
    """What a reader holds, oldest first."""

    segments: tuple[Segment, ...]
    tables: tuple[T, ...]

    def all(self) -> tuple[Segment | T, ...]:
        """Both."""
        return (*self.segments, *self.tables)
