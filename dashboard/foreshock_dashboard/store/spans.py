"""How traces are listed and read from a shelf of spans."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, groupby
from typing import Any

import duckdb

from foreshock_dashboard.model.partial import Partial
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import EXPORTER, OCCUPANCY, Span, TraceQuery, TraceSummary, UnsearchableError
from foreshock_dashboard.store.chunk import SPANS
from foreshock_dashboard.store.errors import StoreError
from foreshock_dashboard.store.pieces import Pieces, Table
from foreshock_dashboard.store.shelf import Shelf
from foreshock_dashboard.store.span_codec import LONGEST_NAME, STATUSES, block_at, column_of, spans_at
from foreshock_dashboard.store.span_format import BLOCKS, COLUMNS

SPREAD_NS = 3_600 * 10**9
"""How far outside the asked range the rest of a trace is looked for."""
MAX_SPANS = 100_000
"""Spans of one trace that are given, the earliest first."""

_FEW = 50_000
"""Matching spans up to which all their traces are grouped at once."""
_LOOK = 16
"""Spans looked at per trace wanted where more match: most traces have fewer that rank as high."""
_LONGEST = (1 << 63) - 1

_TRAFFIC = f"(name <> '{OCCUPANCY}' or service <> '{EXPORTER}')"  # as Span.occupancy
_ERROR = STATUSES.index("error")
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
where hit and head.length between $shortest and $longest
order by best desc, trace_hi, trace_lo
limit $limit
"""  # noqa: S608 - constants
_THESE = "select unnest($hi::ubigint[]), unnest($lo::ubigint[])"
_SUMMARIES = f"""
select
  trace_hi,
  trace_lo,
  {_HEAD.format(more=", namespace := namespace, service := service, name := name")},
  count(distinct (span, kind)) as spans,
  count(distinct (span, kind)) filter (status = {_ERROR}) as errors,
  list(distinct [namespace, service]) as services
from ({{spans}})
where (trace_hi, trace_lo) in ({_THESE})
group by trace_hi, trace_lo
"""  # noqa: S608 - constants
_ORDERS = {"slowest": ("end_ns - start_ns", "head.length"), "newest": ("start_ns", "-head.first")}
# What a trace ranks by is one of these, unless that ended before the range or began after it.
_CANDIDATE = "start_ns between $near and $end and end_ns >= $start and end_ns - start_ns between $shortest and $longest"
_AROUND = "start_ns between $near and $far"
_RANKED_COLUMNS = "trace_hi, trace_lo, root, start_ns, end_ns"
_SUMMARY_COLUMNS = "trace_hi, trace_lo, span, root, name, kind, start_ns, end_ns, status, namespace, service"
_ONE_OF = "trace_hi in (select unnest($hi::ubigint[]))"
_PLACES = "select * from ({source}) order by start_ns limit $limit"
_COUNT = "select count(distinct (span, kind)) from ({source})"
_PLACES_COLUMNS = "{file} as file, place, start_ns"
_OF_THIS = "trace_hi = $hi::ubigint and trace_lo = $lo::ubigint"

Traces = Collection[tuple[int, int]]
"""Both halves of the ids of traces."""


