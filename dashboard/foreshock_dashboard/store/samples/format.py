"""Samples as row batches, in WAL payloads, in the head (DuckDB tables), and in blocks (Parquet files)."""

from __future__ import annotations

import heapq
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, chain, count, islice, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
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
_BLOCK_COLUMNS = ("series", "time", "bits")
SAMPLES_FILE, SERIES_FILE = "samples.parquet", "series.parquet"

_PARQUET = "(format parquet, compression zstd, row_group_size {})"
_SAMPLES_PER_ROW_GROUP = 30_720
_RANGE = "select series, time, bits from read_parquet($file) where series between $low and $high"
_SERIES_OF_ROWS = """
select series from read_parquet($file, file_row_number = true) where file_row_number between $first and $last
"""
MERGED_ROWS = 100_000
"""Rows that are merged at once, or those of one series if it has more: DuckDB would need a hundred bytes for each to
sort all of them."""
SERIES_ROWS = 4096
"""Series that are read at once, and a row group of their file."""
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
            rows = cursor.table(table.name).select(*_BLOCK_COLUMNS).fetchnumpy()
            refs = np.unique(rows["series"])
            ids = np.full(len(refs), -1, np.int32)
            metrics = self._index.metric_names(table.metric_refs)
            _write_series(cursor, self._sorted_texts(metrics, refs, ids), folder)
            if missing := int(np.count_nonzero(ids < 0)):
                raise ValueError(f"{missing} of {len(refs)} series with samples in memory are not in the index")
            rows["series"] = ids[np.searchsorted(refs, rows["series"])]
            with _written_in_parts(cursor, folder / SAMPLES_FILE, _SAMPLES_PER_ROW_GROUP) as write_part:
                write_part(_ordered(rows))
        return table.rows, tuple(sorted(metrics))

    def _sorted_texts(self, metrics: frozenset[str], refs: SeriesRefs, ids: SeriesRefs) -> Iterator[str]:
        """Yield the texts of series, sorted, as `merge` needs them; set `ids` of each of `refs` to its position."""
        number = 0
        for metric in sorted(metrics, key=series_text_prefix):
            of_metric, labels = self._index.select(metric, ())
            places = positions(refs, of_metric)  # of series that other threads add meanwhile: -1
            texts = sorted((series_text(metric, labels[row]), row) for row in np.flatnonzero(places >= 0).tolist())
            ids[places[[row for _, row in texts]]] = range(number, number + len(texts))
            number += len(texts)
            yield from (text for text, _ in texts)

    def merge(self, sources: list[Path], folder: Path) -> int:
        with self.engine.cursor() as cursor:
            files = [source / SERIES_FILE for source in sources]
            bases = [0, *accumulate(_row_count(cursor, file) for file in files)]
            new = np.empty(bases[-1], np.int32)
            series = _write_merged_series(cursor, files, bases, new, folder)
            samples = [source / SAMPLES_FILE for source in sources]
            total = sum(_row_count(cursor, file) for file in samples)
            ids_of = [*zip(samples, np.split(new, bases[1:-1]), strict=True)]
            rows_of = np.zeros(series, np.int64)
            for file, ids in ids_of:
                _add_row_counts(cursor, file, ids, rows_of)
            merged = 0
            with _written_in_parts(cursor, folder / SAMPLES_FILE, _SAMPLES_PER_ROW_GROUP) as write_part:
                for first, end in _parts(rows_of):
                    parts = [_rows_between(cursor, file, ids, first, end) for file, ids in ids_of]
                    rows = {name: np.concatenate([part.pop(name) for part in parts]) for name in _BLOCK_COLUMNS}
                    merged += write_part(_ordered(rows))
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
    """Move samples out of `columns`, by series and time. Of equal times, the first to arrive stays the first."""
    order = np.lexsort((columns["time"], columns["series"]))
    return {name: columns.pop(name)[order] for name in _BLOCK_COLUMNS}


def _distinct(column: NDArray[Any]) -> set[int]:
    return set(np.unique(column).tolist())


@contextmanager
def _written_in_parts(
    cursor: duckdb.DuckDBPyConnection, file: Path, row_group_rows: int
) -> Iterator[Callable[[Columns], int]]:
    """Give a function that writes the next rows of a Parquet file, and returns their number.

    DuckDB cannot append to a file, so it joins one file of each part, with few rows in memory at a time.
    """
    options = _PARQUET.format(row_group_rows)
    with TemporaryDirectory(dir=file.parent, ignore_cleanup_errors=True) as folder:
        parts: list[str] = []

        def write(rows: Columns) -> int:
            parts.append(f"{folder}/{len(parts)}.parquet")
            cursor.register("part", rows)
            written = copied_rows(cursor.execute(f"copy (from part) to $out {options}", {"out": parts[-1]}))
            cursor.unregister("part")  # else it keeps the rows
            return written

        yield write
        if len(parts) == 1:
            Path(parts[0]).rename(file)
        elif parts:
            cursor.execute(f"copy (from read_parquet($parts)) to $out {options}", {"parts": parts, "out": str(file)})


def _write_series(cursor: duckdb.DuckDBPyConnection, texts: Iterable[str], folder: Path) -> int:
    """Write the texts of series by ascending id. Return their number."""
    remaining, first = iter(texts), 0
    with _written_in_parts(cursor, folder / SERIES_FILE, SERIES_ROWS) as write_part:
        while part := [*islice(remaining, SERIES_ROWS)]:
            ids = np.arange(first, first + len(part), dtype=np.int32)
            first += write_part({"id": ids, "text": np.array(part, dtype=object)})
    return first


def _row_count(cursor: duckdb.DuckDBPyConnection, file: Path) -> int:
    row = cursor.execute("select count(*) from read_parquet($file)", {"file": str(file)}).fetchone()
    return int(row[0]) if row else 0


def _write_merged_series(
    cursor: duckdb.DuckDBPyConnection, files: list[Path], bases: list[int], new: SeriesRefs, folder: Path
) -> int:
    """Write the distinct series of blocks, sorted by text. Return their number.

    The series of block i are those from `bases[i]`; `new` becomes the id of each. A block whose texts are not sorted
    takes memory for all texts.
    """

    def sources() -> list[Iterator[tuple[str, int]]]:
        return [_texts_of(cursor, file, base) for file, base in zip(files, bases[:-1], strict=True)]

    try:
        return _write_series(cursor, _distinct_texts(heapq.merge(*sources()), new), folder)
    except _NotSortedError:
        return _write_series(cursor, _distinct_texts(sorted(chain(*sources())), new), folder)


class _NotSortedError(Exception):
    """Texts of series are not sorted."""


def _distinct_texts(sorted_texts: Iterable[tuple[str, int]], new: SeriesRefs) -> Iterator[str]:
    """Yield the distinct ones of texts; set `new[number]`, by the number beside each, to its position among them."""
    last, found = "", 0  # no text is empty
    for text, number in sorted_texts:
        if last > text:
            raise _NotSortedError
        found += last < text
        new[number] = found - 1
        if last < text:
            last = text
            yield text


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
