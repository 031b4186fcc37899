"""How a segment of spans looks."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import duckdb

from foreshock_dashboard.store.chunk import SPANS
from foreshock_dashboard.store.pieces import Table, written
from foreshock_dashboard.store.span_codec import span_columns

COLUMNS, BLOCKS = "spans.parquet", "spans.blocks"

_COPY = "(format parquet, compression zstd, row_group_size 20480, dictionary_size_limit 20480)"
# A span that came twice is found once.
_ONCE = """
copy (
  select * from ({source})
  qualify row_number() over (partition by trace_hi, trace_lo, span, kind order by place) = 1
  order by trace_hi, trace_lo, start_ns
) to $out {copy}
"""
_SEAL = _ONCE.format(
    source=f"select * replace (place - {SPANS} * $base::bigint as place) from query_table($table)",  # noqa: S608 - constants
    copy=_COPY,
)
_MERGE = _ONCE.format(
    source="select * exclude (file_index) replace (place + ($bases::bigint[])[file_index::bigint + 1] as place) "
    "from (select *, file_index from read_parquet($files, union_by_name = true))",
    copy=_COPY,
)


class SpanFormat:
    """Segments of spans: `spans.parquet`, what spans are searched by, sorted by trace and start; `spans.blocks`, the
    spans themselves, in the order and in the blocks in which they came.

    Args:
        keys: the attributes that spans are searched by.
    """

    kind = "spans"
    day = 86_400 * 10**9

    def __init__(self, keys: Sequence[str]) -> None:
        self.columns = span_columns(keys)

    def write(self, cursor: duckdb.DuckDBPyConnection, table: Table, folder: Path) -> tuple[int, tuple[str, ...]]:
        """Write a table's rows and blocks."""
        given = {"table": table.name, "base": table.base, "out": str(folder / COLUMNS)}
        rows = written(cursor.execute(_SEAL, given))
        with (folder / BLOCKS).open("wb") as file:
            file.writelines(table.bodies)
        return rows, ()

    def merge(self, cursor: duckdb.DuckDBPyConnection, sources: list[Path], folder: Path) -> int:
        """Write the rows and blocks of several segments as one; the blocks stay as they are."""
        bases = []
        with (folder / BLOCKS).open("wb") as file:
            for source in sources:
                bases.append(file.tell() * SPANS)
                with (source / BLOCKS).open("rb") as part:
                    shutil.copyfileobj(part, file, 1 << 20)
        files = [str(source / COLUMNS) for source in sources]
        return written(cursor.execute(_MERGE, {"files": files, "bases": bases, "out": str(folder / COLUMNS)}))
