"""Resource limits of a store."""

from __future__ import annotations

from dataclasses import dataclass

from foreshock_dashboard.model.samples import MAX_SERIES

MAX_QUERY_SAMPLES = 4_000_000
"""Samples read by one query, about 100 MB."""
MAX_QUERY_CELLS = 4_000_000
"""Series times steps of one query, before `by` sums them."""


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Bounds of memory, queries and files.

    Args:
        block_bytes: size of head data, per kind, at which a block is cut.
        max_compacted_bytes: size of the blocks that are merged into one.
        block_seconds: age of head data, per kind, at which a block is cut.
        max_head_bytes: size of the head at which appends are refused.
        flush_rows: rows gathered in Python before an insert into the head's table: many small inserts cost ten times
            one large insert.
        max_series: series in the head; samples of further series are dropped and counted.
        max_block_series: series of blocks known to queries at once; also the limit for one metric in one query.
        max_query_samples: samples read by one query.
        max_query_cells: series times steps of one query, before `by` sums them.
        max_trace_spans: spans returned of one trace, the earliest first.
        max_wal_pages: pages of the WAL; None means as many as the disk has room for.
        duckdb_memory: DuckDB's buffers, in DuckDB's notation.
        duckdb_spill: data that DuckDB may spill to disk, in DuckDB's notation.
        duckdb_threads: threads of one query.
    """

    block_bytes: int = 48 << 20
    block_seconds: float = 120.0
    max_compacted_bytes: int = 96 << 20
    max_head_bytes: int = 192 << 20
    flush_rows: int = 20_000
    max_series: int = MAX_SERIES
    max_block_series: int = 500_000
    max_query_samples: int = MAX_QUERY_SAMPLES
    max_query_cells: int = MAX_QUERY_CELLS
    max_trace_spans: int = 100_000
    max_wal_pages: int | None = None
    duckdb_memory: str = "256MB"
    duckdb_spill: str = "2GB"
    duckdb_threads: int = 2
