"""The embedded store: what was accepted is kept, and answers queries at once."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

import duckdb

from foreshock_dashboard.clock import Now
from foreshock_dashboard.model.query import Matrix, Query
from foreshock_dashboard.model.samples import SampleBatch
from foreshock_dashboard.model.span import TRACE_KEYS, Span, TraceQuery, TraceSummary
from foreshock_dashboard.store.chunk import Chunk
from foreshock_dashboard.store.disk import Disk
from foreshock_dashboard.store.engine import connect
from foreshock_dashboard.store.errors import StoreError
from foreshock_dashboard.store.folder import disk_bytes, lock, prepare
from foreshock_dashboard.store.inbox import Inbox, salvage
from foreshock_dashboard.store.limits import PATIENCE, Retention, Sealing, StoreStats
from foreshock_dashboard.store.sample_codec import pack_samples, sample_chunk, unpack_samples
from foreshock_dashboard.store.samples import SampleFormat, SampleReader
from foreshock_dashboard.store.segment import Held, runs
from foreshock_dashboard.store.series import SeriesIndex
from foreshock_dashboard.store.shelf import Shelf
from foreshock_dashboard.store.span_codec import SpanCodec
from foreshock_dashboard.store.span_format import SpanFormat
from foreshock_dashboard.store.spans import SpanReader

log = logging.getLogger(__name__)

SPLIT = 5_000
"""Spans, or scrapes' samples, in one inbox row at most; a request may be several rows, kept together."""


class _Entry:
    """One append on its way to the disk."""

    __slots__ = ("chunks", "done", "error", "kind", "payloads")

    def __init__(self, kind: str, chunks: list[Chunk], payloads: list[bytes]) -> None:
        self.kind, self.chunks, self.payloads = kind, chunks, payloads
        self.done = False
        self.error: StoreError | None = None


