"""Retention and resource limits of a store."""

from __future__ import annotations

from dataclasses import dataclass

from foreshock_dashboard.store.blocks.head import FLUSH_ROWS
from foreshock_dashboard.store.samples.block_index import MAX_BLOCK_SERIES
from foreshock_dashboard.store.samples.queries import MAX_QUERY_CELLS, MAX_QUERY_SAMPLES
from foreshock_dashboard.store.spans.queries import MAX_TRACE_SPANS


@dataclass(frozen=True, slots=True)
class Retention:
    """Age limits of samples and spans, and the size limit of all blocks. The first one reached applies."""

    metrics_seconds: float = 15 * 86_400
    spans_seconds: float = 2 * 86_400
    max_bytes: int = 10 << 30

    def __post_init__(self) -> None:
        if not (self.metrics_seconds > 0 and self.spans_seconds > 0 and self.max_bytes > 0):
            raise ValueError(f"retention must be positive: {self}")


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Bounds of memory, queries and files.

    Args:
        block_bytes: size of head data, per kind, at which a block is cut.
        block_seconds: age of head data, per kind, at which a block is cut.
        max_head_bytes: size of the head at which appends are refused.
        flush_rows: rows gathered in Python before an insert into the head's table.
        max_series: series in the head; samples of further series are dropped and counted.
        max_block_series: series of blocks known to queries at once.
        max_query_samples: samples read by one query.
        max_query_cells: series times steps of one query, before `by` sums them.
        max_trace_spans: spans returned of one trace.
        max_wal_pages: pages of the WAL; None means as many as the disk has room for.
        duckdb_memory: DuckDB's buffers, in DuckDB's notation.
        duckdb_spill: data that DuckDB may spill to disk, in DuckDB's notation.
        duckdb_threads: threads of one query.
    """

    block_bytes: int = 48 << 20
    block_seconds: float = 120.0
    max_head_bytes: int = 192 << 20
    flush_rows: int = FLUSH_ROWS
    max_series: int = 500_000
    max_block_series: int = MAX_BLOCK_SERIES
    max_query_samples: int = MAX_QUERY_SAMPLES
    max_query_cells: int = MAX_QUERY_CELLS
    max_trace_spans: int = MAX_TRACE_SPANS
    max_wal_pages: int | None = None
    duckdb_memory: str = "256MB"
    duckdb_spill: str = "2GB"
    duckdb_threads: int = 2
