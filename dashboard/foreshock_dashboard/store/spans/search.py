"""The first traces that match, without grouping all spans of a range by trace, which would take too long.

A trace ranks by one of its spans, its head. Where few spans match, all their traces are looked at. Else those of the
best spans are, few at first: no other trace can come before the last of these spans (the threshold algorithm of Fagin,
Lotem and Naor, 2001), unless its head ended before the range or began after it. Where too few of them match, more are
looked at, in the end all that match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

import duckdb
import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import TraceQuery, TraceSummary
from foreshock_dashboard.store.blocks.block import Pieces
from foreshock_dashboard.store.spans.conditions import (
    ERROR,
    Condition,
    around,
    began_from,
    lengths,
    matching,
    maybe_of,
    nanoseconds,
    picky,
    standing,
)
from foreshock_dashboard.store.spans.rows import Source, source
from foreshock_dashboard.store.spans.table import SpanTable

_SURELY = 4
"""Times as many spans in a range, by what pieces tell of themselves, as need not be counted first."""
_PARTS = 8
"""Parts, each from all over the range, of which one after the other tells whether so many match. A limit instead would
have DuckDB read with one thread."""
_LOOKS = (8, 60)
"""Spans looked at per trace wanted, at first and then."""
_AMPLE = 25
"""Times as many as `Bounds.look` in any case unless all spans match: where `Bounds.few` of ten million do, twice as
many as it takes to find fifty."""
_DOUBT = 2
"""Times fewer in a part than there would be if traces that match were as many among the best as are wanted: then all
that match are looked at at once."""
_WHOLE = 10_000
"""Slow traces up to which all that a list says is read at once, before they are ranked. Of more it costs less to
rank them first, by the columns that takes; of new ones too, as the first of them lie in few segments."""
_SPARE = 1.5
"""Times as many spans as are looked at are read of the newest: they do not come evenly."""
_NEAR = 10**9
"""Nanoseconds to which it is found out where those begin."""

# Which traces are looked at stays in DuckDB: tens of thousands of ids to and fro would take longer than the search.
_ANEW, _MORE = "create or replace temp table wanted as ", "insert into wanted "
_HITS = "select trace_hi, trace_lo from ({spans})"
_BEST = "select trace_hi, trace_lo, {key} as key, {part} as part from ({spans}) order by key desc limit $look"
_FIRST = """
select unnest($high::ubigint[]) as trace_hi, unnest($low::ubigint[]) as trace_lo
"""
_BEGINS = "select distinct trace_hi from wanted"
_LEAST = """
select max(least) from (select min(key) as least from wanted group by part having count(*) >= $look)
"""
_READ = "create or replace temp table looked as select * from ({spans})"
_THESE = "select trace_hi, trace_lo from wanted"
# As model.span.head_of.
_HEAD = "max(struct_pack(root := root, length := end_ns - start_ns, first := -start_ns{more}))"
# Segments by their numbers modulo 64, as bits: lists of them would take longer than the rest.
_BIT = "1::ubigint << (segment % 64)"
_RANKED = f"""
select trace_hi, trace_lo, best, segments
from (
  select trace_hi, trace_lo, {{ranks}}, bool_or({{hit}}) as hit, bit_or({_BIT}) as segments
  from ({{spans}})
  where (trace_hi, trace_lo) in ({_THESE})
  group by trace_hi, trace_lo
)
where hit and length between $least and $most
order by best desc, trace_hi, trace_lo
limit $limit
"""  # noqa: S608 - constants
_SUMMARIES = f"""
select
  trace_hi,
  trace_lo,
  {_HEAD.format(more=", namespace := namespace, service := service, name := name")} as head,
  count(distinct (span, kind)) as spans,
  count(distinct (span, kind)) filter (status = {ERROR}) as errors,
  list(distinct [namespace, service]) as services
from looked
where (trace_hi, trace_lo) in ({_THESE})
group by trace_hi, trace_lo
"""  # noqa: S608 - constants
_KEYS = {"slowest": "end_ns - start_ns", "newest": "start_ns"}
# How long the head took is told for a quarter of what it takes to tell when it began as well.
_RANKS = {
    "slowest": """
      coalesce(max(end_ns - start_ns) filter (where root), max(end_ns - start_ns)) as length,
      length as best""",
    "newest": f"({_HEAD.format(more='')}).length as length, -({_HEAD.format(more='')}).first as best",
}
_IDS = ("trace_hi", "trace_lo")
_RANKED_COLUMNS = (*_IDS, "root", "start_ns", "end_ns")
_SUMMARY_COLUMNS = (*_RANKED_COLUMNS, "span", "name", "kind", "status", "namespace", "service")
_LOOKED = Source("select * from looked", {}, {})

_Ranked = tuple[int, int, int, int | None]
"""Both halves of a trace's id, what it ranks by, and which of the segments have spans of it, as `_BIT`s."""
Run = Callable[..., list[tuple[Any, ...]]]
"""Runs a statement with its sources and further values."""


