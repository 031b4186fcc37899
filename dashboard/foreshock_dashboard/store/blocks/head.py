"""The head: recent data of one kind in memory, in pending batches and in tables."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, NamedTuple

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.store.blocks.format import BlockFormat, RowBatch, T
from foreshock_dashboard.store.blocks.limits import StoreLimits
from foreshock_dashboard.store.blocks.manifest import Manifest


class HeadUsage(NamedTuple):
    """Rows in the head, their approximate bytes, and their earliest and latest time (None if there are none)."""

    rows: int
    bytes: int
    start: int | None
    end: int | None


class Head(Generic[T]):
    """Accepts row batches and moves them into tables. Thread-safe."""

    def __init__(self, block_format: BlockFormat[T], manifest: Manifest[T], now: Now, limits: StoreLimits) -> None:
        self._block_format, self._manifest, self._now, self._limits = block_format, manifest, now, limits
        self._lock = manifest.lock
        self._flushing = threading.RLock()
        self._pending: list[tuple[int, RowBatch]] = []
        self._pending_rows = 0
        self._flush_at = limits.flush_rows
        manifest.tables.append(block_format.create(now()))

    def append(self, record_id: int, batch: RowBatch) -> None:
        """Take the rows of a WAL record. Calls come in the order of `record_id`. Never fails."""
        with self._lock:
            self._pending.append((record_id, batch))
            self._pending_rows += batch.rows

    def flush_if_due(self) -> None:
        """Flush if enough rows are pending. After a failure, wait for another `flush_rows` rows."""
        with self._lock:
            due = self._pending_rows >= self._flush_at
            if due:
                self._flush_at = self._pending_rows + self._limits.flush_rows
        if due:
            self.flush()

    def flush(self) -> None:
        """Move all pending rows into the current table. If an insert fails, the remaining rows stay pending."""
        with self._flushing:
            while self._flush_some():
                pass

    def _flush_some(self) -> bool:
        """Move about `flush_rows` rows, which bounds the size of an insert. Return whether any were pending.

        Rows leave the pending list only after the insert; nothing between the two steps can fail.
        """
        with self._lock:
            moved = self._pending[: self._flush_count()]
            table = self._manifest.tables[-1]
        if not moved:
            return False
        record_ids = [record_id for record_id, _ in moved]
        batches = [batch for _, batch in moved if batch.rows]
        now = self._now()
        if batches:
            self._block_format.insert(table, batches)
        with self._lock:
            if not table.record_ids:
                table.created = now
            table.count(record_ids, batches)
            del self._pending[: len(moved)]
            self._pending_rows -= sum(batch.rows for batch in batches)
            self._flush_at = self._limits.flush_rows
        return True

    def _flush_count(self) -> int:
        """Number of pending batches that together have `flush_rows` rows."""
        rows = 0
        for count, (_, batch) in enumerate(self._pending, 1):
            rows += batch.rows
            if rows >= self._limits.flush_rows:
                return count
        return len(self._pending)

    def rotate(self, *, early: bool = False) -> bool:
        """Close the current table if it has the size or the age of a block, or `early` a quarter of the size.

        Return whether it has.

        Only one closed table exists at a time. Pending rows count for the size: if they do not fit into the table,
        cutting a block makes room.
        """
        with self._flushing:
            with self._lock:
                tables = self._manifest.tables
                table = tables[-1]
                size = table.bytes + sum(batch.bytes for _, batch in self._pending)
                age = self._now() - table.created
                enough = self._limits.block_bytes // 4 if early else self._limits.block_bytes
                due = bool(table.record_ids) and (size >= enough or age >= self._limits.block_seconds)
                single = len(tables) == 1
            if due and single:
                new = self._block_format.create(self._now())
                with self._lock:
                    self._manifest.tables.append(new)
            return due

    def closed_table(self) -> T | None:
        """Return the table to cut a block from, if any."""
        with self._lock:
            return self._manifest.tables[0] if len(self._manifest.tables) > 1 else None

    # --- contents

    @contextmanager
    def paused(self) -> Iterator[tuple[Sequence[RowBatch], Sequence[T]]]:
        """Give `contents` and hold flushes until the end of the block."""
        with self._flushing:
            yield self.contents()

    def contents(self) -> tuple[Sequence[RowBatch], Sequence[T]]:
        """Return the non-empty pending batches and the tables, as of one moment."""
        with self._lock:
            return [batch for _, batch in self._pending if batch.rows], list(self._manifest.tables)

    def usage(self) -> HeadUsage:
        """Return the size of the head."""
        with self._lock:
            batches = [batch for _, batch in self._pending if batch.rows]
            tables = [table for table in self._manifest.tables if table.rows]
            parts: list[RowBatch | T] = [*batches, *tables]
            rows, size = sum(part.rows for part in parts), sum(part.bytes for part in parts)
            start = min((part.start for part in parts), default=None)
            return HeadUsage(rows, size, start, max((part.end for part in parts), default=None))
