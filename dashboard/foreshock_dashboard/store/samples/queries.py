"""Metric queries on the block store of samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import duckdb
import numpy as np

from foreshock_dashboard.model.query import Matrix, Query, SizeError, grid
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.store.blocks.block_store import BlockStore
from foreshock_dashboard.store.blocks.disk import StoreError
from foreshock_dashboard.store.blocks.limits import StoreLimits
from foreshock_dashboard.store.blocks.manifest import Snapshot
from foreshock_dashboard.store.samples.block_index import BlockIndex, BlockSeries
from foreshock_dashboard.store.samples.format import SAMPLES_FILE, SampleTable, metrics_in
from foreshock_dashboard.store.samples.promql_functions import Ints, Series, Steps, evaluate, sum_by
from foreshock_dashboard.store.samples.series_index import SeriesIndex, SeriesRefs, positions

_READ_TABLE = """
select series, time, bits from query_table($table) where metric = $metric and time > $after and time <= $until
"""
_READ_BLOCK = """
select series, time, bits from read_parquet($file)
where series between $low and $high and time > $after and time <= $until
"""


class SelectedSeries(NamedTuple):
    """The series of an answer: one row each.

    Args:
        labels: by row.
        head_refs: refs in the head's index of the first rows, ascending.
        block_rows: for each block, the row of each of its series; -1 for series that are not selected.
    """

    labels: list[Labels]
    head_refs: SeriesRefs
    block_rows: list[tuple[BlockSeries, Ints]]


class SampleReader:
    """Answers metric queries."""

    def __init__(
        self,
        store: BlockStore[SampleTable],
        index: SeriesIndex,
        engine: duckdb.DuckDBPyConnection,
        limits: StoreLimits,
    ) -> None:
        self._store, self._index, self._engine, self._limits = store, index, engine, limits
        self._block_index = BlockIndex(index, limits.max_block_series)

    def fetch_all(self, queries: Sequence[Query], start: float, end: float, step: float) -> Iterator[Matrix]:
        """As `MetricSource.fetch_all`, on one snapshot."""
        steps, times = Steps.of(start, end, step), grid(start, end, step)
        metrics = [query.series_name for query in queries]
        begins = [steps.start - round(query.window * 1000) for query in queries]
        metric = next(iter(metrics), "")
        cursor = self._engine.cursor()
        try:
            # Before the snapshot: series that leave the index in between are found in their new block.
            refs = [*map(self._index.metric_ref, metrics)]
            series = [
                self._index.select(metric, query.matchers) for metric, query in zip(metrics, queries, strict=True)
            ]
            with self._store.snapshot(min(begins, default=steps.end), steps.end) as snapshot:
                for query, metric, after, ref, in_head in zip(queries, metrics, begins, refs, series, strict=True):
                    selected = self._select(cursor, snapshot, metric, query, in_head)
                    if not selected.labels:
                        yield Matrix.empty(times)
                        continue
                    if len(selected.labels) * steps.count > self._limits.max_query_cells:
                        raise SizeError(
                            f"store: {metric} has {len(selected.labels)} series over {steps.count} steps; "
                            "narrow labels or range"
                        )
                    samples = self._read(cursor, snapshot, ref, selected, after, steps.end)
                    values, present = evaluate(query, samples, steps)
                    del samples
                    yield sum_by(query, selected.labels, values, present, times)
        except duckdb.Error as error:
            raise StoreError(f"store {self._store.root}: cannot read {metric}: {error}") from error
        finally:
            cursor.close()

    def metric_names(self) -> frozenset[str]:
        """As `MetricSource.metric_names`."""
        in_head = self._index.metric_names(metrics_in(self._store.head))  # first: a block may be cut in between
        return in_head.union(*(meta.metrics for meta in self._store.blocks()))

    def _select(
        self,
        cursor: duckdb.DuckDBPyConnection,
        snapshot: Snapshot[SampleTable],
        metric: str,
        query: Query,
        head_series: tuple[SeriesRefs, list[Labels]],
    ) -> SelectedSeries:
        rows = {labels: row for row, labels in enumerate(head_series[1])}
        block_index, series_of_blocks = self._block_series(cursor, snapshot, metric)
        refs, labels = block_index.select(metric, query.matchers)
        in_blocks = np.isin(refs, np.concatenate([np.empty(0, np.int32), *(s.refs for s in series_of_blocks)]))
        block_labels = [labels[position] for position in np.flatnonzero(in_blocks).tolist()]
        row_of = np.array([*(rows.setdefault(pairs, len(rows)) for pairs in block_labels), -1], dtype=np.int64)
        block_rows = [(series, row_of[positions(refs[in_blocks], series.refs)]) for series in series_of_blocks]
        return SelectedSeries(list(rows), head_series[0], block_rows)

    def _block_series(
        self, cursor: duckdb.DuckDBPyConnection, snapshot: Snapshot[SampleTable], metric: str
    ) -> tuple[BlockIndex, list[BlockSeries]]:
        """Return a metric's series in the blocks, and their index. A full index is replaced by an empty one first."""
        blocks = [block for block in snapshot.blocks if metric in block.meta.metrics]
        for block_index in (self._block_index, BlockIndex(self._index, self._limits.max_block_series)):
            series = block_index.series_of_blocks(cursor, blocks, metric)
            if series is not None:
                self._block_index = block_index
                return block_index, series
        most = self._limits.max_block_series
        raise SizeError(f"store: {metric} has more than {most} series in that range; narrow the range")

    def _read(
        self,
        cursor: duckdb.DuckDBPyConnection,
        snapshot: Snapshot[SampleTable],
        metric_ref: int | None,
        selected: SelectedSeries,
        after: int,
        until: int,
    ) -> Series:
        """Return the samples of the selected series in (after, until]."""
        parts: list[tuple[Ints, Ints, Ints]] = []
        remaining = self._limits.max_query_samples
        for sql, parameters, row_of in self._statements(snapshot, metric_ref, selected):
            parameters |= {"after": after, "until": until, "limit": remaining + 1}
            columns = cursor.execute(f"{sql} limit $limit", parameters).fetchnumpy()
            if len(columns["time"]) > remaining:
                most = self._limits.max_query_samples
                raise SizeError(f"store: more than {most} samples in one query; narrow the labels or the range")
            rows = row_of(columns["series"])
            is_selected = rows >= 0
            picked = slice(None) if is_selected.all() else is_selected
            parts.append((rows[picked], columns["time"][picked], columns["bits"][picked]))
            remaining -= len(parts[-1][0])
            del columns, rows
        parts = parts or [(np.empty(0, np.int64),) * 3]
        # Each column of the parts is freed once it is in one array, and each array once it is sorted.
        rows, times, bits = (
            column[0] if len(column) == 1 else np.concatenate(column) for column in zip(*parts, strict=True)
        )
        parts.clear()
        return Series.of(len(selected.labels), rows, times, bits.view(np.float64))

    def _statements(
        self, snapshot: Snapshot[SampleTable], metric_ref: int | None, selected: SelectedSeries
    ) -> Iterator[tuple[str, dict[str, object], Callable[[SeriesRefs], Ints]]]:
        """Yield SQL, parameters, and the function from series numbers to rows, for each block and table."""
        for series, row_of in selected.block_rows:
            ids = np.flatnonzero(row_of >= 0)
            if len(ids):
                id_range = {"low": series.first + int(ids[0]), "high": series.first + int(ids[-1])}
                file = str(series.block.folder / SAMPLES_FILE)
                yield _READ_BLOCK, {"file": file, **id_range}, partial(_block_rows, row_of, series.first)
        if len(selected.head_refs):
            for table in snapshot.tables:  # series that other threads add meanwhile are not in `selected`
                parameters: dict[str, object] = {"table": table.name, "metric": metric_ref}
                yield _READ_TABLE, parameters, partial(positions, selected.head_refs)


def _block_rows(row_of: Ints, first: int, ids: SeriesRefs) -> Ints:
    return row_of[ids - first]
