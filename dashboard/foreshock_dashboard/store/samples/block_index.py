"""The series of blocks that queries have read, with refs of their own (not those of the head's `SeriesIndex`)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

import duckdb
import numpy as np

from foreshock_dashboard.model.query import Matcher
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.store.blocks.block_dir import Block
from foreshock_dashboard.store.samples.format import SERIES_FILE
from foreshock_dashboard.store.samples.series_index import (
    SeriesIndex,
    SeriesRefs,
    matching_series,
    parse_series,
    series_text_prefix,
)

_SERIES_OF_METRIC = "select id, text from read_parquet($file) where starts_with(text, $prefix) order by id"


class BlockSeries(NamedTuple):
    """The series of one metric in one block: `refs[i]` is the index's ref of the block's series `first + i`."""

    block: Block
    first: int
    refs: SeriesRefs


class BlockIndex:
    """Series of blocks, loaded on demand. A full index is replaced by a new one, never evicted from.

    The label objects of `head` are shared, because most series of blocks are in memory as well.
    """

    def __init__(self, head: SeriesIndex, max_series: int) -> None:
        self._head, self._max_series = head, max_series
        self._labels: list[Labels] = []
        self._refs: dict[str, dict[Labels, int]] = {}
        """By metric and labels."""
        self._loaded: dict[tuple[Block, str], BlockSeries] = {}
        self._lock = threading.Lock()

    def select(self, metric: str, matchers: Sequence[Matcher]) -> tuple[SeriesRefs, list[Labels]]:
        """Return refs and labels of the metric's series that every matcher accepts, by ascending ref."""
        with self._lock:
            series = [(ref, self._labels[ref]) for ref in self._refs.get(metric, {}).values()]
        return matching_series(series, metric, matchers)

    def _intern(self, metric: str, texts: Sequence[str]) -> SeriesRefs | None:
        """Return the refs of a metric's series; None if the index is full."""
        pairs: dict[tuple[str, str], tuple[str, str]] = {}
        own: dict[Labels, Labels] | None = None
        with self._lock:
            refs = self._refs.setdefault(metric, {})
            result = []
            for text in texts:
                labels = parse_series(text, pairs)[1]
                ref = refs.get(labels)
                if ref is None:
                    if len(self._labels) >= self._max_series:
                        return None
                    if own is None:  # only now: appends wait while it copies
                        own = self._head.own_labels(metric)
                    labels, ref = own.get(labels, labels), len(self._labels)
                    refs[labels] = ref
                    self._labels.append(labels)
                result.append(ref)
            return np.array(result, dtype=np.int32)

    def series_of_blocks(
        self, cursor: duckdb.DuckDBPyConnection, blocks: Sequence[Block], metric: str
    ) -> list[BlockSeries] | None:
        """Return a metric's series in each of several blocks; None if the index is full. Raises duckdb.Error."""
        result: list[BlockSeries] = []
        for block in blocks:
            series = self._loaded.get((block, metric))
            if series is None:
                parameters = {"file": str(block.folder / SERIES_FILE), "prefix": series_text_prefix(metric)}
                rows = cursor.execute(_SERIES_OF_METRIC, parameters).fetchall()
                refs = self._intern(metric, [text for _, text in rows])
                if refs is None:
                    return None
                if result and np.array_equal(result[-1].refs, refs):
                    refs = result[-1].refs  # one array for all blocks with the same series, as most have
                series = BlockSeries(block, rows[0][0] if rows else 0, refs)
                self._loaded = {key: value for key, value in list(self._loaded.items()) if not key[0].obsolete}
                self._loaded[block, metric] = series
            result.append(series)
        return result
