"""The embedded store: durable appends of samples and spans, and queries that see them at once."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import duckdb

from foreshock_dashboard.common.clock import Now, since_boot
from foreshock_dashboard.common.process import CPU_LOCK
from foreshock_dashboard.model.query import Matrix, MetricSource, Query
from foreshock_dashboard.model.samples import Labels, SampleBatch
from foreshock_dashboard.model.span import TRACE_KEYS, Span, TraceQuery, TraceSummary
from foreshock_dashboard.model.trace_heatmap import Bins
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.store.blocks.block_store import BlockStore
from foreshock_dashboard.store.blocks.disk import Disk, StoreError, remedy
from foreshock_dashboard.store.blocks.duckdb_engine import connect
from foreshock_dashboard.store.blocks.format import RowBatch
from foreshock_dashboard.store.blocks.limits import StoreLimits
from foreshock_dashboard.store.compactor import Compactor
from foreshock_dashboard.store.folder import disk_bytes, lock, prepare
from foreshock_dashboard.store.group_commit import PROBE_KIND, GroupCommit
from foreshock_dashboard.store.health import Health, StoreStats
from foreshock_dashboard.store.retention import Retention
from foreshock_dashboard.store.samples.format import SampleFormat, sample_rows, unpack_samples
from foreshock_dashboard.store.samples.queries import SampleReader
from foreshock_dashboard.store.samples.series_index import SeriesIndex
from foreshock_dashboard.store.spans.codec import SpanCodec
from foreshock_dashboard.store.spans.format import SpanFormat
from foreshock_dashboard.store.spans.queries import SpanReader
from foreshock_dashboard.store.trusted_clock import TrustedClock
from foreshock_dashboard.store.wal_recovery import open_wal

log = logging.getLogger(__name__)

_SAMPLES, _SPANS = SampleFormat.kind, SpanFormat.kind
RECORD_SPANS = 5_000
"""Spans of one WAL record. A larger request is several records in one transaction."""
RECORD_SAMPLES = 20_000
"""Samples of one WAL record. Packing it takes some hundred bytes per series for a moment."""


class Store(MetricSource):
    """Implements `MetricSource` and `TraceSource`. Every method is thread-safe."""

    def __init__(
        self,
        path: Path,
        lock_file: IO[str],
        *,
        now: Now,
        monotonic: Now,
        retention: Retention,
        limits: StoreLimits,
        disk: Disk,
        trace_keys: Sequence[str],
        damaged_files: int = 0,
    ) -> None:
        self.path = path
        self._lock_file = lock_file
        self._health = Health(path, now)
        self._index = SeriesIndex(limits.max_series)
        self._engine = connect(path, limits.duckdb_memory, limits.duckdb_threads, max_spill=limits.duckdb_spill)
        sample_format, span_format = SampleFormat(self._index, self._engine), SpanFormat(trace_keys, self._engine)
        self._samples = BlockStore(path, sample_format, disk, now, limits)
        self._spans = BlockStore(path, span_format, disk, now, limits)
        self._span_codec = SpanCodec(trace_keys)
        self._sample_reader = SampleReader(self._samples, self._index, self._engine, limits)
        self._trace_keys, maintenance = tuple(trace_keys), threading.Lock()
        self._span_reader = SpanReader(
            self._spans, self._engine, self._trace_keys, limits.max_trace_spans, maintenance=maintenance
        )
        held = {_SAMPLES: self._samples.load(), _SPANS: self._spans.load()}
        self._wal = open_wal(path, limits.max_wal_pages, held, now, disk)
        self._corrupt = damaged_files + bool(self._wal.recovery)
        stores: dict[str, BlockStore[Any]] = {_SAMPLES: self._samples, _SPANS: self._spans}
        self._commits = GroupCommit(path, self._wal, stores, self._health, limits.max_head_bytes)
        self._replay_wal(stores)
        self._wal.forget_recovery()
        self._clock = TrustedClock(now, monotonic)
        self._compactor = Compactor(
            lock=maintenance,
            samples=self._samples,
            spans=self._spans,
            index=self._index,
            engine=self._engine,
            wal=self._wal,
            commits=self._commits,
            health=self._health,
            clock=self._clock,
            retention=retention,
        )

    # --- opening and closing

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        now: Now,
        monotonic: Now = since_boot,
        retention: Retention = Retention(),  # noqa: B008 - frozen
        limits: StoreLimits = StoreLimits(),  # noqa: B008 - frozen
        disk: Disk | None = None,
        trace_keys: Sequence[str] = TRACE_KEYS,
    ) -> Store:
        """Open the store in a folder, which belongs to one process at a time and is created if it is missing.

        Raises StoreLocked if another process has the folder, and StoreError if it cannot be used.
        """
        path = path.resolve()
        disk = disk or Disk()
        try:
            disk.make_folder(path)
        except OSError as error:
            raise StoreError(f"store {path}: cannot create the folder: {error.strerror}; {remedy(error)}") from error
        lock_file = lock(path)
        try:
            damaged = prepare(path, disk)
            return cls(
                path,
                lock_file,
                now=now,
                monotonic=monotonic,
                retention=retention,
                limits=limits,
                disk=disk,
                trace_keys=trace_keys,
                damaged_files=damaged,
            )
        except OSError as error:
            lock_file.close()
            raise StoreError(f"store {path}: cannot open: {error}; {remedy(error)}") from error
        except (sqlite3.Error, duckdb.Error) as error:
            lock_file.close()
            raise StoreError(f"store {path}: cannot open: {error}; make the folder writable and free space") from error
        except BaseException:
            lock_file.close()
            raise

    def _replay_wal(self, stores: Mapping[str, BlockStore[Any]]) -> None:
        """Delete the WAL records that blocks hold, and put the others into the head, except damaged ones."""
        wal = self._wal
        if damaged := wal.count_of_other_kinds([*stores, PROBE_KIND]):
            reason = "for they say to be of no known kind; they stay there unread"
            log.error("%s: %d rows are damaged, %s", wal.path, damaged, reason)
            self._corrupt += damaged
        for kind, store in stores.items():
            for held in store.wal_ranges():
                if held.wal == wal.identity:
                    wal.truncate(kind, held.first, held.last)
        for kind, store in stores.items():
            for record in wal.records(kind):
                try:
                    batch = self._unpack(kind, record.payload)
                except ValueError:
                    self._corrupt += 1
                    log.exception("store %s: row %d of the WAL is damaged; it stays there unread", self.path, record.id)
                else:
                    store.head.append(record.id, batch)
                    self._commits.flush(kind)

    def _unpack(self, kind: str, payload: bytes) -> RowBatch:
        return unpack_samples(payload, self._index) if kind == _SAMPLES else self._span_codec.unpack(payload)

    def close(self) -> None:
        """Close all files and release the folder. Data in memory is in the WAL as well."""
        with self._compactor.lock, self._commits.lock:
            if self._commits.closed:
                return
            self._commits.closed = True
            self._wal.close()
            with suppress(duckdb.Error):  # a query that still runs on it ends with the process
                self._engine.close()
            self._lock_file.close()

    # --- appending

    def append_samples(self, batches: Sequence[SampleBatch]) -> None:
        """Store scrapes. After the return they survive `kill -9` and power loss, and queries see them.

        Raises StoreError if nothing was stored; the message gives cause and remedy.
        """
        with self._index.pinned():
            try:
                rows = [sample_rows(group, self._index) for group in _record_groups(batches)]
            except ValueError as error:
                raise StoreError(f"store {self.path}: {error}; nothing from this request was kept") from error
            self._commits.append(_SAMPLES, [batch for batch, _ in rows], [payload for _, payload in rows])

    def refused_series(self, series: Iterable[tuple[str, Labels]]) -> frozenset[tuple[str, Labels]]:
        """Return those (metric, labels) whose samples are dropped, because as many series as may be are in memory."""
        return self._index.refused(series)

    def append_spans(self, spans: Sequence[Span]) -> None:
        """Store spans, as `append_samples` stores samples."""
        with CPU_LOCK:
            starts = range(0, len(spans), RECORD_SPANS)
            rows = [self._span_codec.rows(spans[start : start + RECORD_SPANS]) for start in starts]
        self._commits.append(_SPANS, rows, [batch.body for batch in rows])

    # --- queries

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """As `MetricSource.fetch`."""
        [answer] = self._sample_reader.fetch_all([query], start, end, step)
        return answer

    def fetch_all(self, queries: Sequence[Query], start: float, end: float, step: float) -> Iterator[Matrix]:
        """As `MetricSource.fetch_all`."""
        return self._sample_reader.fetch_all(queries, start, end, step)

    def metric_names(self) -> frozenset[str]:
        """As `MetricSource.metric_names`."""
        return self._sample_reader.metric_names()

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """As `TraceSource.search`."""
        return self._span_reader.search(query)

    def heat(self, query: TraceQuery, bins: Bins) -> Floats:
        """As `HeatmapSource.heat`."""
        return self._span_reader.heat(query, bins)

    def get(self, trace_id: str) -> tuple[Span, ...]:
        """As `TraceSource.get`."""
        return self._span_reader.get(trace_id)

    # --- maintenance

    def maintain(self, *, early: bool = False, merge: bool = True) -> None:
        """Cut, merge and expire blocks that are due. Call it every few seconds, from any thread. Never raises.

        early: cut blocks also from less recent data, to free memory. merge: whether there is memory to merge blocks.
        """
        self._compactor.maintain(early=early, merge=merge)

    # --- state

    def ready(self) -> tuple[bool, str]:
        """Return whether the store accepts data, and the reason if not."""
        if self._commits.closed:
            return False, f"store {self.path}: it is closed"
        return self._health.ready()

    def stats(self) -> StoreStats:
        """Return the store's statistics."""
        with self._commits.lock:
            rows, size = self._wal.size()
        samples, spans = self._samples.head.usage(), self._spans.head.usage()
        metas = [*self._samples.blocks(), *self._spans.blocks()]
        starts = [(meta.start, meta.kind) for meta in metas] + [(samples.start, _SAMPLES), (spans.start, _SPANS)]
        seconds = [start / (1e3 if kind == _SAMPLES else 1e9) for start, kind in starts if start is not None]
        return StoreStats(
            wal_rows=rows,
            wal_bytes=size,
            head_samples=samples.rows,
            head_spans=spans.rows,
            series=len(self._index),
            blocks=len(metas),
            block_bytes=sum(meta.bytes for meta in metas),
            disk_bytes=disk_bytes(self.path),
            oldest=min(seconds, default=None),
            corrupt=self._corrupt + self._samples.block_dir.corrupt + self._spans.block_dir.corrupt,
            dropped_samples=self._commits.dropped[_SAMPLES],
            dropped_spans=self._commits.dropped[_SPANS],
            expired=self._compactor.expired,
            last_error=self._health.append_error or self._health.maintenance_error,
            expiry_paused=self._clock.paused,
            series_limit=self._index.limit,
            spans=spans.rows + sum(meta.rows for meta in metas if meta.kind == _SPANS),
        )


def _record_groups(batches: Sequence[SampleBatch]) -> Iterator[list[SampleBatch]]:
    """Yield records of at most `RECORD_SAMPLES` samples: consecutive scrapes, so that shared series are written once.

    A larger scrape is several records.
    """
    group: list[SampleBatch] = []
    room = RECORD_SAMPLES
    for batch in batches:
        for first in range(0, len(batch.samples), RECORD_SAMPLES):
            part = batch.samples[first : first + RECORD_SAMPLES]
            own = min(len(part), max(0, batch.own - (len(batch.samples) - first - len(part))))
            if group and len(part) > room:
                yield group
                group, room = [], RECORD_SAMPLES
            group.append(replace(batch, samples=part, own=own))
            room -= len(part)
    if group:
        yield group