class Store:
    """Implements `MetricSource` and `TraceSource`. Every method is thread-safe."""

    def __init__(
        self,
        path: Path,
        held: IO[str],
        now: Now,
        retention: Retention,
        sealing: Sealing,
        memory_limit: str,
        threads: int,
        max_series: int,
        disk: Disk,
        max_inbox_pages: int | None,
        trace_keys: Sequence[str],
    ) -> None:
        self.path = path
        self._held, self._now, self._retention, self._sealing, self._disk = held, now, retention, sealing, disk
        self._max_inbox_pages = max_inbox_pages
        self._corrupt = self._dropped = self._expired = 0
        self._append_error = self._upkeep_error = ""
        self._failing_since: float | None = None
        self._closed = self._sealed = False
        self._queue: list[_Entry] = []
        self._queueing, self._committing, self._upkeep = threading.Lock(), threading.Lock(), threading.Lock()
        self._forgettable: list[tuple[str, Held]] = []
        self._index = SeriesIndex(max_series)
        self._engine = connect(path, memory_limit, threads)
        self._samples = Shelf(path, SampleFormat(self._index), self._engine, disk, now)
        self._spans = Shelf(path, SpanFormat(trace_keys), self._engine, disk, now)
        self._span_codec = SpanCodec(trace_keys)
        self._sample_reader = SampleReader(self._samples, self._index, self._engine)
        self._span_reader = SpanReader(self._spans, self._engine, tuple(trace_keys))
        self._inbox = self._open_inbox()
        self._recover()

    # --- opening and closing

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        now: Now,
        retention: Retention = Retention(),  # noqa: B008 - frozen
        sealing: Sealing = Sealing(),  # noqa: B008 - frozen
        memory_limit: str = "256MB",
        threads: int = 2,
        max_series: int = 500_000,
        disk: Disk | None = None,
        max_inbox_pages: int | None = None,
        trace_keys: Sequence[str] = TRACE_KEYS,
    ) -> Store:
        """Open the store in a folder, which is created where it is missing.

        Args:
            path: the folder; it belongs to one process at a time.
            now: the clock that ages data.
            retention: how long and how much is kept.
            sealing: when data in memory becomes a segment.
            memory_limit: DuckDB's buffers, as DuckDB writes sizes.
            threads: how many threads a query may use.
            max_series: series in memory at most; samples of further ones are dropped and counted. Those in segments
                alone do not count.
            disk: the door to the file system.
            max_inbox_pages: 4 KiB pages of the inbox at most; no limit but the disk's where `None`.
            trace_keys: the attributes that spans are searched by.

        Raises:
            StoreLocked: another process has the folder.
            StoreError: the folder cannot be used.
        """
        path = path.resolve()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"store {path}: cannot create the folder: {error.strerror}; choose another") from error
        held = lock(path)
        try:
            prepare(path, disk or Disk())
            disk, bounds = disk or Disk(), (memory_limit, threads, max_series)
            return cls(path, held, now, retention, sealing, *bounds, disk, max_inbox_pages, trace_keys)
        except (OSError, sqlite3.Error, duckdb.Error) as error:
            held.close()
            raise StoreError(f"store {path}: cannot open: {error}; make the folder writable and free space") from error
        except StoreError:
            held.close()
            raise

    def _open_inbox(self) -> Inbox:
        path = self.path / "inbox.sqlite"
        try:
            inbox = Inbox(path, self._max_inbox_pages)
            inbox.check()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            return self._new_inbox(path, error)
        return inbox

    def _new_inbox(self, path: Path, error: sqlite3.DatabaseError) -> Inbox:
        """Keep the damaged file aside, and carry over every row that can still be read."""
        self._corrupt += 1
        aside = self.path / "damaged" / f"inbox-{round(self._now() * 1000)}.sqlite"
        for suffix in ("", "-wal", "-shm"):
            old = path.with_name(path.name + suffix)
            if old.exists():
                old.rename(aside.with_name(aside.name + suffix))
        inbox = Inbox(path, self._max_inbox_pages)
        rows = salvage(aside)
        if rows:
            inbox.append(rows)
        log.error("store: the inbox is damaged (%s); set aside as %s; %d rows were saved", error, aside, len(rows))
        return inbox

    def _recover(self) -> None:
        for shelf in (self._samples, self._spans):
            for held in shelf.load(self._inbox.identity):
                self._inbox.forget(shelf.form.kind, held.first, held.last)
        for shelf in (self._samples, self._spans):
            for row in self._inbox.read(shelf.form.kind):
                self._replay(shelf, row.id, row.payload)
                self._flush(shelf)

    def _replay(self, shelf: Shelf, number: int, payload: bytes) -> None:
        try:
            chunk = unpack_samples(payload, self._index) if shelf is self._samples else self._span_codec.unpack(payload)
        except ValueError:
            self._corrupt += 1
            log.exception("store %s: row %d of the inbox is damaged; it stays there unread", self.path, number)
        else:
            shelf.accept(number, chunk)

    def close(self) -> None:
        """Let go of the folder. Nothing is lost: what is in memory is in the inbox too."""
        with self._upkeep, self._committing:
            if self._closed:
                return
            self._closed = True
            self._inbox.close()
            self._engine.close()
            self._held.close()

    # --- taking in

    def append_samples(self, batches: Sequence[SampleBatch]) -> None:
        """Keep scrapes; when this returns they survive `kill -9` and power loss, and queries see them.

        Raises:
            StoreError: none of them was kept; the message says why and what to do.
        """
        with self._index.holding():
            try:
                chunks = [sample_chunk(some, self._index) for some in _split(batches)]
            except ValueError as error:
                raise StoreError(f"store {self.path}: {error}; nothing of this request was kept") from error
            self._append(_Entry("metrics", chunks, [pack_samples(chunk, self._index) for chunk in chunks]))

    def append_spans(self, spans: Sequence[Span]) -> None:
        """Keep spans, with the same promise.

        Raises:
            StoreError: none of them was kept; the message says why and what to do.
        """
        chunks = [self._span_codec.chunk(spans[at : at + SPLIT]) for at in range(0, len(spans), SPLIT)]
        self._append(_Entry("spans", chunks, [chunk.body for chunk in chunks]))

    def _append(self, entry: _Entry) -> None:
        if not entry.payloads:
            return
        with self._queueing:
            self._queue.append(entry)
        with self._committing:  # whoever gets here first commits for all who wait
            if not entry.done:
                with self._queueing:
                    entries, self._queue = self._queue, []
                self._commit(entries)
        if entry.error is not None:
            raise entry.error
        self._flush(self._shelf(entry.kind))

    def _shelf(self, kind: str) -> Shelf:
        return self._samples if kind == "metrics" else self._spans

    def _commit(self, entries: list[_Entry]) -> None:
        """Keep what all of them bring, or none of it: each entry is done afterwards, and has an error or is kept."""
        error: StoreError | None = StoreError(f"store {self.path}: interrupted; send it again")
        try:
            self._keep(entries)
            error = None
        except StoreError as refusal:
            error = refusal
        except Exception as unforeseen:
            log.exception("store %s: an append failed", self.path)
            error = StoreError(f"store {self.path}: cannot keep data: {_told(unforeseen)}")
        finally:
            self._append_error = str(error or "")
            for entry in entries:
                entry.done, entry.error = True, error

    def _keep(self, entries: list[_Entry]) -> None:
        self._admit()
        rows = [(entry.kind, payload) for entry in entries for payload in entry.payloads]
        taken = [(self._shelf(entry.kind), chunk) for entry in entries for chunk in entry.chunks]
        numbers = self._inbox.append(rows)
        for number, (shelf, chunk) in zip(numbers, taken, strict=True):  # nothing may fail from here on
            shelf.accept(number, chunk)
            self._dropped += chunk.refused

    def _flush(self, shelf: Shelf) -> None:
        """What was accepted is safe whether or not it can be moved into DuckDB now."""
        try:
            shelf.flush_many()
        except Exception as error:  # noqa: BLE001 - its sender was promised that nothing fails any more
            self._failed(error)

    def _admit(self) -> None:
        if self._closed:
            raise StoreError(f"store {self.path}: it is closed")
        waiting = self._samples.hot()[1] + self._spans.hot()[1]
        if waiting > self._sealing.full:
            reason = self._upkeep_error or "segments are written too slowly"
            raise StoreError(f"store {self.path}: {waiting >> 20} MiB wait to be written to segments: {reason}")

    # --- answering

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """As `MetricSource.fetch`."""
        return self._sample_reader.fetch(query, start, end, step)

    def metric_names(self) -> frozenset[str]:
        """As `MetricSource.metric_names`."""
        return self._sample_reader.metric_names()

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """As `TraceSource.search`."""
        return self._span_reader.search(query)

    def get(self, trace_id: str) -> tuple[Span, ...]:
        """As `TraceSource.get`."""
        return self._span_reader.get(trace_id)

    # --- upkeep

    def maintain(self) -> None:
        """Seal, merge and remove what is due. Call it every few seconds, from any thread; failures are logged."""
        if not self._upkeep.acquire(blocking=False):
            return
        try:
            if self._closed:
                return
            done = [self._done(step) for step in self._steps()]
            if all(done):
                self._upkeep_error, self._failing_since = "", None
        finally:
            self._upkeep.release()

    def _steps(self) -> Iterator[Callable[[], object]]:
        """What upkeep does, in order. None waits for another's success: data ages though a merge fails."""
        for shelf in (self._samples, self._spans):
            yield shelf.flush
            yield partial(self._seal, shelf)
        yield self._forget
        yield self._let_go
        yield self._expire
        for shelf in (self._samples, self._spans):
            yield from (shelf.merge, shelf.scrub, shelf.tidy)
        yield self._probe

    def _done(self, step: Callable[[], object]) -> bool:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - outermost: whatever a step meets is told, and the others go on
            self._failed(error)
            return False
        return True

    def _failed(self, error: Exception) -> None:
        message = (
            f"store {self.path}: upkeep failed: {_told(error)}; it is tried again. Free space and look at the disk"
        )
        if message != self._upkeep_error:
            log.error("%s", message, exc_info=error)
        self._upkeep_error = message
        if self._failing_since is None:
            self._failing_since = self._now()

    def _seal(self, shelf: Shelf) -> None:
        """Seal what was closed before, and then what is due now."""
        for _ in range(2):
            sealed = shelf.seal(partial(self._claim, shelf.form.kind))
            self._forgettable += [(shelf.form.kind, held) for held in sealed]
            self._sealed |= bool(sealed)
            if not shelf.rotate(self._sealing.bytes, self._sealing.seconds):
                return

    def _claim(self, kind: str, numbers: list[int]) -> tuple[Held, ...]:
        """The stretches of the inbox that consist of these rows alone, so that no other is ever removed with them."""
        with self._committing:
            present = self._inbox.numbers(kind, numbers[0], numbers[-1])
        return tuple(Held(self._inbox.identity, *run) for run in runs(numbers, present))

    def _forget(self) -> None:
        while self._forgettable:
            kind, held = self._forgettable[0]
            with self._committing:
                self._inbox.forget(kind, held.first, held.last)
            del self._forgettable[0]

    def _let_go(self) -> None:
        """Series that are in segments alone need no number, and do not count for the limit."""
        if self._sealed:
            since = self._index.turn()
            self._index.keep(self._samples.values("series"), since)
            self._sealed = False

    def _expire(self) -> None:
        now = self._now()
        self._expired += self._samples.expire(round((now - self._retention.metrics) * 1e3))
        self._expired += self._spans.expire(round((now - self._retention.spans) * 1e9))
        while True:
            sizes = {shelf: sum(m.bytes for m in shelf.segments()) for shelf in (self._samples, self._spans)}
            if sum(sizes.values()) <= self._retention.bytes:
                return
            self._expired += max(sizes, key=lambda shelf: sizes[shelf]).shed()

    def _probe(self) -> None:
        """After an append failed: find out whether the disk takes data again, so that readiness comes back."""
        if self._append_error:
            with self._committing:
                try:
                    self._admit()
                    (number,) = self._inbox.append([("probe", b"\0" * 65_536)])
                    self._inbox.forget("probe", number, number)
                    self._append_error = ""
                except StoreError as error:
                    self._append_error = str(error)

    # --- facts

    def ready(self) -> tuple[bool, str]:
        """Whether the store takes data now, and if not, why."""
        if self._closed:
            return False, f"store {self.path}: it is closed"
        if self._append_error:
            return False, self._append_error
        since = self._failing_since
        failing = since is not None and self._now() - since >= PATIENCE
        return (False, self._upkeep_error) if failing else (True, "")

    def stats(self) -> StoreStats:
        """The store's health in figures."""
        with self._committing:
            rows, size = self._inbox.size()
        samples, _, first_sample = self._samples.hot()
        spans, _, first_span = self._spans.hot()
        metas = [*self._samples.segments(), *self._spans.segments()]
        starts = [meta.start / (1e3 if meta.kind == "metrics" else 1e9) for meta in metas]
        starts += [] if first_sample is None else [first_sample / 1e3]
        starts += [] if first_span is None else [first_span / 1e9]
        return StoreStats(
            inbox_rows=rows,
            inbox_bytes=size,
            hot_samples=samples,
            hot_spans=spans,
            series=len(self._index),
            segments=len(metas),
            segment_bytes=sum(meta.bytes for meta in metas),
            disk_bytes=disk_bytes(self.path),
            oldest=min(starts, default=None),
            corrupt=self._corrupt + self._samples.corrupt + self._spans.corrupt,
            dropped=self._dropped,
            expired=self._expired,
            last_error=self._append_error or self._upkeep_error,
            spans=spans + sum(meta.rows for meta in metas if meta.kind == "spans"),
        )


def _told(error: Exception) -> str:
    """Some errors, such as `MemoryError`, say nothing but their name."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _split(batches: Sequence[SampleBatch]) -> list[list[SampleBatch]]:
    """Neighbouring scrapes in groups of some `SPLIT` samples, so that series shared between them are written once."""
    groups: list[list[SampleBatch]] = []
    room = 0
    for batch in batches:
        if room <= 0:
            groups.append([])
            room = 10 * SPLIT
        groups[-1].append(batch)
        room -= len(batch.samples)
    return groups
