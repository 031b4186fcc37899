"""Samples as row batches, in WAL payloads, in the head (DuckDB tables), and in blocks (Parquet files)."""

from __future__ import annotations

import heapq
import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, count, repeat
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from foreshock_dashboard.model.samples import Labels, SampleBatch
from foreshock_dashboard.store.blocks.duckdb_engine import copied_rows
from foreshock_dashboard.store.blocks.format import BlockFormat, Columns, HeadTable, RowBatch
from foreshock_dashboard.store.blocks.head import Head
from foreshock_dashboard.store.samples.series_index import (
    SeriesIndex,
    SeriesRefs,
    positions,
    series_text,
    series_text_prefix,
)

_COMPRESSION_LEVEL = 1
_ROW_BYTES = 24
_MAX_TIME_SECONDS = 1e12
_CompressionError: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub takes the class for an exception

SAMPLE_COLUMNS = {"metric": "INTEGER", "series": "INTEGER", "time": "BIGINT", "bits": "BIGINT"}
"""DuckDB types of the columns. `time` is in ms; `bits` is the bit pattern of the float64, which keeps staleness markers
intact in every encoding."""
SAMPLES_FILE, SERIES_FILE = "samples.parquet", "series.parquet"

_COPY = """
copy (select series, time, bits from query_table($table)) to $out
(format parquet, compression zstd, row_group_size 30720)
"""
_RANGE = "select series, time, bits from read_parquet($file) where series between $low and $high"
_SERIES_OF_ROWS = """
select series from read_parquet($file, file_row_number = true) where file_row_number between $first and $last
"""
MERGED_ROWS = 250_000
"""Rows that are merged at once, or those of one series if it has more: DuckDB would need a hundred bytes for each to
sort all of them."""
SERIES_ROWS = 8192
"""Series that are read at once, and a row group of their file."""
_SERIES = "copy (select id, text from names) to $out (format parquet, compression zstd, row_group_size 8192)"
_TEXTS = "select text from read_parquet($file) where id between $first and $last order by id"


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
            rows = cursor.table(table.name).select("series", "time", "bits").fetchnumpy()
            refs, place = np.unique(rows.pop("series"), return_inverse=True)
            ids, texts = np.full(len(refs), -1, np.int32), list[str]()
            metrics = self._index.metric_names(table.metric_refs)
            for metric in sorted(metrics, key=series_text_prefix):  # so that all texts are sorted, as `merge` needs
                of_metric, labels = self._index.select(metric, ())
                places = positions(refs, of_metric)  # of series that other threads add meanwhile: -1
                ordered = sorted(
                    (series_text(metric, labels[row]), places[row]) for row in np.flatnonzero(places >= 0).tolist()
                )
                ids[[number for _, number in ordered]] = range(len(texts), len(texts) + len(ordered))
                texts += (text for text, _ in ordered)
            if missing := int(np.count_nonzero(ids < 0)):
                raise ValueError(f"{missing} of {len(refs)} series with samples in memory are not in the index")
            _write_series(cursor, texts, folder)
            del texts  # before the samples are sorted: both together would be the largest part of the hub's peak
            cursor.register("ordered", _ordered({"series": ids[place], **rows}))
            cursor.execute(_COPY, {"table": "ordered", "out": str(folder / SAMPLES_FILE)})
        return table.rows, tuple(sorted(metrics))

    def merge(self, sources: list[Path], folder: Path) -> int:
        with self.engine.cursor() as cursor:
            files = [source / SERIES_FILE for source in sources]
            bases = [0, *accumulate(_row_count(cursor, file) for file in files)]
            texts, new = _merged_texts(cursor, files, bases)
            _write_series(cursor, texts, folder)
            count = len(texts)
            del texts
            samples = [source / SAMPLES_FILE for source in sources]
            total = sum(_row_count(cursor, file) for file in samples)
            ids_of = [*zip(samples, np.split(new, bases[1:-1]), strict=True)]
            rows_of = np.zeros(count, np.int64)
            for file, ids in ids_of:
                _add_row_counts(cursor, file, ids, rows_of)
            cursor.execute("create temp table merged (series integer, time bigint, bits bigint)")
            for first, end in _parts(rows_of):
                parts = [_rows_between(cursor, file, ids, first, end) for file, ids in ids_of]
                cursor.register("part", _ordered({name: np.concatenate([p[name] for p in parts]) for name in parts[0]}))
                cursor.execute("insert into merged by name select * from part")
                cursor.unregister("part")
            merged = copied_rows(cursor.execute(_COPY, {"table": "merged", "out": str(folder / SAMPLES_FILE)}))
        if merged != total:
            raise ValueError(f"{merged} of {total} rows were merged, because series of a block have no text")
        return total


