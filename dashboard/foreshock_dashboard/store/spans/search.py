"""Trace search: the first traces that match, without grouping all spans of the range by trace.

A trace is ranked by one of its spans: its root, or else its longest span. If few spans match, all their traces are
read. Otherwise only the traces of the best-ranked spans are read, few at first. No other trace can rank before the
last of these spans (the threshold algorithm of Fagin, Lotem and Naor, 2001), unless its ranking span lies outside the
query's range. If too few of these traces match, more are read, and in the end all that match.
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
from foreshock_dashboard.store.blocks.manifest import Snapshot
from foreshock_dashboard.store.spans.conditions import (
    ERROR,
    Condition,
    duration_range,
    high_half_in,
    is_selective,
    matching,
    nanoseconds,
    ranking_span,
    same_trace_range,
    started_since,
)
from foreshock_dashboard.store.spans.scan import Scan, scan
from foreshock_dashboard.store.spans.table import SpanTable

_CERTAINLY_MANY_RATIO = 4
"""Spans in the range, estimated from metadata, over `SearchBounds.few_spans` from which they are not counted."""
_SAMPLE_PARTS = 8
"""Parts of the snapshot, each from the whole range, that are counted one after the other. A LIMIT clause instead would
make DuckDB read with one thread."""
_SELECTIVE_FACTOR = 25
"""Multiple of `SearchBounds.min_read_spans` read by selective queries. With `SearchBounds.few_spans` matches among ten
million spans, it is twice what fifty traces take."""
_PROMISING_DIVISOR = 2
"""Traces found in one part, times the parts, times this number, must reach the requested number; otherwise all matching
traces are read at once."""
_UNEVEN_FACTOR = 1.5
"""Extra share of newest spans read, as spans are not evenly distributed in time."""
_SINCE_RESOLUTION_NS = 10**9

# Candidates stay in DuckDB: moving tens of thousands of ids to Python and back takes longer than the search.
_SET_CANDIDATES, _ADD_CANDIDATES = "create or replace temp table candidates as ", "insert into candidates "
_MATCHES = "select trace_hi, trace_lo from ({spans})"
_BEST = "select trace_hi, trace_lo, {key} as key, {part} as part from ({spans}) order by key desc limit $count"
_GIVEN_IDS = """
select unnest($high::ubigint[]) as trace_hi, unnest($low::ubigint[]) as trace_lo
"""
_HIGH_HALVES = "select distinct trace_hi from candidates"
_THRESHOLD = """
select max(lowest) from (select min(key) as lowest from candidates group by part having count(*) >= $count)
"""
_READ = "create or replace temp table spans_read as select * from ({spans})"
_CANDIDATES = "select trace_hi, trace_lo from candidates"
# As model.span.main_span.
_HEAD = "max(struct_pack(root := root, length := end_ns - start_ns, first := -start_ns{more}))"
# Block numbers modulo 64 as a bit set: lists would take longer than the rest of the query.
_BLOCK_BIT = "1::ubigint << (block % 64)"
_RANKED = f"""
select trace_hi, trace_lo, best, blocks
from (
  select trace_hi, trace_lo, {{ranks}}, bool_or({{hit}}) as hit, bit_or({_BLOCK_BIT}) as blocks
  from ({{spans}})
  where (trace_hi, trace_lo) in ({_CANDIDATES})
  group by trace_hi, trace_lo
)
where hit and length between $min_duration and $max_duration
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
from spans_read
where (trace_hi, trace_lo) in ({_CANDIDATES})
group by trace_hi, trace_lo
"""  # noqa: S608 - constants
_KEYS = {"slowest": "end_ns - start_ns", "newest": "start_ns"}
# The head's duration alone costs a quarter of duration and start.
_RANKS = {
    "slowest": """
      coalesce(max(end_ns - start_ns) filter (where root), max(end_ns - start_ns)) as length,
      length as best""",
    "newest": f"({_HEAD.format(more='')}).length as length, -({_HEAD.format(more='')}).first as best",
}
_TRACE_ID = ("trace_hi", "trace_lo")
_RANKING_COLUMNS = (*_TRACE_ID, "root", "start_ns", "end_ns")
_SUMMARY_COLUMNS = (*_RANKING_COLUMNS, "span", "name", "kind", "status", "namespace", "service")
_SPANS_READ = Scan("select * from spans_read", {}, {})

_RankedTrace = tuple[int, int, int, int | None]
"""Halves of the trace id, ranking value, and the blocks that have spans of the trace, as a set of `_BLOCK_BIT`."""
Run = Callable[..., list[tuple[Any, ...]]]
"""Executes a statement with its scans and further parameters."""


class SearchBounds(NamedTuple):
    """Thresholds of the search strategy. The result does not depend on them."""

    few_spans: int = 100_000
    """Matching spans up to which all their traces are read."""
    min_read_spans: int = 400
    """Minimum of spans read; fewer would save no time."""
    max_heap_rows: int = 5_000
    """Largest LIMIT for which DuckDB keeps the best rows in a heap. Beyond, it may sort all rows, which takes seconds
    and more memory than available."""
    spans_per_trace: tuple[int, ...] = (8, 60)
    """Spans read per requested trace, in each attempt."""
    one_pass_traces: int = 10_000
    """Slow traces up to which all summary columns are read in one pass. For more traces it is cheaper to rank first by
    few columns; for new traces too, as the first of them are in few blocks."""


class Search:
    """One search. Candidate traces and their spans are in temporary tables of `cursor`."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        run: Run,
        query: TraceQuery,
        snapshot: Snapshot[SpanTable],
        keys: Sequence[str],
        bounds: SearchBounds,
    ) -> None:
        self._cursor, self._run, self._query, self._snapshot = cursor, run, query, snapshot
        self._keys, self._bounds = keys, bounds
        self._matching = matching(query, keys)
        self._summary_columns_read = False

    def summaries(self) -> tuple[TraceSummary, ...]:
        """Return summaries of the first traces that match."""
        if not self._certainly_many() and not self._many_by_count():
            return self._summarize(self._rank())
        if self._is_promising():
            for count in self._attempts():
                if (ranked := self._rank_best(count)) is not None:
                    return self._summarize(ranked)
        self._add_matches(self._snapshot)
        return self._summarize(self._rank())

    def _attempts(self) -> Iterable[int]:
        """Yield the number of spans to read in each attempt.

        Few suffice if nearly all spans match. A failed attempt costs as much as reading many spans.
        """
        minimum = self._bounds.min_read_spans * (_SELECTIVE_FACTOR if is_selective(self._query) else 1)
        return dict.fromkeys(max(minimum, per_trace * self._query.limit) for per_trace in self._bounds.spans_per_trace)

    def _certainly_many(self) -> bool:
        """Whether many spans match, judged by metadata."""
        return (
            not is_selective(self._query)
            and self._spans_in_range(self._snapshot) > _CERTAINLY_MANY_RATIO * self._bounds.few_spans
        )

    def _many_by_count(self) -> bool:
        """Whether many spans match, judged by counting part after part. If not, all their traces are candidates."""
        few, count, covered, total = self._bounds.few_spans, 0, 0.0, self._spans_in_range(self._snapshot)
        for number, part in enumerate(_parts(self._snapshot, _SAMPLE_PARTS)):
            count += self._add_matches(part, append=number > 0)
            covered += self._spans_in_range(part)
            if count > few // _SAMPLE_PARTS and count * total > few * covered:
                return True
        return False

    def _is_promising(self) -> bool:
        """Whether matching traces are among the best, judged by one part. Traces of a fast service are not."""
        query = self._query
        if not is_selective(query) or query.order != "slowest" or len(self._snapshot.blocks) < _SAMPLE_PARTS:
            return True
        part = _parts(self._snapshot, _SAMPLE_PARTS)[0]
        search = Search(self._cursor, self._run, query, part, self._keys, self._bounds)
        ranked, threshold = search._rank_traces_of_best(max(self._attempts()) // _SAMPLE_PARTS)
        return threshold is None or len(ranked) * _PROMISING_DIVISOR * _SAMPLE_PARTS >= query.limit

    def _spans_in_range(self, snapshot: Snapshot[SpanTable]) -> float:
        return _spans_started(snapshot, nanoseconds(self._query.start), nanoseconds(self._query.end))

    def _add_matches(self, snapshot: Snapshot[SpanTable], *, append: bool = False) -> int:
        """Make the traces of all matching spans candidates. Return the number of spans."""
        spans = scan(snapshot, _TRACE_ID, self._matching, name="matches")
        return self._set_candidates(_MATCHES.format(spans=spans.sql), spans, append=append)

    def _set_candidates(self, sql: str, *scans: Scan, append: bool = False, **parameters: object) -> int:
        """Replace or extend the candidates by the result of a statement. Return its number of rows."""
        self._summary_columns_read = False
        ((count,),) = self._run((_ADD_CANDIDATES if append else _SET_CANDIDATES) + sql, *scans, **parameters)
        return int(count)

    def _rank_best(self, count: int) -> list[_RankedTrace] | None:
        """Return the first traces, found by the `count` best spans; None if other traces may rank before them."""
        ranked, threshold = self._rank_traces_of_best(count)
        complete = threshold is None or (len(ranked) == self._query.limit and ranked[-1][2] > threshold)
        return ranked if complete else None

    def _rank_traces_of_best(self, count: int) -> tuple[list[_RankedTrace], int | None]:
        """Rank the traces of the `count` best spans, whether or not these spans match.

        Returns the first matching traces, and the highest ranking value of any other trace (None if there is none).
        """
        query = self._query
        where = [*same_trace_range(query), ranking_span(query)]
        newest = query.order == "newest" and query.min_duration is None and query.max_duration is None
        since = _start_of_last(self._snapshot, nanoseconds(query.end), count * _UNEVEN_FACTOR) if newest else None
        if since is not None:
            where.append(started_since(since))
        parts = _parts(self._snapshot, -(-count // self._bounds.max_heap_rows))
        count_of_part = -(-count // len(parts))
        for number, part in enumerate(parts):
            spans = scan(part, (*_TRACE_ID, "start_ns", "end_ns"), where, name="best")
            sql = _BEST.format(key=_KEYS[query.order], part=number, spans=spans.sql)
            self._set_candidates(sql, spans, append=number > 0, count=count_of_part)
        ((threshold,),) = self._run(_THRESHOLD, count=count_of_part)
        limits = [limit for limit in (threshold, since) if limit is not None]
        return self._rank(self._matching), max(limits, default=None)

    def _rank(self, conditions: Sequence[Condition] | None = None) -> list[_RankedTrace]:
        """Return the first candidates in order; with conditions, only traces with a span that meets them.

        Of few traces all summary columns are read as well: one pass over the files is cheaper than two.
        """
        query, high_halves = self._query, self._high_halves()
        if query.order == "slowest" and len(high_halves) <= self._bounds.one_pass_traces:
            self._read_spans(self._snapshot, high_halves, conditions)
            spans = _SPANS_READ
        else:
            where = [*same_trace_range(query), high_half_in(high_halves)]
            spans = scan(self._snapshot, _RANKING_COLUMNS, where, conditions, name="spans", with_block=True)
        hit = "true" if conditions is None else "hit"
        sql = _RANKED.format(ranks=_RANKS[query.order], hit=hit, spans=spans.sql)
        min_duration, max_duration = duration_range(query)
        return self._run(sql, spans, min_duration=min_duration, max_duration=max_duration, limit=query.limit)

    def _summarize(self, ranked: Sequence[_RankedTrace]) -> tuple[TraceSummary, ...]:
        """Return the summaries of traces, in their order."""
        if not ranked:
            return ()
        columns_read = self._summary_columns_read
        self._set_candidates(_GIVEN_IDS, high=[high for high, *_ in ranked], low=[low for _, low, *_ in ranked])
        if not columns_read:
            bits = reduce(or_, (blocks or 0 for *_, blocks in ranked))
            blocks = tuple(block for number, block in enumerate(self._snapshot.blocks) if bits >> number % 64 & 1)
            self._read_spans(Snapshot(blocks, self._snapshot.tables), self._high_halves())
        summaries = {row[:2]: _summary(row) for row in self._run(_SUMMARIES)}
        return tuple(summaries[high, low] for high, low, *_ in ranked)

    def _high_halves(self) -> NDArray[np.uint64]:
        """Return the distinct high halves of the candidates' trace ids."""
        halves: NDArray[np.uint64] = self._cursor.execute(_HIGH_HALVES).fetchnumpy()["trace_hi"]
        return halves

    def _read_spans(
        self,
        snapshot: Snapshot[SpanTable],
        high_halves: NDArray[np.uint64],
        conditions: Sequence[Condition] | None = None,
    ) -> None:
        """Read the summary columns of the candidates' spans into the table `spans_read`."""
        where = [*same_trace_range(self._query), high_half_in(high_halves)]
        spans = scan(snapshot, _SUMMARY_COLUMNS, where, conditions, name="summarized", with_block=True)
        self._run(_READ.format(spans=spans.sql), spans)
        self._summary_columns_read = True


def _parts(snapshot: Snapshot[SpanTable], count: int) -> list[Snapshot[SpanTable]]:
    """Split a snapshot into up to `count` parts with at least one block each. The head is in the first part."""
    blocks = snapshot.blocks
    count = max(1, min(count, len(blocks)))
    return [Snapshot(blocks[number::count], () if number else snapshot.tables) for number in range(count)]


def _start_of_last(snapshot: Snapshot[SpanTable], end: int, spans: float) -> int:
    """Estimate the time (ns) since which about `spans` spans started until `end` (ns)."""
    early, late = min((start for start, _, _ in _time_ranges(snapshot)), default=end), end
    while late - early > _SINCE_RESOLUTION_NS:
        middle = (early + late) // 2
        early, late = (middle, late) if _spans_started(snapshot, middle, end) >= spans else (early, middle)
    return early


def _spans_started(snapshot: Snapshot[SpanTable], start: int, end: int) -> float:
    """Estimate the number of spans that started between two times (ns), as if evenly distributed in each block."""
    return sum(
        rows * max(0, min(end, last) - max(start, first)) / max(1, last - first)
        for first, last, rows in _time_ranges(snapshot)
    )


def _time_ranges(snapshot: Snapshot[SpanTable]) -> list[tuple[int, int, int]]:
    """Return start (ns), end (ns) and number of spans of each block and table."""
    of_blocks = [(block.meta.start, block.meta.end, block.meta.rows) for block in snapshot.blocks]
    return of_blocks + [(table.start, table.end, table.rows) for table in snapshot.tables if table.rows]


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
