"""All data of one kind: the head in memory and the blocks on disk.

Every row is in exactly one place at any moment. A query reads a snapshot of all places. Replaced and expired blocks are
removed after their last reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Generic

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.store.blocks.block_dir import Block, BlockDir
from foreshock_dashboard.store.blocks.block_meta import BlockMeta, WalRange, compaction_candidates, merged_meta
from foreshock_dashboard.store.blocks.disk import Disk
from foreshock_dashboard.store.blocks.errors import DamagedBlock
from foreshock_dashboard.store.blocks.format import BlockFormat, T
from foreshock_dashboard.store.blocks.head import FLUSH_ROWS, Head
from foreshock_dashboard.store.blocks.manifest import Manifest, Snapshot

BLOCKS_PER_COMPACTION = 6
"""Blocks of one level merged into one of the next level: two-minute blocks become twelve minutes, and so on."""
MAX_COMPACTED_BYTES = 96 << 20


class BlockStore(Generic[T]):
    """Head and blocks of one kind. Thread-safe, but blocks are cut and compacted by one thread at a time.

    Args:
        flush_rows: rows gathered before an insert into the head's table.
    """

    def __init__(
        self, root: Path, block_format: BlockFormat[T], disk: Disk, now: Now, flush_rows: int = FLUSH_ROWS
    ) -> None:
        self.block_format, self.root = block_format, root
        self.block_dir = BlockDir(root, block_format.kind, disk)
        self._manifest: Manifest[T] = Manifest(self._remove)
        self.head = Head(block_format, self._manifest, now, flush_rows)
        self._next_sequence = 1

    def load(self, wal: str) -> list[WalRange]:
        """Load the blocks on disk. Return the records of a WAL (by its identity) that they hold."""
        self._manifest.blocks, self._next_sequence = self.block_dir.load()
        return [held for meta in self.blocks() for held in meta.wal_ranges if held.wal == wal]

    def blocks(self) -> list[BlockMeta]:
        """Return the metadata of the blocks on disk, in order of arrival."""
        with self._manifest.lock:
            return [block.meta for block in self._manifest.blocks]

    # --- reading

    @contextmanager
    def snapshot(self, start: int, end: int) -> Iterator[Snapshot[T]]:
        """Give the blocks and head tables that overlap start … end, without damaged blocks, which are quarantined."""
        self.head.flush()
        while True:
            snapshot = self._manifest.acquire(start, end)
            if all(self._sound(block) for block in snapshot.blocks):
                break
            self._manifest.release(snapshot)
        try:
            yield snapshot
        finally:
            self._manifest.release(snapshot)

    def _sound(self, block: Block) -> bool:
        """Whether a block matches its checksums; a damaged one is quarantined."""
        with block.verifying:
            try:
                self.block_dir.verify(block)
            except DamagedBlock as damage:
                if self._manifest.forget(block):
                    self.block_dir.quarantine(block.folder, str(damage))
                return False
        return True

    # --- compaction

    def cut_block(self, claim: Callable[[list[int]], tuple[WalRange, ...]]) -> tuple[WalRange, ...]:
        """Write the closed head table, if any, as a block. Return the WAL records that the block holds.

        Args:
            claim: returns the ranges of the WAL that consist of the given record ids alone.

        Raises:
            OSError, duckdb.Error, sqlite3.Error: the block could not be written; the table stays in memory.
        """
        table = self.head.closed_table()
        if table is None:
            return ()
        wal_ranges = claim(table.record_ids)
        self._manifest.replace([table], self._write(table, wal_ranges) if table.rows else None)
        return wal_ranges

    def _write(self, table: T, wal_ranges: tuple[WalRange, ...]) -> Block:
        staging = self.block_dir.staging()
        rows, metrics = self.block_format.write(table, staging)
        sequences = (self._next_sequence, self._next_sequence)
        meta = BlockMeta(
            self.block_format.kind, sequences, 0, rows, table.start, table.end, wal_ranges, metrics=metrics
        )
        block = self.block_dir.publish(staging, meta)
        self._next_sequence += 1
        return block

    def compact(self) -> bool:
        """Merge neighboring blocks if enough have gathered. Return whether it did.

        Raises:
            OSError, duckdb.Error: the merged block could not be written; the old blocks stay.
        """
        with self._manifest.lock:
            blocks = {block.meta.name: block for block in self._manifest.blocks}
        metas = [block.meta for block in blocks.values()]
        run = compaction_candidates(metas, BLOCKS_PER_COMPACTION, MAX_COMPACTED_BYTES, self.block_format.day)
        old = [blocks[meta.name] for meta in run]
        if not old or not all(self._sound(block) for block in old):
            return False
        staging = self.block_dir.staging()
        rows = self.block_format.merge([block.folder for block in old], staging)
        self._manifest.replace(old, self.block_dir.publish(staging, replace(merged_meta(run), rows=rows)))
        return True

    def expire(self, before: int) -> int:
        """Remove the blocks that end before a time. Return their number."""
        with self._manifest.lock:
            old = [block for block in self._manifest.blocks if block.meta.end < before]
        self._manifest.replace(old)
        return len(old)

    def drop_oldest(self) -> int:
        """Remove the block with the earliest end. Return the number of removed blocks."""
        with self._manifest.lock:
            old = sorted(self._manifest.blocks, key=lambda block: block.meta.end)[:1]
        self._manifest.replace(old)
        return len(old)

    def scrub(self) -> None:
        """Verify one block that has not been verified yet."""
        with self._manifest.lock:
            unverified = next((block for block in self._manifest.blocks if not block.verified), None)
        if unverified is not None:
            self._sound(unverified)

    def clean_tombstones(self) -> None:
        """Retry failed removals.

        Raises:
            OSError, duckdb.Error: the removal failed again.
        """
        self._manifest.clean_tombstones()

    def _remove(self, part: Block | T) -> None:
        if isinstance(part, Block):
            self.block_dir.remove(part)
        else:
            self.block_format.drop(part)