def metrics_in(head: Head[SampleTable]) -> set[int]:
    """Return the refs of the metrics that have samples in the head."""
    batches, tables = head.contents()
    return set().union(
        *(table.metric_refs for table in tables), *(_distinct(batch.columns["metric"]) for batch in batches)
    )


def series_in(head: Head[SampleTable], engine: duckdb.DuckDBPyConnection) -> SeriesRefs:
    """Refs of the series with samples in the head, ascending. Raises duckdb.Error if a table cannot be read."""
    with head.paused() as (batches, tables), engine.cursor() as cursor:
        parts = [np.unique(batch.columns["series"]) for batch in batches]
        parts += [_series_of(cursor, table) for table in tables]
    return np.unique(np.concatenate([np.empty(0, np.int32), *parts]))


def _series_of(cursor: duckdb.DuckDBPyConnection, table: SampleTable) -> SeriesRefs:
    """Refs of the series in a table, ascending."""
    return np.sort(cursor.table(table.name).unique("series").fetchnumpy()["series"])


def _ordered(columns: Columns) -> Columns:
    """Sort samples by series and time. Of equal times, the first to arrive stays the first."""
    order = np.lexsort((columns["time"], columns["series"]))
    return {name: column[order] for name, column in columns.items()}


def _distinct(column: NDArray[Any]) -> set[int]:
    return set(np.unique(column).tolist())


def _write_series(cursor: duckdb.DuckDBPyConnection, texts: list[str], folder: Path) -> None:
    cursor.register("names", {"id": np.arange(len(texts), dtype=np.int32), "text": np.array(texts, dtype=object)})
    cursor.execute(_SERIES, {"out": str(folder / SERIES_FILE)})
    cursor.unregister("names")  # else it keeps the texts


def _row_count(cursor: duckdb.DuckDBPyConnection, file: Path) -> int:
    row = cursor.execute("select count(*) from read_parquet($file)", {"file": str(file)}).fetchone()
    return int(row[0]) if row else 0


def _merged_texts(
    cursor: duckdb.DuckDBPyConnection, files: list[Path], bases: list[int]
) -> tuple[list[str], SeriesRefs]:
    """Return the distinct texts of blocks' series, sorted, and the position of each series' text among them.

    The series of block i are those from `bases[i]`. A block whose texts are not sorted takes memory for all texts.
    """
    sources = [_texts_of(cursor, file, base) for file, base in zip(files, bases[:-1], strict=True)]
    try:
        return _distinct_texts(heapq.merge(*sources), bases[-1])
    except _NotSortedError:
        sources = [_texts_of(cursor, file, base) for file, base in zip(files, bases[:-1], strict=True)]
        return _distinct_texts(sorted(chain(*sources)), bases[-1])


class _NotSortedError(Exception):
    """Texts of series are not sorted."""


def _distinct_texts(sorted_texts: Iterable[tuple[str, int]], series: int) -> tuple[list[str], SeriesRefs]:
    """Return the distinct ones of texts, and by the number beside each its position among them."""
    texts, new = list[str](), np.empty(series, np.int32)
    for text, number in sorted_texts:
        if not texts or texts[-1] < text:
            texts.append(text)
        elif texts[-1] > text:
            raise _NotSortedError
        new[number] = len(texts) - 1
    return texts, new


def _add_row_counts(cursor: duckdb.DuckDBPyConnection, file: Path, ids: SeriesRefs, rows_of: NDArray[np.int64]) -> None:
    """Add the number of a block's rows of each series to `rows_of[ids[series]]`."""
    for first in range(0, _row_count(cursor, file), MERGED_ROWS):
        parameters = {"file": str(file), "first": first, "last": first + MERGED_ROWS - 1}
        series = cursor.execute(_SERIES_OF_ROWS, parameters).fetchnumpy()["series"]
        rows_of[ids] += np.bincount(series, minlength=len(ids))


