"""How traces are listed and read from a shelf of spans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

import duckdb
import numpy as np

from foreshock_dashboard.model.partial import Partial
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Span, TraceQuery, TraceSummary
from foreshock_dashboard.store.blocks import spans_at
from foreshock_dashboard.store.errors import StoreError
from foreshock_dashboard.store.pieces import Pieces, Segment
from foreshock_dashboard.store.shelf import Shelf
from foreshock_dashboard.store.span_format import BLOCKS, COLUMNS
from foreshock_dashboard.store.span_source import Source, source
from foreshock_dashboard.store.span_table import SpanTable
from foreshock_dashboard.store.span_where import (
    ERROR,
    Condition,
    Traces,
    around,
    lengths,
    matching,
    maybe_of,
    of_trace,
    reach,
    standing,
)

MAX_SPANS = 100_000
"""Spans of one trace that are given, the earliest first."""

_FEW = 50_000
"""Matching spans up to which all their traces are grouped at once."""
_LOOK = 16
"""Spans looked at per trace wanted where more match: most traces have fewer that rank as high."""

_MANY = "select 1 from ({spans}) limit 1 offset $few"
_BEST = "select trace_hi, trace_lo, {key} as key from ({spans}) order by key desc limit $look"
# As model.span.head_of.
_HEAD = "max(struct_pack(root := root, length := end_ns - start_ns, first := -start_ns{more})) as head"
_RANKED = f"""
select trace_hi, trace_lo, {{best}} as best
from (
  select trace_hi, trace_lo, {_HEAD.format(more="")}, bool_or(hit) as hit
  from ({{spans}})
  where (trace_hi, trace_lo) in ({{among}})
  group by trace_hi, trace_lo
)
where hit and head.length between $least and $most
order by best desc, trace_hi, trace_lo
limit $limit
"""  # noqa: S608 - constants
_THESE = "select unnest($high::ubigint[]), unnest($low::ubigint[])"
_SUMMARIES = f"""
select
  trace_hi,
  trace_lo,
  {_HEAD.format(more=", namespace := namespace, service := service, name := name")},
  count(distinct (span, kind)) as spans,
  count(distinct (span, kind)) filter (status = {ERROR}) as errors,
  list(distinct [namespace, service]) as services
