"""How traces are listed and read from a shelf of spans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import duckdb
import numpy as np

from foreshock_dashboard.model.partial import Partial
from foreshock_dashboard.model.span import Span, TraceQuery, TraceSummary
from foreshock_dashboard.store.blocks.block import Pieces, Segment
from foreshock_dashboard.store.blocks.block_store import Shelf
from foreshock_dashboard.store.errors import StoreError
from foreshock_dashboard.store.spans.conditions import Condition, of_trace, reach
from foreshock_dashboard.store.spans.format import BLOCKS, COLUMNS
from foreshock_dashboard.store.spans.rows import Source, source
from foreshock_dashboard.store.spans.search import Bounds, Run, Search
from foreshock_dashboard.store.spans.span_blocks import spans_at
from foreshock_dashboard.store.spans.table import SpanTable

MAX_SPANS = 100_000
"""Spans of one trace that are given, the earliest first."""

_PLACES = """
select filename, start_ns, place from read_parquet($files, filename = true) where {where} order by start_ns limit $limit
"""
_COUNT = "select count(distinct (span, kind)) from ({spans})"


class SpanReader:
    """Lists and reads traces. `keys` are the attributes that spans are searched by."""

    def __init__(
        self,
        shelf: Shelf[SpanTable],
        engine: duckdb.DuckDBPyConnection,
        keys: tuple[str, ...],
        bounds: Bounds = Bounds(),  # noqa: B008 - frozen
    ) -> None:
        self._shelf, self._engine, self._keys, self._bounds = shelf, engine, keys, bounds

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """As `TraceSource.search`. Spans of a trace are looked for within `SPREAD_NS` of the range."""
        with self._shelf.reading(*reach(query)) as pieces, self._engine.cursor() as cursor:
            search = Search(cursor, partial(self._run, cursor), query, pieces, self._keys, self._bounds)
            return search.found() if pieces.all() else ()

    def get(self, trace_id: str) -> Partial[Span]:
        """As `TraceSource.get`. A span that was sent twice is given once; the note says where spans are left out."""
        where = of_trace(int(trace_id[:16], 16), int(trace_id[16:], 16))
        found: dict[tuple[str, str], Span] = {}
        with self._shelf.reading(-(1 << 63), (1 << 63) - 1) as pieces, self._engine.cursor() as cursor:
            run = partial(self._run, cursor)
            places = sorted([*_in_memory(pieces, where), *_in_segments(run, pieces, where)], key=itemgetter(0))
            total, note = None, ""
            if len(places) > MAX_SPANS:
                spans = source(pieces, ("span", "kind"), [where])
                ((total,),) = run(_COUNT.format(spans=spans.sql), spans)
                note = f"only the first {MAX_SPANS:,} of its {total:,} spans can be read"
            try:
                for span in _read(places[:MAX_SPANS]):
                    found.setdefault((span.span_id, span.kind), span)
            except OSError as error:
                raise StoreError(f"store {self._shelf.root}: cannot read spans: {error}") from error
        ordered = sorted(found.values(), key=lambda span: (span.start_ns, span.end_ns, span.span_id))
        return Partial(ordered, note, total)

    def _run(
        self, cursor: duckdb.DuckDBPyConnection, sql: str, *sources: Source, **given: object
    ) -> list[tuple[Any, ...]]:
        """What a statement that consists of constants and sources gives."""
        try:
            for each in sources:
                given |= each.given
                for name, columns in each.memory.items():
                    cursor.register(name, columns)
            return cursor.execute(sql, given).fetchall()
        except duckdb.Error as error:
            raise StoreError(f"store {self._shelf.root}: cannot read spans: {error}") from error


_Place = tuple[int, SpanTable | Segment, int]
"""Of a span: its start, the piece that it lies in, and its place there."""


def _in_memory(pieces: Pieces[SpanTable], where: Condition) -> Iterator[_Place]:
    for table in pieces.tables:
        for part in list(table.parts):
            at = np.flatnonzero(where.mask(part))
            for start, place in zip(part["start_ns"][at].tolist(), part["place"][at].tolist(), strict=True):
                yield start, table, place


def _in_segments(run: Run, pieces: Pieces[SpanTable], where: Condition) -> Iterator[_Place]:
    of_file = {str(segment.folder / COLUMNS): segment for segment in pieces.segments}
    if of_file:
        given = Source(_PLACES.format(where=where.sql), {**where.given, "files": list(of_file)}, {})
        for file, start, place in run(given.sql, given, limit=MAX_SPANS + 1):
            yield start, of_file[file], place


def _read(places: Sequence[_Place]) -> Iterator[Span]:
    """The spans at places."""
    there: dict[SpanTable | Segment, list[int]] = {}
    for _, piece, place in places:
        there.setdefault(piece, []).append(place)
    for piece, found in there.items():
        if isinstance(piece, Segment):
            with (piece.folder / BLOCKS).open("rb") as file:
                yield from spans_at(file, found)
        else:
            yield from spans_at(piece.blocks(), found)
