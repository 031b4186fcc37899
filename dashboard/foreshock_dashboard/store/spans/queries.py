"""Trace queries on the block store of spans: search, heat map, and reading one trace."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import duckdb
import numpy as np

from foreshock_dashboard.model.query import Partial
from foreshock_dashboard.model.span import Span, TraceQuery, TraceSummary
from foreshock_dashboard.model.trace_heatmap import Bins
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.store.blocks.block_dir import Block
from foreshock_dashboard.store.blocks.block_store import BlockStore
from foreshock_dashboard.store.blocks.disk import StoreError
from foreshock_dashboard.store.blocks.manifest import Snapshot
from foreshock_dashboard.store.spans.chunks import spans_at
from foreshock_dashboard.store.spans.conditions import (
    Condition,
    duration_range,
    is_selective,
    matching,
    nanoseconds,
    of_trace,
    spread_range,
)
from foreshock_dashboard.store.spans.format import CHUNKS_FILE, COLUMNS_FILE
from foreshock_dashboard.store.spans.scan import Scan, scan
from foreshock_dashboard.store.spans.search import Run, Search, SearchBounds
from foreshock_dashboard.store.spans.table import SpanTable

_ALL_TIMES = -(1 << 63), (1 << 63) - 1
_PLACES = """
select filename, start_ns, place from read_parquet($files, filename = true) where {where} order by start_ns limit $limit
"""
_SPAN_COUNT = "select count(distinct (span, kind)) from ({spans})"
_TRACE_ID = ("trace_hi", "trace_lo")
_ROOT = Condition("root", {}, lambda part: part["root"])
_HEATMAP = """
select
  least(greatest(floor((start_ns - $first) / $width), 0), $columns - 1)::int as x,
  least(greatest(floor((ln(greatest(end_ns - start_ns, 1)) - $shortest_ln) / $step), 0), $rows - 1)::int as y,
  count(*)
