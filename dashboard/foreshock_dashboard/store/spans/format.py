"""Spans in memory, and how a segment of them looks."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.store.blocks.chunk import Chunk
from foreshock_dashboard.store.blocks.duckdb_engine import rows_of
from foreshock_dashboard.store.spans.columns import is_text, span_columns
from foreshock_dashboard.store.spans.span_blocks import SPANS
from foreshock_dashboard.store.spans.table import SpanTable

COLUMNS, BLOCKS = "spans.parquet", "spans.blocks"

# Ids, which are most of it, cannot be compressed. Zstandard makes a segment a fifteenth smaller, and a search a third
# slower. A column with half as many values as rows is smaller, and compared in half of the time, as a dictionary.
_COPY = "(format parquet, compression lz4_raw, row_group_size 61440, dictionary_size_limit 32768)"
_SEAL = f"copy (select {{columns}} from sealed) to $out {_COPY}"  # noqa: S608 - constants
# A span that came twice is there once from then on.
_MERGE = f"""
copy (
  select * exclude (file_index) replace (place + ($bases::bigint[])[file_index::bigint + 1] as place)
  from (select *, file_index from read_parquet($files, union_by_name = true))
  qualify row_number() over (partition by trace_hi, trace_lo, span, kind order by file_index, place) = 1
  order by trace_hi, trace_lo
) to $out {_COPY}
"""  # noqa: S608 - constants


def _by_trace(high: NDArray[Any], low: NDArray[Any]) -> NDArray[Any]:
    """The order of rows by the halves of their trace ids. The first nearly always tells, and sorts in a tenth of the
    time."""
    order = np.argsort(high)
    alike = np.diff(high[order]) == 0
    return np.lexsort((low, high)) if (np.diff(low[order])[alike] != 0).any() else order


class SpanFormat:
    """Segments of spans: `spans.parquet`, what spans are searched by, sorted by trace; `spans.blocks`, the spans
    themselves, in the order and in the blocks in which they came.

    Args:
        keys: the attributes that spans are searched by.
    """

    kind = "spans"
    day = 86_400 * 10**9

    def __init__(self, keys: Sequence[str], engine: duckdb.DuckDBPyConnection) -> None:
        self._engine = engine
        self._columns = span_columns(keys)

    def create(self, now: float) -> SpanTable:
        """A table without rows."""
        return SpanTable(now)

    def put(self, table: SpanTable, chunks: Sequence[Chunk]) -> None:
        """Add the rows and blocks of chunks to a table."""
        table.put(chunks)

    def drop(self, table: SpanTable) -> None:
        """Its memory goes with it."""

    def write(self, table: SpanTable, folder: Path) -> tuple[int, tuple[str, ...]]:
        """Write a table's rows and blocks. What no span has is left out: to write that takes a third of the time."""
        there = {name for part in table.parts for name in part.columns}
        present = [name for name in self._columns if name in there]
        chosen = ", ".join(f'"{name}"' for name in present)
        order = _by_trace(table.whole("trace_hi"), table.whole("trace_lo"))
        columns = {name: table.whole(name)[order] for name in present}
        words = table.words()
        columns |= {name: words[columns[name]] for name in present if is_text(name)}
        with self._engine.cursor() as cursor:
            cursor.register("sealed", columns)
            rows = rows_of(cursor.execute(_SEAL.format(columns=chosen), {"out": str(folder / COLUMNS)}))
        with (folder / BLOCKS).open("wb") as file:
            file.writelines(table.bodies)
        return rows, ()

    def merge(self, sources: list[Path], folder: Path) -> int:
        """Write the rows and blocks of several segments as one; the blocks stay as they are."""
        bases = []
        with (folder / BLOCKS).open("wb") as file:
            for source in sources:
                bases.append(file.tell() * SPANS)
                with (source / BLOCKS).open("rb") as part:
                    shutil.copyfileobj(part, file, 1 << 20)
        given = {"files": [str(source / COLUMNS) for source in sources], "bases": bases, "out": str(folder / COLUMNS)}
        with self._engine.cursor() as cursor:
            return rows_of(cursor.execute(_MERGE, given))