class Bounds(NamedTuple):
    """What a search takes for few and for many. Its answer is the same with any."""

    few: int = 100_000
    """Spans up to which the traces of all that match are looked at."""
    look: int = 400
    """Spans looked at in any case: as dear as a few."""
    heap: int = 5_000
    """Of so many at most, DuckDB keeps the best while it reads. Of more it may sort all that it reads, which takes
    seconds, and more memory than there is."""


class Search:
    """One search. Which traces it looks at, and what it reads of their spans, lies in tables of its own."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        run: Run,
        query: TraceQuery,
        pieces: Pieces[SpanTable],
        keys: Sequence[str],
        bounds: Bounds,
    ) -> None:
        self._cursor, self._run, self._query, self._pieces = cursor, run, query, pieces
        self._keys, self._bounds = keys, bounds
        self._matching = matching(query, keys)
        self._read = False

    def found(self) -> tuple[TraceSummary, ...]:
        """The first traces that match, as a list tells of them."""
        if not self._many() and not self._common():
            return self._summaries(self._ranked())
        if self._promising():
            for look in self._looks():
                if (ranked := self._best(look)) is not None:
                    return self._summaries(ranked)
        self._hits(self._pieces)
        return self._summaries(self._ranked())

    def _looks(self) -> Iterable[int]:
        """How many spans to look at, at first and then. Few do where nearly all match; to look in vain costs as much
        as to look at many.
        """
        least = self._bounds.look * (_AMPLE if picky(self._query) else 1)
        return dict.fromkeys(max(least, each * self._query.limit) for each in _LOOKS)

    def _many(self) -> bool:
        """Whether many spans match for sure."""
        return not picky(self._query) and self._in_range(self._pieces) > _SURELY * self._bounds.few

    def _common(self) -> bool:
        """Whether many spans match, as far as one part after the other tells; else all their traces are looked at."""
        few, count, seen, whole = self._bounds.few, 0, 0.0, self._in_range(self._pieces)
        for number, part in enumerate(_parts(self._pieces, _PARTS)):
            count += self._hits(part, more=number > 0)
            seen += self._in_range(part)
            if count > few // _PARTS and count * whole > few * seen:
                return True
        return False

    def _promising(self) -> bool:
        """Whether traces that match are among the best, as far as a part tells: those of a fast service are not."""
        query = self._query
        if not picky(query) or query.order != "slowest" or len(self._pieces.segments) < _PARTS:
            return True
        part = Search(self._cursor, self._run, query, _parts(self._pieces, _PARTS)[0], self._keys, self._bounds)
        found, least = part._first(max(self._looks()) // _PARTS)
        return least is None or len(found) * _DOUBT * _PARTS >= query.limit

    def _in_range(self, pieces: Pieces[SpanTable]) -> float:
        return _began(pieces, nanoseconds(self._query.start), nanoseconds(self._query.end))

    def _hits(self, pieces: Pieces[SpanTable], *, more: bool = False) -> int:
        """Look at the traces of all spans that match; gives how many spans there are."""
        spans = source(pieces, _IDS, self._matching, name="hits")
        return self._want(_HITS.format(spans=spans.sql), spans, more=more)

    def _want(self, sql: str, *sources: Source, more: bool = False, **given: object) -> int:
        """Look at other traces from now on, or at more; gives how many spans of them there are."""
        self._read = False
        ((count,),) = self._run((_MORE if more else _ANEW) + sql, *sources, **given)
        return int(count)

    def _best(self, look: int) -> list[_Ranked] | None:
        """The first traces, found by so many of the best spans, matching or not; None where there may be others."""
        found, least = self._first(look)
        enough = least is None or (len(found) == self._query.limit and found[-1][2] > least)
        return found if enough else None

    def _first(self, look: int) -> tuple[list[_Ranked], int | None]:
        """The first of the traces of so many of the best spans, and what those rank by that are not among them, at
        most; None where there are no others.
        """
        query = self._query
        where = [*around(query), standing(query)]
        newest = query.order == "newest" and query.min_duration is None and query.max_duration is None
        since = _since(self._pieces, nanoseconds(query.end), look * _SPARE) if newest else None
        if since is not None:
            where.append(began_from(since))
        parts = _parts(self._pieces, -(-look // self._bounds.heap))
        each = -(-look // len(parts))
        for number, part in enumerate(parts):
            spans = source(part, (*_IDS, "start_ns", "end_ns"), where, name="candidates")
            sql = _BEST.format(key=_KEYS[query.order], part=number, spans=spans.sql)
            self._want(sql, spans, more=number > 0, look=each)
        ((least,),) = self._run(_LEAST, look=each)
        return self._ranked(self._matching), max((bound for bound in (least, since) if bound is not None), default=None)

    def _ranked(self, conditions: Sequence[Condition] | None = None) -> list[_Ranked]:
        """The first of the traces, and what each ranks by; with conditions, of those that have a span that meets them.

        Of few traces, all that a list says may be read as well: reading columns once costs less than looking again.
        """
        query, wanted = self._query, self._begins()
        if query.order == "slowest" and len(wanted) <= _WHOLE:
            self._fill(self._pieces, wanted, conditions)
            spans = _LOOKED
        else:
            where = [*around(query), maybe_of(wanted)]
            spans = source(self._pieces, _RANKED_COLUMNS, where, conditions, name="spans", numbered=True)
        hit = "true" if conditions is None else "hit"
        sql = _RANKED.format(ranks=_RANKS[query.order], hit=hit, spans=spans.sql)
        least, most = lengths(query)
        return self._run(sql, spans, least=least, most=most, limit=query.limit)

    def _summaries(self, ranked: Sequence[_Ranked]) -> tuple[TraceSummary, ...]:
        """What a list says of traces, in their order."""
        if not ranked:
            return ()
        read = self._read
        self._want(_FIRST, high=[high for high, *_ in ranked], low=[low for _, low, *_ in ranked])
        if not read:
            there = reduce(or_, (bits or 0 for *_, bits in ranked))
            segments = tuple(each for at, each in enumerate(self._pieces.segments) if there >> at % 64 & 1)
            self._fill(Pieces(segments, self._pieces.tables), self._begins())
        found = {row[:2]: _summary(row) for row in self._run(_SUMMARIES)}
        return tuple(found[high, low] for high, low, *_ in ranked)

    def _begins(self) -> NDArray[np.uint64]:
        """How the ids of the traces begin that are looked at."""
        found: NDArray[np.uint64] = self._cursor.execute(_BEGINS).fetchnumpy()["trace_hi"]
        return found

    def _fill(
        self, pieces: Pieces[SpanTable], wanted: NDArray[np.uint64], conditions: Sequence[Condition] | None = None
    ) -> None:
        where = [*around(self._query), maybe_of(wanted)]
        spans = source(pieces, _SUMMARY_COLUMNS, where, conditions, name="looked_at", numbered=True)
        self._run(_READ.format(spans=spans.sql), spans)
        self._read = True


def _parts(pieces: Pieces[SpanTable], count: int) -> list[Pieces[SpanTable]]:
    """So many parts of some pieces at most, as long as there is a segment for each; what is in memory goes first."""
    segments = pieces.segments
    count = max(1, min(count, len(segments)))
    return [Pieces(segments[at::count], () if at else pieces.tables) for at in range(count)]


def _since(pieces: Pieces[SpanTable], end: int, spans: float) -> int:
    """From when on, till `end` (both nanoseconds), about so many spans began, as if each piece had them evenly."""
    early, late = min((start for start, _, _ in _reaches(pieces)), default=end), end
    while late - early > _NEAR:
        middle = (early + late) // 2
        early, late = (middle, late) if _began(pieces, middle, end) >= spans else (early, middle)
    return early


def _began(pieces: Pieces[SpanTable], start: int, end: int) -> float:
    """How many spans began between two times, nanoseconds, as if each piece had them evenly."""
    return sum(
        rows * max(0, min(end, last) - max(start, first)) / max(1, last - first)
        for first, last, rows in _reaches(pieces)
    )


def _reaches(pieces: Pieces[SpanTable]) -> list[tuple[int, int, int]]:
    """When the first and the last span of each piece began, nanoseconds, and how many it has."""
    known = [(each.meta.start, each.meta.end, each.meta.rows) for each in pieces.segments]
    return known + [(each.start, each.end, each.rows) for each in pieces.tables if each.rows]


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