from ({roots})
where end_ns - start_ns between $min_duration and $max_duration {in_matching_trace}
group by x, y
"""
_IN_MATCHING_TRACE = "and (trace_hi, trace_lo) in (select trace_hi, trace_lo from ({matches}))"


class SpanReader:
    """Searches and reads traces. `bounds` are thresholds of the search strategy."""

    def __init__(
        self,
        store: BlockStore[SpanTable],
        engine: duckdb.DuckDBPyConnection,
        keys: tuple[str, ...],
        max_trace_spans: int,
        bounds: SearchBounds = SearchBounds(),  # noqa: B008 - frozen
        *,
        maintenance: threading.Lock,
    ) -> None:
        self._store, self._engine, self._keys, self._bounds = store, engine, keys, bounds
        self._maintenance = maintenance
        self._max_trace_spans = max_trace_spans

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """As `TraceSource.search`. Spans of a trace are read within `SPREAD_NS` of the query's range."""
        with self._store.snapshot(*spread_range(query)) as snapshot, self._engine.cursor() as cursor:
            search = Search(cursor, partial(self._run, cursor), query, snapshot, self._keys, self._bounds)
            return search.summaries() if snapshot.all() else ()

    def heat(self, query: TraceQuery, bins: Bins) -> Floats:
        """As `HeatmapSource.heat`. Traces without a root span are not counted."""
        conditions = matching(query, self._keys)
        in_range = matching(TraceQuery(query.start, query.end), self._keys)
        counts = np.zeros((bins.rows, bins.columns))
        with self._store.snapshot(*spread_range(query)) as snapshot, self._engine.cursor() as cursor:
            if not snapshot.all():
                return counts
            roots = scan(snapshot, (*_TRACE_ID, "start_ns", "end_ns"), [*in_range, _ROOT], name="roots")
            scans, condition = [roots], ""
            if is_selective(query):
                matches = scan(snapshot, _TRACE_ID, conditions, name="matches")
                scans.append(matches)
                condition = _IN_MATCHING_TRACE.format(matches=matches.sql)
            min_duration, max_duration = duration_range(query)
            rows = self._run(
                cursor,
                _HEATMAP.format(roots=roots.sql, in_matching_trace=condition),
                *scans,
                first=nanoseconds(bins.start),
                width=(bins.end - bins.start) * 1e9 / bins.columns,
                columns=bins.columns,
                shortest_ln=math.log(bins.shortest * 1e9),
                step=math.log(bins.longest / bins.shortest) / bins.rows,
                rows=bins.rows,
                min_duration=min_duration,
                max_duration=max_duration,
            )
        for x, y, count in rows:
            counts[y, x] = count
        return counts

    def get(self, trace_id: str) -> Partial[Span]:
        """As `TraceSource.get`. A span received twice is returned once; the note says if spans are left out."""
        where = of_trace(int(trace_id[:16], 16), int(trace_id[16:], 16))
        spans: dict[tuple[str, str], Span] = {}
        limit = self._max_trace_spans
        with self._store.snapshot(*_ALL_TIMES) as snapshot, self._engine.cursor() as cursor:
            run = partial(self._run, cursor)
            in_blocks = _places_in_blocks(run, snapshot, where, limit + 1)
            places = sorted([*_places_in_head(snapshot, where), *in_blocks], key=itemgetter(0))
            total, note = None, ""
            if len(places) > limit:
                of_this_trace = scan(snapshot, ("span", "kind"), [where])
                ((total,),) = run(_SPAN_COUNT.format(spans=of_this_trace.sql), of_this_trace)
                note = f"only the first {limit:,} of its {total:,} spans can be read"
            try:
                for span in _read(places[:limit]):
                    spans.setdefault((span.span_id, span.kind), span)
            except OSError as error:
                raise StoreError(f"store {self._store.root}: cannot read spans: {error}") from error
        ordered = sorted(spans.values(), key=lambda span: (span.start_ns, span.end_ns, span.span_id))
        return Partial(ordered, note, total)

    def _run(
        self, cursor: duckdb.DuckDBPyConnection, sql: str, *scans: Scan, **parameters: object
    ) -> list[tuple[Any, ...]]:
        """Execute a statement made of constants and scans. Return its rows.

        A merge takes what memory it gets, so a statement that finds none is executed again after it.
        """
        try:
            for one in scans:
                parameters |= one.parameters
                for name, columns in one.head_rows.items():
                    cursor.register(name, columns)
            try:
                return cursor.execute(sql, parameters).fetchall()
            except duckdb.OutOfMemoryException:
                with self._maintenance:
                    return cursor.execute(sql, parameters).fetchall()
        except duckdb.Error as error:
            raise StoreError(f"store {self._store.root}: cannot read spans: {error}") from error


_Place = tuple[int, SpanTable | Block, int]
"""A span's start in nanoseconds, the table or block that holds it, and its place there."""


def _places_in_head(snapshot: Snapshot[SpanTable], where: Condition) -> Iterator[_Place]:
    for table in snapshot.tables:
        for part in list(table.parts):
            rows = np.flatnonzero(where.mask(part))
            for start, place in zip(part["start_ns"][rows].tolist(), part["place"][rows].tolist(), strict=True):
                yield start, table, place


def _places_in_blocks(run: Run, snapshot: Snapshot[SpanTable], where: Condition, limit: int) -> Iterator[_Place]:
    blocks = {str(block.folder / COLUMNS_FILE): block for block in snapshot.blocks}
    if blocks:
        places = Scan(_PLACES.format(where=where.sql), {**where.parameters, "files": list(blocks)}, {})
        for file, start, place in run(places.sql, places, limit=limit):
            yield start, blocks[file], place


def _read(places: Sequence[_Place]) -> Iterator[Span]:
    by_holder: dict[SpanTable | Block, list[int]] = {}
    for _, holder, place in places:
        by_holder.setdefault(holder, []).append(place)
    for holder, of_holder in by_holder.items():
        if isinstance(holder, Block):
            with (holder.folder / CHUNKS_FILE).open("rb") as file:
                yield from spans_at(lambda offset, size: os.pread(file.fileno(), size, offset), of_holder)
        else:
            yield from spans_at(holder.read, of_holder)
