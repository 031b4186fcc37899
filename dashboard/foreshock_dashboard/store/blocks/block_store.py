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

import duckdb

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.store.blocks.block_dir import Block, BlockDir
from foreshock_dashboard.store.blocks.block_meta import BlockMeta, WalRange, compaction_candidates, merged_meta
from foreshock_dashboard.store.blocks.disk import DamagedBlock, Disk, StoreError
from foreshock_dashboard.store.blocks.format import BlockFormat, T
from foreshock_dashboard.store.blocks.head import Head
from foreshock_dashboard.store.blocks.limits import StoreLimits
from foreshock_dashboard.store.blocks.manifest import Manifest, Snapshot

BLOCKS_PER_COMPACTION = 6
"""Blocks of one level merged into one of the next level: two-minute blocks become twelve minutes, and so on."""


class BlockStore(Generic[T]):
    """Head and blocks of one kind. Thread-safe, but blocks are cut and compacted by one thread at a time."""

    def __init__(self, root: Path, block_format: BlockFormat[T], disk: Disk, now: Now, limits: StoreLimits) -> None:
        self.block_format, self.root = block_format, root
        self.block_dir = BlockDir(root, block_format.kind, disk)
        self.manifest: Manifest[T] = Manifest(self._remove)
        self._max_compacted_bytes = limits.max_compacted_bytes
        self.head = Head(block_format, self.manifest, now, limits)
        self._next_sequence = 1

    def load(self) -> list[WalRange]:
        """Load the blocks on disk. Return the WAL records that they hold."""
        self.manifest.blocks, self._next_sequence = self.block_dir.load()
        return self.wal_ranges()

    def wal_ranges(self) -> list[WalRange]:
        """Return the WAL records that the blocks hold, in order of arrival."""
        return [held for meta in self.blocks() for held in meta.wal_ranges]

    def blocks(self) -> list[BlockMeta]:
        """Return the metadata of the blocks on disk, in order of arrival."""
        with self.manifest.lock:
            return [block.meta for block in self.manifest.blocks]

    # --- reading

    @contextmanager
    def snapshot(self, start: int, end: int) -> Iterator[Snapshot[T]]:
        """Give the blocks and head tables that overlap start … end, without damaged blocks, which are quarantined.

        Raises StoreError if a block cannot be read for now. After a failure inside, the blocks are verified again.
        """
        self.head.flush()
        while True:
            snapshot = self.manifest.acquire(start, end)
            try:
                sound = all(self._sound(block) for block in snapshot.blocks)
            except BaseException:
                self.manifest.release(snapshot)
                raise
            if sound:
                break
            self.manifest.release(snapshot)
        try:
            yield snapshot
        except (StoreError, OSError, duckdb.Error):
            for block in snapshot.blocks:  # it may be damaged since it was verified
                block.verified = False
            raise
        finally:
            self.manifest.release(snapshot)

    def _sound(self, block: Block) -> bool:
        """Whether a block matches its checksums; a damaged one is quarantined.

        Raises StoreError if that is impossible for now. The block then stays in the manifest, so that neither a query
        nor a compaction passes over it.
        """
        with block.verifying:
            try:
                self.block_dir.verify(block)
            except DamagedBlock as damage:
                if self.manifest.lists(block):
                    self.block_dir.quarantine(block.folder, str(damage))
                    self.manifest.forget(block)
                return False
        return True

    # --- compaction

    def cut_block(self, claim: Callable[[list[int]], tuple[WalRange, ...]]) -> tuple[WalRange, ...]:
        """Write the closed head table, if any, as a block. Return the WAL records that the block holds.

        `claim` returns the ranges of the WAL that consist of the given record ids alone. Raises OSError, duckdb.Error,
        or sqlite3.Error if the block could not be written; the table stays in memory.
        """
        table = self.head.closed_table()
        if table is None:
            return ()
        wal_ranges, block = claim(table.record_ids), None
        if table.rows:
            staging, kind = self.block_dir.staging(), self.block_format.kind
            rows, metrics = self.block_format.write(table, staging)
            sequences = (self._next_sequence, self._next_sequence)
            meta = BlockMeta(kind, sequences, 0, rows, table.start, table.end, wal_ranges, metrics)
            block = self.block_dir.publish(staging, meta)
            self._next_sequence += 1
        self.manifest.replace([table], block)
        return wal_ranges

    def compact(self) -> bool:
        """Merge neighboring blocks if enough have gathered. Return whether it did. If it fails, the old blocks stay."""
        with self.manifest.lock:
            blocks = {block.meta.name: block for block in self.manifest.blocks}
        metas = [block.meta for block in blocks.values()]
        run = compaction_candidates(
            metas, BLOCKS_PER_COMPACTION, self._max_compacted_bytes, 86_400 * self.block_format.second
        )
        old = [blocks[meta.name] for meta in run]
        if not old or not all(self._sound(block) for block in old):
            return False
        staging = self.block_dir.staging()
        rows = self.block_format.merge([block.folder for block in old], staging)
        self.manifest.replace(old, self.block_dir.publish(staging, replace(merged_meta(run), rows=rows)))
        return True

    def newest(self) -> int | None:
        """Return the latest time of any row, in the kind's unit; None without rows."""
        times = [meta.end for meta in self.blocks()]
        if (in_head := self.head.usage().end) is not None:
            times.append(in_head)
        return max(times, default=None)

    def expire(self, before: int) -> int:
        """Remove the blocks that end before a time. Return their number."""
        with self.manifest.lock:
            old = [block for block in self.manifest.blocks if block.meta.end < before]
        self.manifest.replace(old)
        return len(old)

    def drop_oldest(self) -> int:
        """Remove the block with the earliest end. Return the number of removed blocks."""
        with self.manifest.lock:
            old = sorted(self.manifest.blocks, key=lambda block: block.meta.end)[:1]
        self.manifest.replace(old)
        return len(old)

    def scrub(self) -> None:
        """Verify one block that has not been verified yet."""
        with self.manifest.lock:
            unverified = next((block for block in self.manifest.blocks if not block.verified), None)
        if unverified is not None:
            self._sound(unverified)

    def _remove(self, part: Block | T) -> None:
        if isinstance(part, Block):
            self.block_dir.remove(part)
        else:
            self.block_format.drop(part)
