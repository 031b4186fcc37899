"""Samples in memory, as tables of DuckDB, and in segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.store.blocks.block import Table
from foreshock_dashboard.store.blocks.chunk import Chunk
from foreshock_dashboard.store.blocks.duckdb_engine import rows_of
from foreshock_dashboard.store.blocks.head import Memory
from foreshock_dashboard.store.samples.codec import SAMPLE_COLUMNS
from foreshock_dashboard.store.samples.series import SeriesIndex

SAMPLES, SERIES = "samples.parquet", "series.parquet"

_SEAL = """
copy (
  select r.new as series, t.time, t.bits
  from (select *, row_number() over () as arrival from query_table($table)) t join remap r on r.old = t.series
  order by r.new, t.time, t.arrival
) to $out (format parquet, compression zstd, row_group_size 30720)
"""
_MERGE = """
copy (
  select r.new as series, t.time, t.bits
  from (select series, time, bits, file_index, file_row_number from read_parquet($files)) t
  join remap r on r.file = t.file_index and r.old = t.series
  order by r.new, t.time, t.file_index, t.file_row_number
) to $out (format parquet, compression zstd, row_group_size 30720)
"""
_SERIES = "copy (select id, text from names order by id) to $out (format parquet, compression zstd)"


@dataclass(eq=False, slots=True)
class SampleTable(Table):
    """A table of DuckDB."""

    name: str = ""
    metrics: set[int] = field(default_factory=set)
    """The numbers of the metrics in it."""


class SampleFormat:
    """Segments of samples: `samples.parquet` (series, time in ms, float64 as bits) and `series.parquet` (id, text).

    Numbers of series are a segment's own, in the order of metric and labels: one metric is one stretch of the file.
    """

    kind = "metrics"
    day = 86_400_000

    def __init__(self, index: SeriesIndex, engine: duckdb.DuckDBPyConnection) -> None:
        self.engine = engine
        self._index = index
        self._numbers = count(1)

    def create(self, now: float) -> SampleTable:
        """A table without rows."""
        name = f"{self.kind}_{next(self._numbers)}"
        columns = ", ".join(f'"{column}" {kind}' for column, kind in SAMPLE_COLUMNS.items())
        with self.engine.cursor() as cursor:
            cursor.execute(f"create table {name} ({columns})")
        return SampleTable(now, name=name)

    def put(self, table: SampleTable, chunks: Sequence[Chunk]) -> None:
        """Add the rows of chunks to a table."""
        gathered = {name: np.concatenate([chunk.columns[name] for chunk in chunks]) for name in SAMPLE_COLUMNS}
        with self.engine.cursor() as cursor:
            cursor.register("waiting", gathered)
            cursor.execute(f"insert into {table.name} by name select * from waiting")  # noqa: S608 - a name of ours
        table.metrics = table.metrics | set(_numbers(gathered["metric"]))

    def drop(self, table: SampleTable) -> None:
        """Let a table's memory go."""
        with self.engine.cursor() as cursor:
            cursor.execute(f"drop table if exists {table.name}")

    def write(self, table: SampleTable, folder: Path) -> tuple[int, tuple[str, ...]]:
        """Write a table's rows; gives their number and the metrics' names."""
        with self.engine.cursor() as cursor:
            found = cursor.execute("select distinct series from query_table($table)", {"table": table.name})
            used = found.fetchnumpy()["series"]
            ranked = sorted((self._index.texts[number], number) for number in used.tolist())
            old = np.array([number for _, number in ranked], dtype=np.int32)
            cursor.register("remap", {"old": old, "new": np.arange(len(old), dtype=np.int32)})
            cursor.execute(_SEAL, {"table": table.name, "out": str(folder / SAMPLES)})
            _write_series(cursor, [text for text, _ in ranked], folder)
        metrics = self._index.metric_names({self._index.metric_of[number] for number in old.tolist()})
        return table.rows, tuple(sorted(metrics))

    def merge(self, sources: list[Path], folder: Path) -> int:
        """Write the rows of several segments as one; gives their number."""
        with self.engine.cursor() as cursor:
            texts = [_texts(cursor, source) for source in sources]
            merged = sorted({text for each in texts for text in each})
            number = {text: at for at, text in enumerate(merged)}
            cursor.register(
                "remap",
                {
                    "file": np.repeat(np.arange(len(texts), dtype=np.int64), [len(each) for each in texts]),
                    "old": np.concatenate([np.arange(len(each), dtype=np.int32) for each in texts]),
                    "new": np.array([number[text] for each in texts for text in each], dtype=np.int32),
                },
            )
            files = [str(source / SAMPLES) for source in sources]
            rows = rows_of(cursor.execute(_MERGE, {"files": files, "out": str(folder / SAMPLES)}))
            _write_series(cursor, merged, folder)
        return rows


def metrics_in(memory: Memory[SampleTable]) -> set[int]:
    """The numbers of the metrics that have samples in memory."""
    chunks, tables = memory.contents()
    return set().union(*(table.metrics for table in tables), *(_numbers(chunk.columns["metric"]) for chunk in chunks))


def series_in(memory: Memory[SampleTable], engine: duckdb.DuckDBPyConnection) -> set[int]:
    """The numbers of the series that have samples in memory.

    Raises:
        duckdb.Error: they cannot be read.
    """
    with memory.standing() as (chunks, tables), engine.cursor() as cursor:
        found = {number for chunk in chunks for number in _numbers(chunk.columns["series"])}
        for table in tables:
            found.update(cursor.table(table.name).unique("series").fetchnumpy()["series"].tolist())
    return found


def _numbers(column: NDArray[Any]) -> list[int]:
    found: list[int] = np.unique(column).tolist()
    return found


def _write_series(cursor: duckdb.DuckDBPyConnection, texts: list[str], folder: Path) -> None:
    cursor.register("names", {"id": np.arange(len(texts), dtype=np.int32), "text": np.array(texts, dtype=object)})
    cursor.execute(_SERIES, {"out": str(folder / SERIES)})


def _texts(cursor: duckdb.DuckDBPyConnection, folder: Path) -> list[str]:
    found = cursor.execute(
        "select text from read_parquet($file) order by id", {"file": str(folder / SERIES)}
    ).fetchall()
    return [text for (text,) in found]