class SpanReader:
    """Lists and reads traces. `keys` are the attributes that spans are searched by."""

    def __init__(self, shelf: Shelf, engine: duckdb.DuckDBPyConnection, keys: tuple[str, ...]) -> None:
        self._shelf, self._engine, self._keys = shelf, engine, keys

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """As `TraceSource.search`. Spans of a trace are looked for within `SPREAD_NS` of the range.

        Grouping all spans of a range by trace would take too long. Where few match, those of their traces are grouped.
        Else those of the traces that have the best spans, matching or not: a trace ranks by one of its spans, so no
        other trace can come before the last of these (the threshold algorithm of Fagin, Lotem and Naor, 2001). Only
        where that finds too few, all that match are grouped, by what they rank by alone.
        """
        conditions, given = self._conditions(query)
        key, best = _ORDERS[query.order]
        around = f"start_ns between $near and $far and {'true' if query.occupancy else _TRAFFIC}"
        with self._shelf.reading(given["near"], given["far"]) as pieces:

            def ranked(among: str, where: str, hit: str, traces: Traces = ()) -> list[tuple[int, int, int]]:
                spans = _source(pieces, f"{_RANKED_COLUMNS}, ({hit}) as hit", where)
                sql = _RANKED.format(spans=spans, among=among, best=best)
                return self._run(sql, pieces, {**given, **_halves(traces)})

            matching = _source(pieces, "trace_hi, trace_lo", conditions)
            if self._run(_MANY.format(spans=matching), pieces, {**given, "few": _FEW}):
                look = _LOOK * query.limit
                candidates = _source(pieces, "trace_hi, trace_lo, start_ns, end_ns", f"{around} and {_CANDIDATE}")
                spans = self._run(_BEST.format(key=key, spans=candidates), pieces, {**given, "look": look})
                found = ranked(_THESE, f"{around} and {_ONE_OF}", conditions, {(hi, lo) for hi, lo, _ in spans})
                if len(spans) < look or (len(found) == query.limit and found[-1][2] >= spans[-1][2]):
                    return self._summaries(pieces, around, given, found)
            return self._summaries(pieces, around, given, ranked(matching, around, "true"))

    def _summaries(
        self, pieces: Pieces, where: str, given: dict[str, Any], ranked: Sequence[tuple[int, int, int]]
    ) -> tuple[TraceSummary, ...]:
        """What a list says of traces, in their order."""
        if not ranked:
            return ()
        traces = [(hi, lo) for hi, lo, _ in ranked]
        spans = _source(pieces, _SUMMARY_COLUMNS, f"{where} and {_ONE_OF}")
        rows = self._run(_SUMMARIES.format(spans=spans), pieces, {**given, **_halves(traces)})
        found = {row[:2]: _summary(row) for row in rows}
        return tuple(found[trace] for trace in traces)

    def _conditions(self, query: TraceQuery) -> tuple[str, dict[str, Any]]:
        """What a span has to be, as SQL of constants and keys of ours, and the values in it."""
        found = ["start_ns between $start and $end"]
        given: dict[str, Any] = {
            "start": _nanoseconds(query.start),
            "end": _nanoseconds(query.end),
            "near": _nanoseconds(query.start) - SPREAD_NS,
            "far": _nanoseconds(query.end) + SPREAD_NS,
            "limit": query.limit,
            "shortest": _nanoseconds(query.min_duration or 0.0),
            "longest": _LONGEST if query.max_duration is None else _nanoseconds(query.max_duration),
        }
        if not query.occupancy:
            found.append(_TRAFFIC)
        if query.service:
            found.append("service = $service")
            given["service"] = _cut(query.service.name)
            if not query.any_namespace:
                found.append("namespace = $namespace")
                given["namespace"] = _cut(query.service.namespace)
        if query.operation is not None:
            found.append("name = $operation")
            given["operation"] = _cut(query.operation)
        if query.errors_only:
            found.append(f"status = {_ERROR}")
        for at, (key, value) in enumerate(query.attributes.items()):
            if key not in self._keys:
                raise UnsearchableError(f"attribute {key!r} is not searched by; use one of {', '.join(self._keys)}")
            found.append(f'"{column_of(key)}" = $value{at}')
            given[f"value{at}"] = value
        return " and ".join(found), given

    def get(self, trace_id: str) -> Partial[Span]:
        """As `TraceSource.get`. A span that was sent twice is given once; the note says where spans are left out."""
        given = {"hi": int(trace_id[:16], 16), "lo": int(trace_id[16:], 16), "limit": MAX_SPANS + 1}
        found: dict[tuple[str, str], Span] = {}
        with self._shelf.reading(-(1 << 63), (1 << 63) - 1) as pieces:
            source = _source(pieces, _PLACES_COLUMNS, _OF_THIS)
            places = self._run(_PLACES.format(source=source), pieces, given)
            total, note = None, ""
            if len(places) > MAX_SPANS:
                sql = _COUNT.format(source=_source(pieces, "span, kind", _OF_THIS))
                ((total,),) = self._run(sql, pieces, given)
                note = f"only the first {MAX_SPANS:,} of its {total:,} spans can be read"
            try:
                for span in _spans(pieces, places[:MAX_SPANS]):
                    found.setdefault((span.span_id, span.kind), span)
            except OSError as error:
                raise StoreError(f"store {self._shelf.root}: cannot read spans: {error}") from error
        ordered = sorted(found.values(), key=lambda span: (span.start_ns, span.end_ns, span.span_id))
        return Partial(ordered, note, total)

    def _run(self, sql: str, pieces: Pieces, given: dict[str, Any]) -> list[tuple[Any, ...]]:
        """A query over the tables in memory and the segments. Only constants and keys of ours go into its text."""
        tables = [table.name for table in pieces.tables] or [f"{self._shelf.form.kind}_none"]
        files = [str(segment.folder / COLUMNS) for segment in pieces.segments]
        values = {"tables": tables, "files": files, **given}
        used = {name: value for name, value in values.items() if re.search(rf"\${name}\b", sql)}
        cursor = self._engine.cursor()
        try:
            return cursor.execute(sql, used).fetchall()
        except duckdb.Error as error:
            raise StoreError(f"store {self._shelf.root}: cannot read spans: {error}") from error
        finally:
            cursor.close()


def _source(pieces: Pieces, columns: str, where: str) -> str:
    """The rows of the tables in memory and of the segments, as SQL."""
    hot, cold = columns.replace("{file}", "''"), columns.replace("{file}", "filename")
    source = f"select {hot} from query_table($tables) where {where}"  # noqa: S608 - constants
    if not pieces.segments:
        return source
    files = "read_parquet($files, filename = true, union_by_name = true)"
    return f"{source} union all select {cold} from {files} where {where}"  # noqa: S608 - as above


def _spans(pieces: Pieces, places: list[tuple[Any, ...]]) -> Iterator[Span]:
    """The spans at places, each of whose blocks is read once."""
    for file, found in groupby(sorted(places), key=lambda place: place[0]):
        blocks = groupby((place for _, place, _ in found), key=lambda place: place // SPANS)
        if file:
            folder = next(each.folder for each in pieces.segments if str(each.folder / COLUMNS) == file)
            with (folder / BLOCKS).open("rb") as opened:
                for at, numbers in blocks:
                    yield from _picked(spans_at(opened, at), numbers)
        else:
            for at, numbers in blocks:
                yield from _picked(block_at(*_body(pieces.tables, at)), numbers)


def _picked(block: list[Span], numbers: Iterator[int]) -> Iterator[Span]:
    return (block[number % SPANS] for number in numbers)


def _body(tables: tuple[Table, ...], at: int) -> tuple[bytes, int]:
    """The body in memory that has this byte, and where in it."""
    table = next(table for table in tables if table.base <= at < table.reach)
    begins = list(accumulate((len(body) for body in table.bodies), initial=table.base))
    number = bisect_right(begins, at) - 1
    return table.bodies[number], at - begins[number]


def _halves(traces: Traces) -> dict[str, list[int]]:
    return {"hi": [hi for hi, _ in traces], "lo": [lo for _, lo in traces]}


def _cut(name: str) -> str:
    return name[:LONGEST_NAME]


def _nanoseconds(seconds: float) -> int:
    return max(-(1 << 61), min(1 << 61, round(seconds * 1e9)))


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
