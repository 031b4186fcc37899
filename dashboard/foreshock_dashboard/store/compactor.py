"""The compactor: cut blocks from the heads, truncate the WAL, apply retention, merge and verify blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import duckdb

from foreshock_dashboard.common.process import trim_malloc
from foreshock_dashboard.store.blocks.block_meta import WalRange, contiguous_ranges
from foreshock_dashboard.store.blocks.block_store import BlockStore
from foreshock_dashboard.store.group_commit import GroupCommit
from foreshock_dashboard.store.health import Health
from foreshock_dashboard.store.retention import Retention, expire
from foreshock_dashboard.store.samples.format import SampleTable, series_in
from foreshock_dashboard.store.samples.series_index import SeriesIndex
from foreshock_dashboard.store.spans.table import SpanTable
from foreshock_dashboard.store.trusted_clock import TrustedClock
from foreshock_dashboard.store.wal import Wal

MAX_UNMERGED_BLOCKS = 60
"""New blocks of a kind that wait for memory before they are merged: those of two hours without load."""


class Compactor:
    """Maintains both block stores and the WAL. One thread at a time; a concurrent call returns at once."""

    def __init__(
        self,
        *,
        lock: threading.Lock,
        samples: BlockStore[SampleTable],
        spans: BlockStore[SpanTable],
        index: SeriesIndex,
        engine: duckdb.DuckDBPyConnection,
        wal: Wal,
        commits: GroupCommit,
        health: Health,
        clock: TrustedClock,
        retention: Retention,
    ) -> None:
        self.lock = lock
        self.expired = 0
        self._samples, self._spans, self._index, self._engine = samples, spans, index, engine
        self._stores: tuple[BlockStore[Any], ...] = (samples, spans)
        self._wal, self._commits, self._health = wal, commits, health
        self._clock, self._retention = clock, retention
        self._truncatable: list[tuple[str, WalRange]] = []
        self._series_unused = False

    def maintain(self, *, early: bool, merge: bool = True) -> None:
        """Run all steps once. Failures are recorded in `Health`.

        early: cut smaller blocks, to free memory. merge: whether there is memory to merge blocks. Without, they wait.
        """
        if not self.lock.acquire(blocking=False):
            return
        try:
            if self._commits.closed or not self._commits.check_place():
                return
            succeeded = [self._run(step) for step in self._steps(early, merge)]
            if all(succeeded):
                self._health.recovered()
        finally:
            self.lock.release()

    def _steps(self, early: bool, merge: bool) -> Iterator[Callable[[], object]]:
        """Yield the steps in order. Each runs even if another one failed: data expires although a merge fails."""
        for store in self._stores:
            yield store.head.flush
            yield partial(self.cut_blocks, store, early=early)
        yield self._truncate_wal
        yield self._collect_series
        yield self._apply_retention
        for store in self._stores:
            if merge or sum(meta.level == 0 for meta in store.blocks()) > MAX_UNMERGED_BLOCKS:
                yield store.compact
            yield from (store.scrub, store.manifest.clean_tombstones)
        yield self._commits.probe

    def _run(self, step: Callable[[], object]) -> bool:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - outermost handler: the error is recorded and the next step runs
            self._health.failed(error)
            return False
        return True

    def cut_blocks(self, store: BlockStore[Any], *, early: bool = False) -> None:
        """Cut a block from the table that was closed before, then from the current table if it is due."""
        kind = store.block_format.kind
        for _ in range(2):
            wal_ranges = store.cut_block(partial(self._claim, kind))
            self._truncatable += [(kind, wal_range) for wal_range in wal_ranges]
            self._series_unused |= bool(wal_ranges)
            if not store.head.rotate(early=early):
                return

    def _claim(self, kind: str, record_ids: list[int]) -> tuple[WalRange, ...]:
        """Return the ranges of the WAL that consist of these records alone, so that no other one is deleted."""
        with self._commits.lock:
            present = self._wal.record_ids(kind, record_ids[0], record_ids[-1])
        return tuple(WalRange(self._wal.identity, *ids) for ids in contiguous_ranges(record_ids, present))

    def _truncate_wal(self) -> None:
        while self._truncatable:
            kind, wal_range = self._truncatable[0]
            with self._commits.lock:
                self._wal.truncate(kind, wal_range.first, wal_range.last)
            del self._truncatable[0]

    def _collect_series(self) -> None:
        """After a cut, remove series that are in blocks only from the index, and return freed memory.

        Those used since the cut before it stay: their next scrape would take new refs, or find a full index.
        """
        if self._series_unused:
            epoch = self._index.next_epoch()
            self._index.collect(series_in(self._samples.head, self._engine), epoch - 1)
            self._series_unused = False
            trim_malloc()

    def _apply_retention(self) -> None:
        for blocks in expire(self._samples, self._spans, self._retention, self._clock):
            self.expired += blocks
