"""The memory limit of the hub: its shares, what is in use, and the relief when there is little room."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

from foreshock_dashboard.analysis.cost.account import MAX_LINES
from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.common.process import resident_bytes
from foreshock_dashboard.ingest.span_metrics.span_metrics import MAX_PENDING_SPANS
from foreshock_dashboard.model.cost.ledger import MAX_LEDGER_HOURS
from foreshock_dashboard.settings.settings import MIN_MEMORY_BYTES
from foreshock_dashboard.sources.otlp.admission import GUARANTEED_BYTES, MAX_PENDING_BYTES
from foreshock_dashboard.store import StoreLimits

log = logging.getLogger(__name__)

PROGRAM_BYTES = 205 << 20
"""Resident memory of a hub without data, after its first evaluation and merge. Nearly half of it is program files."""
DUCKDB_BYTES = 40 << 20
"""Least memory of DuckDB, with which it merges blocks."""
RESERVE_RATIO = 1 / 4
"""Share of the memory for data that stays free for what takes memory only for a moment: decoded spans, an evaluation,
and a block that is cut or merged."""
TIGHT_RATIO = 3 / 2
"""Room below which caches are dropped, and recent data is written to blocks; in reserves."""
SERIES_BYTES = 984
"""Share of the memory for data per series in memory: 0.17 KB for its names in the scraper and the index, and the rest
for its samples in the head and in the history of the analysis, and while they are written and read."""
QUERY_SAMPLE_BYTES = 128
"""Share of the memory for data per sample that one query may read."""
TWO_THREADS_BYTES = 256 << 20
"""Memory for data from which DuckDB has two threads, each of which has separate buffers."""
SPANS_BYTES = 24 << 20
"""Share of the memory for data that spans take apart from their series: while they are decoded, counted, and stored."""
SPAN_SERIES_BYTES = 3300
"""Share of the rest per series derived from spans: in the registry, the index, and the history, and at the peak, while
an evaluation writes and reads them or a block is cut."""
PENDING_SPAN_BYTES = 2048
"""Share of the memory for data per span that waits for the other side of its call."""
CHUNK_VALUE_BYTES = 64
"""Share of the memory for data per value of the history that is read at once."""
LEDGER_LINE_BYTES = 60
"""Memory of a line of an hour of the ledger of GPU time: 13 figures of four bytes, and a reference to its key."""


class MemoryUsage(NamedTuple):
    """Resident bytes of the process, and their limit. `warning`: what a lasting lack of room does; else ""."""

    resident_bytes: int
    limit_bytes: int
    warning: str = ""


class Memory:
    """The limit, of which the program itself takes `PROGRAM_BYTES`, and the parts of the rest.

    The parts together exceed the rest, since they do not all reach their limits at once. What they would exceed it by
    is not admitted: requests are refused while the process as a whole has no room.

    Attributes:
        request_bytes: of requests that are received, decoded, or stored.
        world_bytes: of the history that the analysis reads; twice as much while it moves.
        range_bytes: of time ranges that pages showed.
        span_series: series derived from spans.
        pending_spans: that wait for the other side of their call.
        chunk_values: values of the history that are read at once.
        ledger_lines: of an hour of GPU time, of which the ledger keeps `MAX_LEDGER_HOURS`.
        tight: set when there is little room, until `relieved`.
    """

    def __init__(self, limit: int, resident: Callable[[], int] = resident_bytes) -> None:
        assert limit >= MIN_MEMORY_BYTES  # noqa: S101 - the settings refuse it
        self.limit, self._resident = limit, resident
        self._data = limit - PROGRAM_BYTES
        self.request_bytes = min(MAX_PENDING_BYTES, self._data // 3)
        self._reserve = max(int(self._data * RESERVE_RATIO), min(DUCKDB_BYTES, self._data // 2))
        self.world_bytes, self.range_bytes = self._data // 8, self._data // 10
        self.span_series = (self._data - SPANS_BYTES - self.world_bytes) // SPAN_SERIES_BYTES
        self.pending_spans = min(MAX_PENDING_SPANS, self._data // PENDING_SPAN_BYTES)
        self.chunk_values = self._data // CHUNK_VALUE_BYTES
        self.ledger_lines = min(MAX_LINES, self._data // 8 // (MAX_LEDGER_HOURS * LEDGER_LINE_BYTES))
        self.tight = threading.Event()
        self._turn = threading.Lock()
        self._warning = ""
        self._log = LogOnChange(log, recovered="memory is available again: OTLP requests of all sizes are accepted")

    def store_limits(self) -> StoreLimits:
        """Limits of the embedded store."""
        most, series = StoreLimits(), self._data // SERIES_BYTES
        return StoreLimits(
            block_bytes=min(most.block_bytes, self._data // 32),
            max_compacted_bytes=min(most.max_compacted_bytes, self._data // 8),
            max_head_bytes=self._data // 4,
            max_series=min(most.max_series, series),
            max_block_series=min(most.max_block_series, series),
            max_query_samples=min(most.max_query_samples, self._data // QUERY_SAMPLE_BYTES),
            max_query_cells=min(most.max_query_cells, self._data // QUERY_SAMPLE_BYTES),
            duckdb_memory=f"{max(DUCKDB_BYTES, self._data // 4) >> 20}MiB",
            duckdb_threads=1 if self._data < TWO_THREADS_BYTES else most.duckdb_threads,
        )

    def has_room(self, size: int) -> bool:
        """Whether the process may take `size` more bytes."""
        room = self.limit - self._resident() - size
        if room < self._reserve * TIGHT_RATIO:
            self.tight.set()
        return room >= self._reserve

    @contextmanager
    def turn(self) -> Iterator[None]:
        """While memory is tight, wait until no other thread is in such a block.

        So the peaks of an evaluation and of a block that is cut or merged do not add up.
        """
        with self._turn if self.limit - self._resident() < self._reserve * TIGHT_RATIO else nullcontext():
            yield

    def usage(self) -> MemoryUsage:
        """What is in use now."""
        return MemoryUsage(self._resident(), self.limit, self._warning)

    def check(self, *, relieved: bool) -> None:
        """Warn if there is no room although caches were just dropped (`relieved`), until it is no longer tight."""
        room = self.limit - self._resident()
        if relieved and room < self._reserve:
            self._warning = (
                f"memory is at its limit of {self.limit >> 20} MiB: OTLP requests above {GUARANTEED_BYTES >> 10} KiB "
                "are refused with 503. Raise --memory-limit, or reduce series and spans: Status shows how many."
            )
        elif room >= self._reserve * TIGHT_RATIO:
            self._warning = ""
        self._log.update(self._warning)