def _parts(rows_of: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield first series and end of consecutive parts, each of at most `MERGED_ROWS` rows or of one series."""
    ends, first = np.cumsum(rows_of), 0
    while first < len(ends):
        most = ends[first] - rows_of[first] + MERGED_ROWS
        end = max(first + 1, int(np.searchsorted(ends, most, "right")))
        yield first, end
        first = end


def _rows_between(cursor: duckdb.DuckDBPyConnection, file: Path, ids: SeriesRefs, first: int, end: int) -> Columns:
    """Return a block's samples of those series whose new ids are in first … end - 1, with these ids."""
    found = np.flatnonzero((first <= ids) & (ids < end))
    low, high = (int(found[0]), int(found[-1])) if len(found) else (0, -1)
    rows = cursor.execute(_RANGE, {"file": str(file), "low": low, "high": high}).fetchnumpy()
    rows["series"] = ids[rows["series"]]
    if len(found) == high - low + 1:
        return rows
    inside = (first <= rows["series"]) & (rows["series"] < end)  # the texts of the block are not sorted
    return {name: column[inside] for name, column in rows.items()}


def _texts_of(cursor: duckdb.DuckDBPyConnection, file: Path, base: int) -> Iterator[tuple[str, int]]:
    """Yield the texts of a block's series, each with its id above `base`. Few are in memory at a time."""
    for first in count(0, SERIES_ROWS):
        parameters = {"file": str(file), "first": first, "last": first + SERIES_ROWS - 1}
        rows = cursor.execute(_TEXTS, parameters).fetchall()
        if not rows:
            return
        yield from zip((text for (text,) in rows), count(base + first))


# --- row batches and WAL payloads


def sample_rows(batches: Sequence[SampleBatch], index: SeriesIndex) -> tuple[RowBatch, bytes]:
    """Return the rows of scrapes and their WAL payload; those beyond the index's limit are refused.

    Raises ValueError for an invalid time.
    """
    series = [(sample.metric, sample.labels) for batch in batches for sample in batch.samples]
    is_own = chain.from_iterable(
        chain(repeat(False, len(batch.samples) - batch.own), repeat(True, batch.own)) for batch in batches
    )
    refs, metrics = index.intern(series, is_own)
    values = np.array([sample.value for batch in batches for sample in batch.samples], dtype=np.float64)
    scrape_times = np.array([_milliseconds(batch) for batch in batches], dtype=np.int64)
    times = np.repeat(scrape_times, [len(batch.samples) for batch in batches])
    rows = _row_batch(np.array(refs, np.int32), np.array(metrics, np.int32), times, values.view(np.int64))
    return rows, _packed(rows, dict(zip(refs, series, strict=True)))


def _milliseconds(batch: SampleBatch) -> int:
    if not (math.isfinite(batch.time) and abs(batch.time) < _MAX_TIME_SECONDS):
        raise ValueError(f"target {batch.target}: a scrape's time cannot be {batch.time}")
    return round(batch.time * 1000)


def _row_batch(refs: SeriesRefs, metrics: SeriesRefs, times: NDArray[Any], bits: NDArray[Any]) -> RowBatch:
    accepted = refs >= 0
    refused = int(len(refs) - np.count_nonzero(accepted))
    if refused:
        refs, metrics, times, bits = refs[accepted], metrics[accepted], times[accepted], bits[accepted]
    start, end = (int(times.min()), int(times.max())) if len(times) else (0, 0)
    columns: Columns = {"metric": metrics, "series": refs, "time": times, "bits": bits}
    return RowBatch(columns, len(refs), start, end, _ROW_BYTES * len(refs), refused)


def _packed(batch: RowBatch, series: Mapping[int, tuple[str, Labels]]) -> bytes:
    """Return the WAL payload of a batch: each series' text once, then series numbers, times and bit patterns.

    series: metric and labels by ref.
    """
    refs, local = np.unique(batch.columns["series"], return_inverse=True)
    names = "\n".join(series_text(*series[ref]) for ref in refs.tolist()).encode()
    parts = (
        struct.pack("<II", len(names), batch.rows),
        names,
        local.astype("<i4").tobytes(),
        batch.columns["time"].astype("<i8").tobytes(),
        batch.columns["bits"].astype("<i8").tobytes(),
    )
    return isal_zlib.compress(b"".join(parts), _COMPRESSION_LEVEL)


def unpack_samples(payload: bytes, index: SeriesIndex) -> RowBatch:
    """Return the rows of a WAL payload. Raises ValueError if the payload is malformed."""
    try:
        body = isal_zlib.decompress(payload)
        length, rows = struct.unpack_from("<II", body)
        names = body[8 : 8 + length].decode().split("\n")
        offset = 8 + length
        local = np.frombuffer(body, "<i4", rows, offset)
        times = np.frombuffer(body, "<i8", rows, offset + 4 * rows)
        bits = np.frombuffer(body, "<i8", rows, offset + 12 * rows)
        found = np.array(index.intern_texts(names) if length else ([], []), np.int32)
        refs, metrics = found[:, local] if rows else np.empty((2, 0), np.int32)
    except (_CompressionError, struct.error, IndexError, TypeError) as error:
        raise ValueError(f"not a row of samples: {error}") from error
    return _row_batch(refs, metrics, times, bits)
