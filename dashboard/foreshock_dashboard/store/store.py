"""The embedded store: what was accepted is kept, and answers queries at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import duckdb

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.common.cpu_lock import CPU_LOCK
from foreshock_dashboard.model.query import Matrix, Query
from foreshock_dashboard.model.samples import SampleBatch
from foreshock_dashboard.model.span import TRACE_KEYS, Span, TraceQuery, TraceSummary
from foreshock_dashboard.model.trace_heatmap import Bins
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.store.blocks.block_store import Shelf
from foreshock_dashboard.store.blocks.disk import Disk
from foreshock_dashboard.store.blocks.duckdb_engine import connect
from foreshock_dashboard.store.compactor import Upkeep
from foreshock_dashboard.store.errors import StoreError
from foreshock_dashboard.store.folder import disk_bytes, lock, prepare
from foreshock_dashboard.store.group_commit import Commits
from foreshock_dashboard.store.health import Health
from foreshock_dashboard.store.limits import Retention, Sealing, StoreStats
from foreshock_dashboard.store.recovery import Decode, open_inbox, replay
from foreshock_dashboard.store.samples.codec import pack_samples, sample_chunk, unpack_samples
from foreshock_dashboard.store.samples.format import SampleFormat
from foreshock_dashboard.store.samples.queries import SampleReader
from foreshock_dashboard.store.samples.series import SeriesIndex
from foreshock_dashboard.store.spans.codec import SpanCodec
from foreshock_dashboard.store.spans.format import SpanFormat
from foreshock_dashboard.store.spans.heatmap import heat
from foreshock_dashboard.store.spans.queries import SpanReader

_SAMPLES, _SPANS = SampleFormat.kind, SpanFormat.kind
SPLIT = 5_000
"""Spans, or scrapes' samples, in one inbox row at most; a request may be several rows, kept together."""
SPILL = "2GB"
"""What DuckDB may put on the disk beside the store, as DuckDB writes sizes."""


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
        self._held = held
        self._health = Health(path, now)
        self._index = SeriesIndex(max_series)
        self._engine = connect(path, memory_limit, threads, spill=SPILL)
        self._samples = Shelf(path, SampleFormat(self._index, self._engine), disk, now)
        self._spans = Shelf(path, SpanFormat(trace_keys, self._engine), disk, now)
        self._span_codec = SpanCodec(trace_keys)
        self._sample_reader = SampleReader(self._samples, self._index, self._engine)
        self._trace_keys = tuple(trace_keys)
        self._span_reader = SpanReader(self._spans, self._engine, self._trace_keys)
        self._inbox, self._corrupt = open_inbox(path, max_inbox_pages, now)
        shelves: dict[str, Shelf[Any]] = {_SAMPLES: self._samples, _SPANS: self._spans}
        self._commits = Commits(path, self._inbox, shelves, self._health, sealing.full)
        self._upkeep = Upkeep(
            self._samples, self._spans, self._index, self._engine, self._inbox, self._commits, self._health,
            now, retention, sealing,
        )  # fmt: skip
        decoders: dict[str, Decode] = {
            _SAMPLES: partial(unpack_samples, index=self._index),
            _SPANS: self._span_codec.unpack,
        }
        self._corrupt += replay(self._inbox, shelves, decoders, self._commits)

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
            max_inbox_pages: pages of the inbox at most; no limit but the disk's where `None`.
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

    def close(self) -> None:
        """Let go of the folder. Nothing is lost: what is in memory is in the inbox too."""
        with self._upkeep.lock, self._commits.lock:
            if self._commits.closed:
                return
            self._commits.closed = True
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
            self._commits.append(_SAMPLES, chunks, [pack_samples(chunk, self._index) for chunk in chunks])

    def append_spans(self, spans: Sequence[Span]) -> None:
        """Keep spans, with the same promise.

        Raises:
            StoreError: none of them was kept; the message says why and what to do.
        """
        with CPU_LOCK:
            chunks = [self._span_codec.chunk(spans[at : at + SPLIT]) for at in range(0, len(spans), SPLIT)]
        self._commits.append(_SPANS, chunks, [chunk.body for chunk in chunks])

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

    def heat(self, query: TraceQuery, bins: Bins) -> Floats:
        """As `HeatSource.heat`."""
        return heat(self._spans, self._engine, self._trace_keys, query, bins)

    def get(self, trace_id: str) -> tuple[Span, ...]:
        """As `TraceSource.get`."""
        return self._span_reader.get(trace_id)

    # --- upkeep

    def maintain(self) -> None:
        """Seal, merge and remove what is due. Call it every few seconds, from any thread; failures are logged."""
        self._upkeep.maintain()

    # --- facts

    def ready(self) -> tuple[bool, str]:
        """Whether the store takes data now, and if not, why."""
        if self._commits.closed:
            return False, f"store {self.path}: it is closed"
        return self._health.ready()

    def stats(self) -> StoreStats:
        """The store's health in figures."""
        with self._commits.lock:
            rows, size = self._inbox.size()
        samples, _, first_sample = self._samples.memory.hot()
        spans, _, first_span = self._spans.memory.hot()
        metas = [*self._samples.segments(), *self._spans.segments()]
        starts = [meta.start / (1e3 if meta.kind == _SAMPLES else 1e9) for meta in metas]
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
            corrupt=self._corrupt + self._samples.archive.corrupt + self._spans.archive.corrupt,
            dropped=self._commits.dropped,
            expired=self._upkeep.expired,
            last_error=self._health.append_error or self._health.upkeep_error,
            spans=spans + sum(meta.rows for meta in metas if meta.kind == _SPANS),
        )


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
