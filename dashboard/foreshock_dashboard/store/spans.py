"""How traces are listed and read from a shelf of spans."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
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

_FIRST_LOOK = 16
"""Spans looked at per trace wanted, at first: most traces have fewer that match."""
_WIDEN = 16

_TRAFFIC = f"(name <> '{OCCUPANCY}' or service <> '{EXPORTER}')"  # as Span.occupancy
_ERROR = STATUSES.index("error")
_RANKED = """
select trace_hi, trace_lo from ({source})
order by {best} desc, trace_hi, trace_lo
limit $look
"""
_SUMMARIES = f"""
with span as ({{source}})
select
  trace_hi,
  trace_lo,
  min(start_ns) as first,
  max(end_ns) as last,
  count(distinct (span, kind)) as spans,
  count(distinct (span, kind)) filter (status = {_ERROR}) as errors,
  list(distinct [namespace, service]) as services,
  arg_min([namespace, service, name], (not root, start_ns)) as head,
  bool_or(root) as root
from span
group by trace_hi, trace_lo
order by {{best}} desc, trace_hi, trace_lo
"""  # noqa: S608 - constants
_SUMMARY_COLUMNS = "trace_hi, trace_lo, span, root, name, kind, start_ns, end_ns, status, namespace, service"
_OF_THESE = (
    "start_ns between $near and $far and trace_hi in (select unnest($hi::ubigint[])) "
    "and (trace_hi, trace_lo) in (select (unnest($hi::ubigint[]), unnest($lo::ubigint[])))"
)
_PLACES = "select * from ({source}) order by start_ns limit $limit"
_PLACES_COLUMNS = "{file} as file, place, start_ns"
_OF_THIS = "trace_hi = $hi::ubigint and trace_lo = $lo::ubigint"


class SpanReader:
    """Lists and reads traces. `keys` are the attributes that spans are searched by."""

    def __init__(self, shelf: Shelf, engine: duckdb.DuckDBPyConnection, keys: tuple[str, ...]) -> None:
        self._shelf, self._engine, self._keys = shelf, engine, keys

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """As `TraceSource.search`. A trace's duration reaches from its first start to its last end.

        Two passes, so that neither groups all spans of the range: the first ranks matching spans and takes as many as
        give the traces wanted, the second reads those traces whole.
        """
        traces = self._ranked(query)
        if not traces:
            return ()
        near, far = _nanoseconds(query.start) - SPREAD_NS, _nanoseconds(query.end) + SPREAD_NS
        given = {"near": near, "far": far, "hi": [hi for hi, _ in traces], "lo": [lo for _, lo in traces]}
        where = _OF_THESE if query.occupancy else f"{_OF_THESE} and {_TRAFFIC}"
        best = "last - first" if query.order == "slowest" else "first"
        sql = _SUMMARIES.replace("{best}", best)
        with self._shelf.reading(near, far) as pieces:
            return tuple(map(_summary, self._run(sql, _SUMMARY_COLUMNS, where, pieces, given)))

    def _ranked(self, query: TraceQuery) -> list[tuple[int, int]]:
        """The ids of the first `limit` traces by their best matching span."""
        conditions, given = self._conditions(query)
        best = "end_ns - start_ns" if query.order == "slowest" else "start_ns"
        sql, where = _RANKED.replace("{best}", best), " and ".join(conditions)
        look = query.limit * _FIRST_LOOK
        with self._shelf.reading(given["start"], given["end"]) as pieces:
            while True:
                columns = "trace_hi, trace_lo, start_ns, end_ns"
                spans = self._run(sql, columns, where, pieces, {**given, "look": look})
                traces = list(dict.fromkeys(spans))
                if len(traces) >= query.limit or len(spans) < look:
                    return traces[: query.limit]
                look *= _WIDEN

    def _conditions(self, query: TraceQuery) -> tuple[list[str], dict[str, Any]]:
        """What a span has to be, as SQL of constants and keys of ours, and the values in it."""
        found = ["start_ns between $start and $end"]
        given: dict[str, Any] = {"start": _nanoseconds(query.start), "end": _nanoseconds(query.end)}
        if not query.occupancy:
            found.append(_TRAFFIC)
        if query.service:
            found.append("service = $service and namespace = $namespace")
            given |= {"service": _cut(query.service.name), "namespace": _cut(query.service.namespace)}
        if query.operation is not None:
            found.append("name = $operation")
            given["operation"] = _cut(query.operation)
        if query.min_duration is not None:
            found.append("end_ns - start_ns >= $shortest")
            given["shortest"] = _nanoseconds(query.min_duration)
        if query.max_duration is not None:
            found.append("end_ns - start_ns <= $longest")
            given["longest"] = _nanoseconds(query.max_duration)
        if query.errors_only:
            found.append(f"status = {_ERROR}")
        for at, (key, value) in enumerate(query.attributes.items()):
            if key not in self._keys:
                raise UnsearchableError(f"attribute {key!r} is not searched by; use one of {', '.join(self._keys)}")
            found.append(f'"{column_of(key)}" = $value{at}')
            given[f"value{at}"] = value
        return found, given

    def get(self, trace_id: str) -> Partial[Span]:
        """As `TraceSource.get`. A span that was sent twice is given once; the note says where spans are left out."""
        given = {"hi": int(trace_id[:16], 16), "lo": int(trace_id[16:], 16), "limit": MAX_SPANS + 1}
        found: dict[tuple[str, str], Span] = {}
        with self._shelf.reading(-(1 << 63), (1 << 63) - 1) as pieces:
            places = self._run(_PLACES, _PLACES_COLUMNS, _OF_THIS, pieces, given)
            note = f"only the first {MAX_SPANS} spans of the trace are given" if len(places) > MAX_SPANS else ""
            try:
                for span in _spans(pieces, places[:MAX_SPANS]):
                    found.setdefault((span.span_id, span.kind), span)
            except OSError as error:
                raise StoreError(f"store {self._shelf.root}: cannot read spans: {error}") from error
        ordered = sorted(found.values(), key=lambda span: (span.start_ns, span.end_ns, span.span_id))
        return Partial(ordered, note)

    def _run(self, sql: str, columns: str, where: str, pieces: Pieces, given: dict[str, Any]) -> list[tuple[Any, ...]]:
        """A query over the tables in memory and the segments. Only constants and keys of ours go into its text."""
        if not pieces.tables and not pieces.segments:
            return []
        tables = [table.name for table in pieces.tables] or [f"{self._shelf.form.kind}_none"]
        hot = columns.format(file="''")
        source = f"select {hot} from query_table($tables) where {where}"  # noqa: S608 - constants
        if pieces.segments:
            cold = columns.format(file="filename")
            files = "read_parquet($files, filename = true, union_by_name = true)"
            source = f"{source} union all select {cold} from {files} where {where}"  # noqa: S608 - constants
            given = {**given, "files": [str(segment.folder / COLUMNS) for segment in pieces.segments]}
        cursor = self._engine.cursor()
        try:
            return cursor.execute(sql.replace("{source}", source), {**given, "tables": tables}).fetchall()
        except duckdb.Error as error:
            raise StoreError(f"store {self._shelf.root}: cannot read spans: {error}") from error
        finally:
            cursor.close()


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


def _cut(name: str) -> str:
    return name[:LONGEST_NAME]


def _nanoseconds(seconds: float) -> int:
    return max(-(1 << 61), min(1 << 61, round(seconds * 1e9)))


def _summary(row: tuple[Any, ...]) -> TraceSummary:
    high, low, first, last, spans, errors, services, head, root = row
    return TraceSummary(
        trace_id=f"{high:016x}{low:016x}",
        service=Service(head[0], head[1]),
        operation=head[2],
        start=first / 1e9,
        duration=(last - first) / 1e9,
        spans=spans,
        errors=errors,
        services=tuple(sorted(Service(namespace, name) for namespace, name in services)),
        root=bool(root),
    )
