"""Spans in the head and in blocks (Parquet files of search columns, files of chunks)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.store.blocks.duckdb_engine import copied_rows
from foreshock_dashboard.store.blocks.format import BlockFormat, RowBatch
from foreshock_dashboard.store.spans.chunks import CHUNK_SPANS
from foreshock_dashboard.store.spans.table import SpanTable, is_text, span_columns

COLUMNS_FILE = "spans.parquet"
CHUNKS_FILE = "spans.blocks"
"""Stores of 0.1 name the file of chunks so."""
_COPY_BYTES = 1 << 20

# Ids, most of the file, do not compress. Zstandard saves a fifteenth of the size and slows a search by a third. With up
# to half as many distinct values as rows, a column is smaller, and compared twice as fast, as a dictionary.
_COPY = "(format parquet, compression lz4_raw, row_group_size 61440, dictionary_size_limit 32768)"
_WRITE = f"copy (select {{columns}} from block) to $out {_COPY}"  # noqa: S608 - constants
# All but the first copy of a span that was received twice. Apart from the merge, because DuckDB spills sorts of whole
# rows to disk, but not their windows; and with half the rows a group, which the writer holds in memory.
_REPEATED = """
create or replace temp table repeated as
select file_index, place
from (select trace_hi, trace_lo, span, kind, file_index, place from read_parquet($files, union_by_name = true))
qualify row_number() over (partition by trace_hi, trace_lo, span, kind order by file_index, place) > 1
"""
_MERGE = """
copy (
  select * exclude (file_index) replace (place + ($bases::bigint[])[file_index::bigint + 1] as place)
  from (select *, file_index from read_parquet($files, union_by_name = true))
  anti join repeated using (file_index, place)
  order by trace_hi, trace_lo
) to $out (format parquet, compression lz4_raw, row_group_size 30720)
"""


def _trace_order(high: NDArray[Any], low: NDArray[Any]) -> NDArray[Any]:
    """Return the order of rows by the halves of their trace ids.

    The high half alone nearly always decides, and sorts in a tenth of the time.
    """
    order = np.argsort(high)
    equal = np.diff(high[order]) == 0
    return np.lexsort((low, high)) if (np.diff(low[order])[equal] != 0).any() else order


class SpanFormat(BlockFormat[SpanTable]):
    """Blocks of spans: `spans.parquet` (search columns, sorted by trace) and `spans.blocks` (chunks, as received)."""

    kind = "spans"
    second = 10**9

    def __init__(self, keys: Sequence[str], engine: duckdb.DuckDBPyConnection) -> None:
        self._engine = engine
        self._columns = span_columns(keys)

    def create(self, now: float) -> SpanTable:
        return SpanTable(now)

    def insert(self, table: SpanTable, batches: Sequence[RowBatch]) -> None:
        table.insert(batches)

    def drop(self, table: SpanTable) -> None:
        """Do nothing: the memory of a table is freed with the object."""

    def write(self, table: SpanTable, folder: Path) -> tuple[int, tuple[str, ...]]:
        """Columns without values are left out, as they take a third of the time."""
        nonempty = {name for part in table.parts for name in part.columns}
        names = [name for name in self._columns if name in nonempty]
        quoted = ", ".join(f'"{name}"' for name in names)
        order = _trace_order(table.column("trace_hi"), table.column("trace_lo"))
        columns = {name: table.column(name)[order] for name in names}
        texts = table.texts()
        columns |= {name: texts[columns[name]] for name in names if is_text(name)}
        with self._engine.cursor() as cursor:
            cursor.register("block", columns)
            rows = copied_rows(cursor.execute(_WRITE.format(columns=quoted), {"out": str(folder / COLUMNS_FILE)}))
        with (folder / CHUNKS_FILE).open("wb") as file:
            file.writelines(table.bodies)
        return rows, ()

    def merge(self, sources: list[Path], folder: Path) -> int:
        """Chunks are copied unchanged; repeated spans are left out of the columns."""
        bases = []
        with (folder / CHUNKS_FILE).open("wb") as file:
            for source in sources:
                bases.append(file.tell() * CHUNK_SPANS)
                with (source / CHUNKS_FILE).open("rb") as chunks:
                    shutil.copyfileobj(chunks, file, _COPY_BYTES)
        files = [str(source / COLUMNS_FILE) for source in sources]
        parameters = {"files": files, "bases": bases, "out": str(folder / COLUMNS_FILE)}
        with self._engine.cursor() as cursor:
            cursor.execute(_REPEATED, {"files": files})
            return copied_rows(cursor.execute(_MERGE, parameters))
