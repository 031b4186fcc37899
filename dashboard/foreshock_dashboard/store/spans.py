"""Spans in the store: how a segment of them looks, and how traces are listed and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import EXPORTER, OCCUPANCY, Span, TraceQuery, TraceSummary
from foreshock_dashboard.store.codec import SPAN_COLUMNS, span_of
from foreshock_dashboard.store.errors import StoreError
from foreshock_dashboard.store.pieces import Pieces
from foreshock_dashboard.store.shelf import Shelf

SPREAD_NS = 3_600 * 10**9
"""How far outside the asked range the rest of a trace is looked for."""
MAX_SPANS = 100_000
"""Spans of one trace that are given, the earliest first."""

_COPY = "(format parquet, compression zstd, row_group_size 20480)"
_SEAL = f"copy (select * from query_table($table) order by trace_id, start_ns) to $out {_COPY}"  # noqa: S608 - constants
_MERGE = f"copy (select * from read_parquet($files) order by trace_id, start_ns) to $out {_COPY}"  # noqa: S608 - constants

_FIRST_LOOK = 16
"""Spans looked at per trace wanted, at first: most traces have fewer that match."""
_WIDEN = 16

_FACTS = "trace_id, span_id, parent_id, name, kind, start_ns, end_ns, status, namespace, service"
_TRAFFIC = f"($occupancy or name <> '{OCCUPANCY}' or service <> '{EXPORTER}')"  # Span.occupancy, TraceQuery.occupancy
_MATCHING = f"""
where start_ns between $start and $end
  and {_TRAFFIC}
  and ($service::varchar is null or (service = $service and namespace = $namespace))
  and ($operation::varchar is null or name = $operation)
  and ($key::varchar is null or $value in (json_extract_string(attributes, $key), json_extract_string(resource, $key)))
  and ($shortest::bigint is null or end_ns - start_ns >= $shortest)
  and ($longest::bigint is null or end_ns - start_ns <= $longest)
  and (not $errors or status = 'error')
"""
_RANKED = """
select trace_id from ({source})
order by case when $slowest then end_ns - start_ns else start_ns end desc, trace_id
limit $look
"""
_SUMMARIES = """
with span as ({source})
select
  trace_id,
  min(start_ns) as first,
  max(end_ns) as last,
  count(distinct (span_id, kind)) as spans,
  count(distinct (span_id, kind)) filter (status = 'error') as errors,
  list(distinct [namespace, service]) as services,
  arg_min([namespace, service, name], (parent_id <> '', start_ns)) as head,
  bool_or(parent_id = '') as root
from span
group by trace_id
order by case when $slowest then last - first else first end desc, trace_id
"""
_OF_THESE = f"where start_ns between $near and $far and {_TRAFFIC} and trace_id in (select unnest($traces))"


def _over(sql: str, columns: str, where: str) -> tuple[str, str]:
    """A query over the tables in memory, and over these and segments. Only constants go in."""
    hot = f"select {columns} from query_table($tables) {where}"  # noqa: S608 - constants
    cold = f"select {columns} from read_parquet($files) {where}"  # noqa: S608 - constants
    return sql.format(source=hot), sql.format(source=f"{cold} union all {hot}")


_RANKINGS = _over(_RANKED, "trace_id, start_ns, end_ns", _MATCHING)
_LISTS = _over(_SUMMARIES, _FACTS, _OF_THESE)
_GETS = _over("{source} order by start_ns limit $limit", ", ".join(SPAN_COLUMNS), "where trace_id = $trace")


class SpanFormat:
    """Segments of spans: `spans.parquet`, sorted by trace and start."""

    kind = "spans"
    columns = SPAN_COLUMNS
    day = 86_400 * 10**9

    def write(self, cursor: duckdb.DuckDBPyConnection, table: str, folder: Path) -> tuple[str, ...]:
        """Write a table's rows."""
        cursor.execute(_SEAL, {"table": table, "out": str(folder / "spans.parquet")})
        return ()

    def merge(self, cursor: duckdb.DuckDBPyConnection, sources: list[Path], folder: Path) -> None:
        """Write the rows of several segments as one."""
        files = [str(source / "spans.parquet") for source in sources]
        cursor.execute(_MERGE, {"files": files, "out": str(folder / "spans.parquet")})


