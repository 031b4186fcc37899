"""Samples as row batches, in WAL payloads, in the head (DuckDB tables), and in blocks (Parquet files)."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, count
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from foreshock_dashboard.model.samples import SampleBatch
from foreshock_dashboard.store.blocks.duckdb_engine import copied_rows
from foreshock_dashboard.store.blocks.format import BlockFormat, Columns, HeadTable, RowBatch
from foreshock_dashboard.store.blocks.head import Head
from foreshock_dashboard.store.samples.series_index import SeriesIndex

_COMPRESSION_LEVEL = 1
_ROW_BYTES = 24
_MAX_TIME_SECONDS = 1e12
_CompressionError: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub takes the class for an exception

SAMPLE_COLUMNS = {"metric": "INTEGER", "series": "INTEGER", "time": "BIGINT", "bits": "BIGINT"}
"""DuckDB types of the columns. `time` is in ms; `bits` is the bit pattern of the float64, which keeps staleness markers
intact in every encoding."""
SAMPLES_FILE, SERIES_FILE = "samples.parquet", "series.parquet"

# Ids are looked up in a list: of each hash join, DuckDB 2.0 keeps 4 KB, until tens of MiB have accumulated. The list is
# by rank, as refs are never reused: one by ref would grow until it does not fit.
_WRITE = """
copy (
  select m.ids[place] as series, time, bits
  from (
    select *, dense_rank() over (order by series) as place
    from (select *, row_number() over () as arrival from query_table($table))
  )
  cross join (select list(new order by place) as ids from remap) m
  order by 1, time, arrival
) to $out (format parquet, compression zstd, row_group_size 30720)
"""
_MERGE = """
copy (
  select m.ids[($bases::bigint[])[file_index::bigint + 1] + series + 1] as series, time, bits
  from (select series, time, bits, file_index, file_row_number from read_parquet($files))
  cross join (select list(new order by place) as ids from remap) m
  order by 1, time, file_index, file_row_number
) to $out (format parquet, compression zstd, row_group_size 30720)
"""
_SERIES = "copy (select id, text from names order by id) to $out (format parquet, compression zstd)"


@dataclass(eq=False, slots=True)
class SampleTable(HeadTable):
    """A DuckDB table of samples."""

    name: str = ""
    metric_refs: set[int] = field(default_factory=set)
    """Refs of the metrics in the table."""


class SampleFormat(BlockFormat[SampleTable]):
    """Blocks of samples: `samples.parquet` (series, time in ms, float64 as bits) and `series.parquet` (id, text).

    Series ids are local to a block and ordered by metric and labels, so that a metric is one range of the file.
    """

    kind = "metrics"
    second = 1_000

    def __init__(self, index: SeriesIndex, engine: duckdb.DuckDBPyConnection) -> None:
        self.engine = engine
        self._index = index
        self._table_numbers = count(1)

    def create(self, now: float) -> SampleTable:
        name = f"{self.kind}_{next(self._table_numbers)}"
        columns = ", ".join(f'"{column}" {sql_type}' for column, sql_type in SAMPLE_COLUMNS.items())
        with self.engine.cursor() as cursor:
            cursor.execute(f"create table {name} ({columns})")
        return SampleTable(now, name=name)

    def insert(self, table: SampleTable, batches: Sequence[RowBatch]) -> None:
        columns = {name: np.concatenate([batch.columns[name] for batch in batches]) for name in SAMPLE_COLUMNS}
        with self.engine.cursor() as cursor:
            cursor.register("inserted", columns)
            cursor.execute(f"insert into {table.name} by name select * from inserted")  # noqa: S608 - own name
        table.metric_refs = table.metric_refs | _distinct(columns["metric"])

    def drop(self, table: SampleTable) -> None:
        with self.engine.cursor() as cursor:
            cursor.execute(f"drop table if exists {table.name}")

    def write(self, table: SampleTable, folder: Path) -> tuple[int, tuple[str, ...]]:
        with self.engine.cursor() as cursor:
            distinct = cursor.execute("select distinct series from query_table($table)", {"table": table.name})
            refs = distinct.fetchnumpy()["series"]
            ordered = sorted((self._index.text(ref), ref) for ref in refs.tolist())
            old = np.array([ref for _, ref in ordered], dtype=np.int32)
            new = np.argsort(old).astype(np.int32)
            cursor.register("remap", {"place": np.arange(len(new), dtype=np.int64), "new": new})
            cursor.execute(_WRITE, {"table": table.name, "out": str(folder / SAMPLES_FILE)})
            _write_series(cursor, [text for text, _ in ordered], folder)
        metrics = self._index.metric_names({self._index.metric_refs[ref] for ref in old.tolist()})
        return table.rows, tuple(sorted(metrics))

    def merge(self, sources: list[Path], folder: Path) -> int:
        with self.engine.cursor() as cursor:
            texts = [_series_texts(cursor, source) for source in sources]
            merged = sorted({text for source_texts in texts for text in source_texts})
            new_ids = {text: series_id for series_id, text in enumerate(merged)}
            new = np.array([new_ids[text] for source_texts in texts for text in source_texts], np.int32)
            cursor.register("remap", {"place": np.arange(len(new), dtype=np.int64), "new": new})
            parameters = {
                "files": [str(source / SAMPLES_FILE) for source in sources],
                "bases": [0, *accumulate(map(len, texts[:-1]))],
                "out": str(folder / SAMPLES_FILE),
            }
            rows = copied_rows(cursor.execute(_MERGE, parameters))
            _write_series(cursor, merged, folder)
        return rows


def metrics_in(head: Head[SampleTable]) -> set[int]:
    """Return the refs of the metrics that have samples in the head."""
    batches, tables = head.contents()
    return set().union(
        *(table.metric_refs for table in tables), *(_distinct(batch.columns["metric"]) for batch in batches)
    )


def series_in(head: Head[SampleTable], engine: duckdb.DuckDBPyConnection) -> set[int]:
    """Return the refs of the series that have samples in the head. Raises duckdb.Error if a table cannot be read."""
    with head.paused() as (batches, tables), engine.cursor() as cursor:
        refs = set().union(*(_distinct(batch.columns["series"]) for batch in batches))
        for table in tables:
            refs.update(cursor.table(table.name).unique("series").fetchnumpy()["series"].tolist())
    return refs


def _distinct(column: NDArray[Any]) -> set[int]:
    return set(np.unique(column).tolist())


def _write_series(cursor: duckdb.DuckDBPyConnection, texts: list[str], folder: Path) -> None:
    cursor.register("names", {"id": np.arange(len(texts), dtype=np.int32), "text": np.array(texts, dtype=object)})
    cursor.execute(_SERIES, {"out": str(folder / SERIES_FILE)})


def _series_texts(cursor: duckdb.DuckDBPyConnection, folder: Path) -> list[str]:
    parameters = {"file": str(folder / SERIES_FILE)}
    rows = cursor.execute("select text from read_parquet($file) order by id", parameters).fetchall()
    return [text for (text,) in rows]


# --- row batches and WAL payloads


def sample_rows(batches: Sequence[SampleBatch], index: SeriesIndex) -> RowBatch:
    """Return the rows of scrapes; those beyond the index's limit are refused. Raises ValueError for an invalid time."""
    series = [(sample.metric, sample.labels) for batch in batches for sample in batch.samples]
    refs = np.array(index.intern(series), dtype=np.int32)
    values = np.array([sample.value for batch in batches for sample in batch.samples], dtype=np.float64)
    scrape_times = np.array([_milliseconds(batch) for batch in batches], dtype=np.int64)
    times = np.repeat(scrape_times, [len(batch.samples) for batch in batches])
    return _row_batch(refs, times, values.view(np.int64), index)