from ({{spans}})
where (trace_hi, trace_lo) in ({_THESE})
group by trace_hi, trace_lo
"""  # noqa: S608 - constants
_ORDERS = {"slowest": ("end_ns - start_ns", "head.length"), "newest": ("start_ns", "-head.first")}
_IDS = ("trace_hi", "trace_lo")
_RANKED_COLUMNS = (*_IDS, "root", "start_ns", "end_ns")
_SUMMARY_COLUMNS = (*_RANKED_COLUMNS, "span", "name", "kind", "status", "namespace", "service")
_PLACES = """
select filename, start_ns, place from read_parquet($files, filename = true) where {where} order by start_ns limit $limit
"""
_COUNT = "select count(distinct (span, kind)) from ({spans})"


class SpanReader:
    """Lists and reads traces. `keys` are the attributes that spans are searched by."""

    def __init__(self, shelf: Shelf[SpanTable], engine: duckdb.DuckDBPyConnection, keys: tuple[str, ...]) -> None:
        self._shelf, self._engine, self._keys = shelf, engine, keys

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """As `TraceSource.search`. Spans of a trace are looked for within `SPREAD_NS` of the range.

        Grouping all spans of a range by trace would take too long. Where few match, those of their traces are grouped.
        Else those of the traces that have the best spans, matching or not: a trace ranks by one of its spans, so no
        other trace can come before the last of these (the threshold algorithm of Fagin, Lotem and Naor, 2001). Only
        where that finds too few, all that match are grouped, by what they rank by alone.
        """
        conditions = matching(query, self._keys)
        with self._shelf.reading(*reach(query)) as pieces:
            if not pieces.all():
                return ()
            hits = source(pieces, _IDS, conditions, name="hits")
            if self._run(_MANY.format(spans=hits.sql), hits, few=_FEW):
                look = _LOOK * query.limit
                candidates = source(pieces, (*_IDS, "start_ns", "end_ns"), [*around(query), standing(query)])
                sql = _BEST.format(key=_ORDERS[query.order][0], spans=candidates.sql)
                best = self._run(sql, candidates, look=look)
                traces = {(high, low) for high, low, _ in best}
                spans = source(pieces, _RANKED_COLUMNS, [*around(query), maybe_of(traces)], conditions)
                found = self._ranked(query, spans, Source(_THESE, _halves(traces), {}))
                if len(best) < look or (len(found) == query.limit and found[-1][2] >= best[-1][2]):
                    return self._summaries(query, pieces, found)
            spans = source(pieces, _RANKED_COLUMNS, around(query), ())
            return self._summaries(query, pieces, self._ranked(query, spans, hits))

    def _ranked(self, query: TraceQuery, spans: Source, among: Source) -> list[tuple[int, int, int]]:
        """The first traces among those of some ids that have a hit, and what each ranks by."""
        sql = _RANKED.format(best=_ORDERS[query.order][1], spans=spans.sql, among=among.sql)
        least, most = lengths(query)
        return self._run(sql, spans, among, least=least, most=most, limit=query.limit)

    def _summaries(
        self, query: TraceQuery, pieces: Pieces[SpanTable], ranked: Sequence[tuple[int, int, int]]
    ) -> tuple[TraceSummary, ...]:
        """What a list says of traces, in their order."""
        if not ranked:
            return ()
        traces = [(high, low) for high, low, _ in ranked]
        spans = source(pieces, _SUMMARY_COLUMNS, [*around(query), maybe_of(traces)])
        rows = self._run(_SUMMARIES.format(spans=spans.sql), spans, **_halves(traces))
        found = {row[:2]: _summary(row) for row in rows}
        return tuple(found[trace] for trace in traces)

    def get(self, trace_id: str) -> Partial[Span]:
        """As `TraceSource.get`. A span that was sent twice is given once; the note says where spans are left out."""
        where = of_trace(int(trace_id[:16], 16), int(trace_id[16:], 16))
        found: dict[tuple[str, str], Span] = {}
        with self._shelf.reading(-(1 << 63), (1 << 63) - 1) as pieces:
            places = sorted([*_in_memory(pieces, where), *self._in_segments(pieces, where)], key=itemgetter(0))
            total, note = None, ""
            if len(places) > MAX_SPANS:
                spans = source(pieces, ("span", "kind"), [where])
                ((total,),) = self._run(_COUNT.format(spans=spans.sql), spans)
                note = f"only the first {MAX_SPANS:,} of its {total:,} spans can be read"
            try:
                for span in _read(places[:MAX_SPANS]):
                    found.setdefault((span.span_id, span.kind), span)
            except OSError as error:
                raise StoreError(f"store {self._shelf.root}: cannot read spans: {error}") from error
        ordered = sorted(found.values(), key=lambda span: (span.start_ns, span.end_ns, span.span_id))
        return Partial(ordered, note, total)

    def _in_segments(self, pieces: Pieces[SpanTable], where: Condition) -> Iterator[_Place]:
        of_file = {str(segment.folder / COLUMNS): segment for segment in pieces.segments}
        if of_file:
            sql = Source(_PLACES.format(where=where.sql), {**where.given, "files": list(of_file)}, {})
            for file, start, place in self._run(sql.sql, sql, limit=MAX_SPANS + 1):
                yield start, of_file[file], place

    def _run(self, sql: str, *sources: Source, **given: object) -> list[tuple[Any, ...]]:
        """What a statement that consists of constants and sources gives."""
        try:
            with self._engine.cursor() as cursor:
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


def _halves(traces: Traces) -> dict[str, list[int]]:
    return {"high": [high for high, _ in traces], "low": [low for _, low in traces]}


def _summary(row: tuple[Any, ...]) -> TraceSummary:
    high, low, head, spans, errors, services = row
    return TraceSummary(
        trace_id=f"{high:016x}{low:016x}",
        service=Service(head["namespace"], head["service"]),
        operation=head["name"],
        start=-head["first"] / 1e9,
        duration=head["length"] / 1e9,
        spans=spans,
        errors=errors,
        services=tuple(sorted(Service(namespace, name) for namespace, name in services)),
        root=head["root"],
    )