class SpanReader:
    """Lists and reads traces from a shelf of spans."""

    def __init__(self, shelf: Shelf, engine: duckdb.DuckDBPyConnection) -> None:
        self._shelf, self._engine = shelf, engine

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """As `TraceSource.search`. A trace's duration reaches from its first start to its last end.

        Two passes, so that neither groups all spans of the range: the first ranks matching spans and takes as many as
        give the traces wanted, the second reads those traces whole.
        """
        start, end = _nanoseconds(query.start), _nanoseconds(query.end)
        traces = self._ranked(query, start, end)
        near, far = start - SPREAD_NS, end + SPREAD_NS
        given = {
            "near": near,
            "far": far,
            "occupancy": query.occupancy,
            "traces": traces,
            "slowest": query.order == "slowest",
        }
        return tuple(_summary(row) for row in self._run(_LISTS, near, far, given)) if traces else ()

    def _ranked(self, query: TraceQuery, start: int, end: int) -> list[str]:
        """The ids of the first `limit` traces by their best matching span."""
        given = {
            "start": start,
            "end": end,
            "occupancy": query.occupancy,
            "service": query.service.name if query.service else None,
            "namespace": query.service.namespace if query.service else None,
            "operation": query.operation,
            "key": _path(query.attribute[0]) if query.attribute else None,
            "value": query.attribute[1] if query.attribute else None,
            "shortest": None if query.min_duration is None else _nanoseconds(query.min_duration),
            "longest": None if query.max_duration is None else _nanoseconds(query.max_duration),
            "errors": query.errors_only,
            "slowest": query.order == "slowest",
        }
        look = query.limit * _FIRST_LOOK
        while True:
            spans = self._run(_RANKINGS, start, end, {**given, "look": look})
            traces = list(dict.fromkeys(trace_id for (trace_id,) in spans))
            if len(traces) >= query.limit or len(spans) < look:
                return traces[: query.limit]
            look *= _WIDEN

    def get(self, trace_id: str) -> tuple[Span, ...]:
        """As `TraceSource.get`. A span that was sent twice is given once."""
        given = {"trace": trace_id, "limit": MAX_SPANS}
        found: dict[tuple[str, str], Span] = {}
        for row in self._run(_GETS, -(1 << 63), (1 << 63) - 1, given):
            span = span_of(dict(zip(SPAN_COLUMNS, row, strict=True)))
            found.setdefault((span.span_id, span.kind), span)
        return tuple(sorted(found.values(), key=lambda span: (span.start_ns, span.end_ns, span.span_id)))

    def _run(self, sql: tuple[str, str], start: int, end: int, given: dict[str, Any]) -> list[tuple[Any, ...]]:
        cursor = self._engine.cursor()
        try:
            with self._shelf.reading(start, end) as pieces:
                if not pieces.tables and not pieces.segments:
                    return []
                text, where = _bind(sql, pieces, self._shelf.form.kind)
                return cursor.execute(text, {**given, **where}).fetchall()
        except duckdb.Error as error:
            raise StoreError(f"store {self._shelf.root}: cannot read spans: {error}") from error
        finally:
            cursor.close()


def _bind(sql: tuple[str, str], pieces: Pieces, kind: str) -> tuple[str, dict[str, Any]]:
    hot, both = sql
    where: dict[str, Any] = {"tables": [table.name for table in pieces.tables] or [f"{kind}_none"]}
    if not pieces.segments:
        return hot, where
    return both, {**where, "files": [str(segment.folder / "spans.parquet") for segment in pieces.segments]}


def _path(key: str) -> str:
    """Where an attribute is in the JSON of all of them."""
    return '$."' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _nanoseconds(seconds: float) -> int:
    return max(-(1 << 61), min(1 << 61, round(seconds * 1e9)))


def _summary(row: tuple[Any, ...]) -> TraceSummary:
    trace_id, first, last, spans, errors, services, head, root = row
    return TraceSummary(
        trace_id=trace_id,
        service=Service(head[0], head[1]),
        operation=head[2],
        start=first / 1e9,
        duration=(last - first) / 1e9,
        spans=spans,
        errors=errors,
        services=tuple(sorted(Service(namespace, name) for namespace, name in services)),
        root=bool(root),
    )