def _milliseconds(batch: SampleBatch) -> int:
    if not (math.isfinite(batch.time) and abs(batch.time) < _MAX_TIME_SECONDS):
        raise ValueError(f"target {batch.target}: a scrape's time cannot be {batch.time}")
    return round(batch.time * 1000)


def _row_batch(refs: NDArray[np.int32], times: NDArray[Any], bits: NDArray[Any], index: SeriesIndex) -> RowBatch:
    accepted = refs >= 0
    refused = int(len(refs) - np.count_nonzero(accepted))
    if refused:
        refs, times, bits = refs[accepted], times[accepted], bits[accepted]
    metric = np.fromiter(map(index.metric_refs.__getitem__, refs.tolist()), np.int32, len(refs))
    start, end = (int(times.min()), int(times.max())) if len(times) else (0, 0)
    columns: Columns = {"metric": metric, "series": refs, "time": times, "bits": bits}
    return RowBatch(columns, len(refs), start, end, _ROW_BYTES * len(refs), refused)


def pack_samples(batch: RowBatch, index: SeriesIndex) -> bytes:
    """Return the WAL payload of a batch: each series' text once, then series numbers, times and bit patterns."""
    refs, local = np.unique(batch.columns["series"], return_inverse=True)
    names = "\n".join(map(index.text, refs.tolist())).encode()
    parts = (
        struct.pack("<II", len(names), batch.rows),
        names,
        local.astype("<i4").tobytes(),
        batch.columns["time"].astype("<i8").tobytes(),
        batch.columns["bits"].astype("<i8").tobytes(),
    )
    return isal_zlib.compress(b"".join(parts), _COMPRESSION_LEVEL)


def unpack_samples(payload: bytes, index: SeriesIndex) -> RowBatch:
    """Inverse of `pack_samples`. Raises ValueError if the payload is malformed."""
    try:
        body = isal_zlib.decompress(payload)
        length, rows = struct.unpack_from("<II", body)
        names = body[8 : 8 + length].decode().split("\n")
        offset = 8 + length
        local = np.frombuffer(body, "<i4", rows, offset)
        times = np.frombuffer(body, "<i8", rows, offset + 4 * rows)
        bits = np.frombuffer(body, "<i8", rows, offset + 12 * rows)
        refs = np.array(index.intern_texts(names) if length else [], np.int32)
        series = refs[local] if rows else np.empty(0, np.int32)
    except (_CompressionError, struct.error, IndexError, TypeError) as error:
        raise ValueError(f"not a row of samples: {error}") from error
    return _row_batch(series, times, bits, index)
