"""How a query reads samples from a shelf."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import duckdb
import numpy as np

from foreshock_dashboard.model.query import Matrix, Query, SourceError, grid
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.store.blocks.block import Pieces
from foreshock_dashboard.store.blocks.block_store import Shelf
from foreshock_dashboard.store.errors import StoreError
from foreshock_dashboard.store.samples.block_index import SealedSeries, Stretch, too_many
from foreshock_dashboard.store.samples.format import SAMPLES, SampleTable, metrics_in
from foreshock_dashboard.store.samples.promql_functions import Ints, Series, Steps, evaluate, grouped
from foreshock_dashboard.store.samples.series import Ids, SeriesIndex, positions

MAX_SAMPLES = 4_000_000
"""Samples that one query may read, some 100 MB on the way."""
MAX_CELLS = 4_000_000
"""Series times steps of one answer before `by` sums them."""

_HOT = "select series, time, bits from query_table($table) where metric = $metric and time > $after and time <= $until"
_COLD = """
select series, time, bits from read_parquet($file)
where series between $low and $high and time > $after and time <= $until
"""


@dataclass(frozen=True, slots=True)
class Found:
    """The series of an answer, in rows, and how the pieces' numbers become rows."""

    labels: list[Labels]
    hot: Ids
    """The numbers in memory of the first rows, ascending."""
    cold: list[tuple[Stretch, Ints]]
    """By a stretch's own numbers: the row, -1 where it has none."""


class SampleReader:
    """Answers queries from a shelf of samples."""

    def __init__(self, shelf: Shelf[SampleTable], index: SeriesIndex, engine: duckdb.DuckDBPyConnection) -> None:
        self._shelf, self._index, self._engine = shelf, index, engine
        self._sealed = SealedSeries(index)

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """As `MetricSource.fetch`."""
        steps = Steps.of(start, end, step)
        times = grid(start, end, step)
        metric = f"{query.metric}_bucket" if query.reduce == "buckets" else query.metric
        after = steps.start - round(query.window * 1000)
        cursor = self._engine.cursor()
        try:
            # Before pieces are held: what is sealed and let go in between is found in its segment.
            number, hot = self._index.metric(metric), self._index.select(metric, query.matchers)
            with self._shelf.reading(after, steps.end) as pieces:
                found = self._find(cursor, pieces, metric, query, hot)
                if not found.labels or not steps.count:
                    return Matrix.empty(times)
                if len(found.labels) * steps.count > MAX_CELLS:
                    raise SourceError(
                        f"store: {metric} has {len(found.labels)} series over {steps.count} steps; "
                        "narrow labels or range"
                    )
                samples = self._read(cursor, pieces, number, found, after, steps.end)
        except duckdb.Error as error:
            raise StoreError(f"store {self._shelf.root}: cannot read {metric}: {error}") from error
        finally:
            cursor.close()
        values, known = evaluate(query, Series.of(len(found.labels), *samples), steps)
        return grouped(query, found.labels, values, known, times)

    def metric_names(self) -> frozenset[str]:
        """As `MetricSource.metric_names`."""
        hot = self._index.metric_names(metrics_in(self._shelf.memory))  # first: it may be sealed meanwhile
        return hot.union(*(meta.metrics for meta in self._shelf.segments()))

    def _find(
        self,
        cursor: duckdb.DuckDBPyConnection,
        pieces: Pieces[SampleTable],
        metric: str,
        query: Query,
        hot: tuple[Ids, list[Labels]],
    ) -> Found:
        rows = {labels: row for row, labels in enumerate(hot[1])}
        sealed, stretches = self._stretches(cursor, pieces, metric)
        numbers, labels = sealed.select(metric, query.matchers)
        reached = np.isin(numbers, np.concatenate([np.empty(0, np.int32), *(s.numbers for s in stretches)]))
        names = [labels[at] for at in np.flatnonzero(reached).tolist()]
        row_of = np.array([*(rows.setdefault(name, len(rows)) for name in names), -1], dtype=np.int64)
        cold = [(stretch, row_of[positions(numbers[reached], stretch.numbers)]) for stretch in stretches]
        return Found(list(rows), hot[0], cold)

    def _stretches(
        self, cursor: duckdb.DuckDBPyConnection, pieces: Pieces[SampleTable], metric: str
    ) -> tuple[SealedSeries, list[Stretch]]:
        """What held segments have of a metric. Where too much is known for more, all is forgotten and read anew."""
        segments = [segment for segment in pieces.segments if metric in segment.meta.metrics]
        for sealed in (self._sealed, SealedSeries(self._index)):
            found = sealed.stretches(cursor, segments, metric)
            if found is not None:
                self._sealed = sealed
                return sealed, found
        raise too_many(metric)

    def _read(
        self,
        cursor: duckdb.DuckDBPyConnection,
        pieces: Pieces[SampleTable],
        metric: int | None,
        found: Found,
        after: int,
        until: int,
    ) -> tuple[Ints, Ints, Floats]:
        """Samples of the found series in (after, until]: row, time, value; in the order of arrival."""
        parts = [(np.empty(0, np.int64),) * 3]
        room = MAX_SAMPLES
        for sql, given, row_of in self._where(pieces, metric, found):
            parts.append(_fetch(cursor, sql, {**given, "after": after, "until": until}, row_of, room))
            room -= len(parts[-1][0])
        rows, times, bits = (np.concatenate([part[at] for part in parts]) for at in range(3))
        return rows, times, bits.view(np.float64)

    def _where(
        self, pieces: Pieces[SampleTable], metric: int | None, found: Found
    ) -> Iterator[tuple[str, dict[str, object], Callable[[Ids], Ints]]]:
        """What to ask of each piece, and how its own numbers of series become rows."""
        for stretch, row_of in found.cold:
            wanted = np.flatnonzero(row_of >= 0)
            if len(wanted):
                reach = {"low": stretch.first + int(wanted[0]), "high": stretch.first + int(wanted[-1])}
                file = str(stretch.segment.folder / SAMPLES)
                yield _COLD, {"file": file, **reach}, partial(_row, row_of, stretch.first)
        if len(found.hot):
            for table in pieces.tables:  # other threads add series to it meanwhile: those are not in `found`
                yield _HOT, {"table": table.name, "metric": metric}, partial(positions, found.hot)


def _row(row_of: Ints, first: int, numbers: Ids) -> Ints:
    return row_of[numbers - first]


def _fetch(
    cursor: duckdb.DuckDBPyConnection, sql: str, given: dict[str, object], row_of: Callable[[Ids], Ints], room: int
) -> tuple[Ints, Ints, Ints]:
    found = cursor.execute(f"{sql} limit $room", {**given, "room": room + 1}).fetchnumpy()
    if len(found["time"]) > room:
        raise SourceError(f"store: more than {MAX_SAMPLES} samples in one query; narrow the labels or the range")
    rows = row_of(found["series"])
    keep = rows >= 0
    if keep.all():
        return rows, found["time"], found["bits"]
    return rows[keep], found["time"][keep], found["bits"][keep]
