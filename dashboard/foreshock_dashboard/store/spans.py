"""How traces are listed and read from a shelf of spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

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
"""Matching spans up to which all their traces are looked at."""
_LOOK, _LEAST_LOOK = 20, 5_000
"""Spans looked at per trace wanted where more match, and in any case: as dear as a few."""
_WHOLE = _FEW
"""Traces up to which all that a list says of them is read at once, before they are ranked."""

# Which traces are looked at stays in DuckDB: tens of thousands of ids to and fro would take longer than the search.
_HITS = "create or replace temp table wanted as select trace_hi, trace_lo from ({spans}) limit $few"
_BEST = "create or replace temp table wanted as select *, {key} as key from ({spans}) order by key desc limit $look"
_FIRST = """
create or replace temp table wanted as
select unnest($high::ubigint[]) as trace_hi, unnest($low::ubigint[]) as trace_lo
"""
_LEAST = "select min(key) from wanted"
_WANTED = "select distinct trace_hi from wanted"
_READ = "create or replace temp table looked as select * from ({spans})"
_THESE = "select trace_hi, trace_lo from wanted"
# As model.span.head_of.
_HEAD = "max(struct_pack(root := root, length := end_ns - start_ns, first := -start_ns{more})) as head"
_RANKED = f"""
select trace_hi, trace_lo, {{best}} as best
from (
  select trace_hi, trace_lo, {_HEAD.format(more="")}, bool_or({{hit}}) as hit
  from ({{spans}})
  where (trace_hi, trace_lo) in ({_THESE})
  group by trace_hi, trace_lo
)
where hit and head.length between $least and $most
order by best desc, trace_hi, trace_lo
limit $limit
"""  # noqa: S608 - constants
_SUMMARIES = f"""
select
  trace_hi,
  trace_lo,
  {_HEAD.format(more=", namespace := namespace, service := service, name := name")},
  count(distinct (span, kind)) as spans,
  count(distinct (span, kind)) filter (status = {ERROR}) as errors,
  list(distinct [namespace, service]) as services
from looked
where (trace_hi, trace_lo) in ({_THESE})
group by trace_hi, trace_lo
"""  # noqa: S608 - constants
_ORDERS = {"slowest": ("end_ns - start_ns", "head.length"), "newest": ("start_ns", "-head.first")}
_IDS = ("trace_hi", "trace_lo")
_RANKED_COLUMNS = (*_IDS, "root", "start_ns", "end_ns")
_SUMMARY_COLUMNS = (*_RANKED_COLUMNS, "span", "name", "kind", "status", "namespace", "service")
_LOOKED = Source("select * from looked", {}, {})
_PLACES = """
select filename, start_ns, place from read_parquet($files, filename = true) where {where} order by start_ns limit $limit
"""
_COUNT = "select count(distinct (span, kind)) from ({spans})"


_Ranked = tuple[int, int, int]
"""Both halves of a trace's id, and what it ranks by."""
Run = Callable[..., list[tuple[Any, ...]]]
"""Runs a statement with its sources and further values."""


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
        with self._shelf.reading(*reach(query)) as pieces, self._engine.cursor() as cursor:
            if not pieces.all():
                return ()
            look = _Look(cursor, partial(self._run, cursor), query, pieces)
            hits = source(pieces, _IDS, conditions, name="hits")
            if look.want(_HITS, hits, few=_FEW + 1) > _FEW:
                if (ranked := look.best(conditions)) is not None:
                    return look.summaries(ranked)
                look.want(_HITS, hits, few=None)
            return look.summaries(look.ranked())

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


class _Look:
    """One search. Which traces it looks at, and what it reads of their spans, lies in tables of its own."""

    def __init__(
        self, cursor: duckdb.DuckDBPyConnection, run: Run, query: TraceQuery, pieces: Pieces[SpanTable]
    ) -> None:
        self.run, self._cursor, self._query, self._pieces = run, cursor, query, pieces
        self._read = False

    def want(self, sql: str, spans: Source, **given: object) -> int:
        """Look at the traces of these spans from now on; gives how many spans there are."""
        self._read = False
        ((count,),) = self.run(sql.format(spans=spans.sql), spans, **given)
        return int(count)

    def best(self, conditions: Sequence[Condition]) -> list[_Ranked] | None:
        """The first traces, found by the best spans; None where there may be others."""
        query, where = self._query, [*around(self._query), standing(self._query)]
        look = max(_LEAST_LOOK, _LOOK * query.limit)
        candidates = source(self._pieces, (*_IDS, "start_ns", "end_ns"), where, name="candidates")
        count = self.want(_BEST.replace("{key}", _ORDERS[query.order][0]), candidates, look=look)
        ((least,),) = self.run(_LEAST)
        found = self.ranked(conditions)
        return found if count < look or (len(found) == query.limit and found[-1][2] > least) else None

    def ranked(self, conditions: Sequence[Condition] | None = None) -> list[_Ranked]:
        """The first of the traces, and what each ranks by; with conditions, of those that have a span that meets them.

        Of few traces, all that `summaries` needs is read as well: reading columns once costs less than looking again.
        """
        query, wanted = self._query, self._wanted()
        if len(wanted) <= _WHOLE:
            self._fill(wanted, conditions)
            spans = _LOOKED
        else:
            spans = source(self._pieces, _RANKED_COLUMNS, around(query), conditions, name="spans")
        hit = "true" if conditions is None else "hit"
        sql = _RANKED.format(best=_ORDERS[query.order][1], hit=hit, spans=spans.sql)
        least, most = lengths(query)
        return self.run(sql, spans, least=least, most=most, limit=query.limit)

    def summaries(self, ranked: Sequence[_Ranked]) -> tuple[TraceSummary, ...]:
        """What a list says of traces, in their order."""
        if not ranked:
            return ()
        read = self._read
        self.run(_FIRST, high=[high for high, _, _ in ranked], low=[low for _, low, _ in ranked])
        if not read:
            self._fill(self._wanted())
        found = {row[:2]: _summary(row) for row in self.run(_SUMMARIES)}
        return tuple(found[high, low] for high, low, _ in ranked)

    def _wanted(self) -> NDArray[np.uint64]:
        found: NDArray[np.uint64] = self._cursor.execute(_WANTED).fetchnumpy()["trace_hi"]
        return found

    def _fill(self, wanted: NDArray[np.uint64], conditions: Sequence[Condition] | None = None) -> None:
        spans = source(
            self._pieces, _SUMMARY_COLUMNS, [*around(self._query), maybe_of(wanted)], conditions, name="looked_at"
        )
        self.run(_READ.format(spans=spans.sql), spans)
        self._read = True


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
