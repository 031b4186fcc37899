"""What a store does every few seconds: seal, forget, expire, merge, and look for damage."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import duckdb

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.store.blocks.block_meta import Held, runs
from foreshock_dashboard.store.blocks.block_store import Shelf
from foreshock_dashboard.store.group_commit import Commits
from foreshock_dashboard.store.health import Health
from foreshock_dashboard.store.limits import Retention, Sealing
from foreshock_dashboard.store.malloc_tuning import give_back
from foreshock_dashboard.store.samples.format import SampleTable, series_in
from foreshock_dashboard.store.samples.series import SeriesIndex
from foreshock_dashboard.store.spans.table import SpanTable
from foreshock_dashboard.store.wal import Inbox


class Upkeep:
    """Looks after both shelves and the inbox. One thread at a time; a second one finds nothing to do."""

    def __init__(
        self,
        samples: Shelf[SampleTable],
        spans: Shelf[SpanTable],
        index: SeriesIndex,
        engine: duckdb.DuckDBPyConnection,
        inbox: Inbox,
        commits: Commits,
        health: Health,
        now: Now,
        retention: Retention,
        sealing: Sealing,
    ) -> None:
        self.lock = threading.Lock()
        self.expired = 0
        self._samples, self._spans, self._index, self._engine = samples, spans, index, engine
        self._shelves: tuple[Shelf[Any], ...] = (samples, spans)
        self._inbox, self._commits, self._health, self._now = inbox, commits, health, now
        self._retention, self._sealing = retention, sealing
        self._forgettable: list[tuple[str, Held]] = []
        self._sealed = False

    def maintain(self) -> None:
        """Do what is due; failures are logged."""
        if not self.lock.acquire(blocking=False):
            return
        try:
            if self._commits.closed:
                return
            done = [self._done(step) for step in self._steps()]
            if all(done):
                self._health.recovered()
        finally:
            self.lock.release()

    def _steps(self) -> Iterator[Callable[[], object]]:
        """What upkeep does, in order. None waits for another's success: data ages though a merge fails."""
        for shelf in self._shelves:
            yield shelf.memory.flush
            yield partial(self.seal, shelf)
        yield self._forget
        yield self._let_go
        yield self._expire
        for shelf in self._shelves:
            yield from (shelf.merge, shelf.scrub, shelf.tidy)
        yield self._commits.probe

    def _done(self, step: Callable[[], object]) -> bool:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - outermost: whatever a step meets is told, and the others go on
            self._health.failed(error)
            return False
        return True

    def seal(self, shelf: Shelf[Any]) -> None:
        """Seal what was closed before, and then what is due now."""
        for _ in range(2):
            sealed = shelf.seal(partial(self._claim, shelf.form.kind))
            self._forgettable += [(shelf.form.kind, held) for held in sealed]
            self._sealed |= bool(sealed)
            if not shelf.memory.rotate(self._sealing.bytes, self._sealing.seconds):
                return

    def _claim(self, kind: str, numbers: list[int]) -> tuple[Held, ...]:
        """The stretches of the inbox that consist of these rows alone, so that no other is ever removed with them."""
        with self._commits.lock:
            present = self._inbox.numbers(kind, numbers[0], numbers[-1])
        return tuple(Held(self._inbox.identity, *run) for run in runs(numbers, present))

    def _forget(self) -> None:
        while self._forgettable:
            kind, held = self._forgettable[0]
            with self._commits.lock:
                self._inbox.forget(kind, held.first, held.last)
            del self._forgettable[0]

    def _let_go(self) -> None:
        """Series that are in segments alone need no number, and do not count for the limit; a table, no memory."""
        if self._sealed:
            since = self._index.turn()
            self._index.keep(series_in(self._samples.memory, self._engine), since)
            self._sealed = False
            give_back()

    def _expire(self) -> None:
        now = self._now()
        self.expired += self._samples.expire(round((now - self._retention.metrics) * 1e3))
        self.expired += self._spans.expire(round((now - self._retention.spans) * 1e9))
        while True:
            sizes = {shelf: sum(meta.bytes for meta in shelf.segments()) for shelf in self._shelves}
            if sum(sizes.values()) <= self._retention.bytes:
                return
            self.expired += max(sizes, key=lambda shelf: sizes[shelf]).shed()
