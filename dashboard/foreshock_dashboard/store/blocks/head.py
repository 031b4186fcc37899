"""What one kind has in memory: chunks that wait, and the table that they are moved into."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Generic

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.store.blocks.block import Format, T
from foreshock_dashboard.store.blocks.chunk import Chunk
from foreshock_dashboard.store.blocks.manifest import Roster

FLUSH_ROWS = 20_000
"""Rows that may wait outside a table: many small inserts cost ten times one large one."""


class Memory(Generic[T]):
    """Takes chunks in. Thread-safe."""

    def __init__(self, form: Format[T], roster: Roster[T], now: Now) -> None:
        self._form, self._roster, self._now = form, roster, now
        self._lock = roster.lock
        self._flushing = threading.RLock()
        self._pending: list[tuple[int, Chunk]] = []
        self._pending_rows = 0
        self._flush_at = FLUSH_ROWS
        roster.tables.append(form.create(now()))

    def accept(self, number: int, chunk: Chunk) -> None:
        """Take the rows of an inbox row for the next `flush`. Calls come in the order of `number`; none fails."""
        with self._lock:
            self._pending.append((number, chunk))
            self._pending_rows += chunk.rows

    def flush_many(self) -> None:
        """Flush if so much waits that it is worth it. Once that failed, it is not before as much more waits."""
        with self._lock:
            many = self._pending_rows >= self._flush_at
            if many:
                self._flush_at = self._pending_rows + FLUSH_ROWS
        if many:
            self.flush()

    def flush(self) -> None:
        """Move what waits into the table.

        Raises:
            duckdb.Error, MemoryError: it could not be moved; what was not goes on waiting.
        """
        with self._flushing:
            while self._flush_some():
                pass

    def _flush_some(self) -> bool:
        """Move some `FLUSH_ROWS`, so that one insert is never large; tells whether there were any.

        What waits is let go of only once it is in the table, and nothing in between can fail.
        """
        with self._lock:
            waiting = self._pending[: self._some()]
            table = self._roster.tables[-1]
        if not waiting:
            return False
        numbers = [number for number, _ in waiting]
        chunks = [chunk for _, chunk in waiting if chunk.rows]
        now = self._now()
        if chunks:
            self._form.put(table, chunks)
        with self._lock:
            if not table.numbers:
                table.opened = now
            table.count(numbers, chunks)
            del self._pending[: len(waiting)]
            self._pending_rows -= sum(chunk.rows for chunk in chunks)
            self._flush_at = FLUSH_ROWS
        return True

    def _some(self) -> int:
        """How many of those that wait have `FLUSH_ROWS` together."""
        rows = 0
        for at, (_, chunk) in enumerate(self._pending, 1):
            rows += chunk.rows
            if rows >= FLUSH_ROWS:
                return at
        return len(self._pending)

    def rotate(self, largest: int, oldest: float) -> bool:
        """Close the table where it has `largest` bytes or is `oldest` seconds old; one closed at most waits.

        What still waits outside counts for the size: where it does not fit in, sealing makes the room.
        """
        with self._flushing:
            with self._lock:
                tables = self._roster.tables
                table = tables[-1]
                size = table.bytes + sum(chunk.bytes for _, chunk in self._pending)
                ripe = bool(table.numbers) and (size >= largest or self._now() - table.opened >= oldest)
                alone = len(tables) == 1
            if ripe and alone:
                fresh = self._form.create(self._now())
                with self._lock:
                    self._roster.tables.append(fresh)
            return ripe

    def closed(self) -> T | None:
        """The table that is to be sealed, if there is one."""
        with self._lock:
            return self._roster.tables[0] if len(self._roster.tables) > 1 else None

    # --- facts

    @contextmanager
    def standing(self) -> Iterator[tuple[Sequence[Chunk], Sequence[T]]]:
        """The same while nothing moves from chunks into tables."""
        with self._flushing:
            yield self.contents()

    def contents(self) -> tuple[Sequence[Chunk], Sequence[T]]:
        """The chunks that wait, and the tables, at one moment."""
        with self._lock:
            return [chunk for _, chunk in self._pending if chunk.rows], list(self._roster.tables)

    def hot(self) -> tuple[int, int, int | None]:
        """Rows, their bytes (roughly), and their earliest time."""
        with self._lock:
            held = [chunk for _, chunk in self._pending if chunk.rows]
            filled = [table for table in self._roster.tables if table.rows]
            found = [(p.rows, p.bytes, p.start) for p in held] + [(t.rows, t.bytes, t.start) for t in filled]
        return sum(row[0] for row in found), sum(row[1] for row in found), min((row[2] for row in found), default=None)
