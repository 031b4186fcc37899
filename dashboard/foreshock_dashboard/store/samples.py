"""Samples in the store: how a segment of them looks, and how a query reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb
import numpy as np

from foreshock_dashboard.model.query import Floats, Matrix, Query, SourceError, grid
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.store.errors import StoreError
from foreshock_dashboard.store.pieces import Pieces, Table, written
from foreshock_dashboard.store.reduce import Ints, Series, Steps, evaluate, grouped
from foreshock_dashboard.store.sample_codec import SAMPLE_COLUMNS
from foreshock_dashboard.store.sealed import SealedSeries, Stretch, too_many
from foreshock_dashboard.store.series import Ids, SeriesIndex, positions
from foreshock_dashboard.store.shelf import Shelf

MAX_SAMPLES = 4_000_000
"""Samples that one query may read, some 100 MB on the way."""
MAX_CELLS = 4_000_000
"""Series times steps of one answer before `by` sums them."""

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
_HOT = "select series, time, bits from query_table($table) where metric = $metric and time > $after and time <= $until"
_COLD = """
select series, time, bits from read_parquet($file)
where series between $low and $high and time > $after and time <= $until
"""


class SampleFormat:
    """Segments of samples: `samples.parquet` (series, time in ms, float64 as bits) and `series.parquet` (id, text).

    Numbers of series are a segment's own, in the order of metric and labels: one metric is one stretch of the file.
    """

    kind = "metrics"
    columns = SAMPLE_COLUMNS
    day = 86_400_000

    def __init__(self, index: SeriesIndex) -> None:
        self._index = index

    def write(self, cursor: duckdb.DuckDBPyConnection, table: Table, folder: Path) -> tuple[int, tuple[str, ...]]:
        """Write a table's rows; gives their number and the metrics' names."""
        found = cursor.execute("select distinct series from query_table($table)", {"table": table.name})
        used = found.fetchnumpy()["series"]
        ranked = sorted((self._index.texts[number], number) for number in used.tolist())
        old = np.array([number for _, number in ranked], dtype=np.int32)
        cursor.register("remap", {"old": old, "new": np.arange(len(old), dtype=np.int32)})
        cursor.execute(_SEAL, {"table": table.name, "out": str(folder / "samples.parquet")})
        self._write_series(cursor, [text for text, _ in ranked], folder)
        metrics = self._index.metric_names({self._index.metric_of[number] for number in old.tolist()})
        return table.rows, tuple(sorted(metrics))

    def merge(self, cursor: duckdb.DuckDBPyConnection, sources: list[Path], folder: Path) -> int:
        """Write the rows of several segments as one; gives their number."""
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
        files = [str(source / "samples.parquet") for source in sources]
        rows = written(cursor.execute(_MERGE, {"files": files, "out": str(folder / "samples.parquet")}))
        self._write_series(cursor, merged, folder)
        return rows

    def _write_series(self, cursor: duckdb.DuckDBPyConnection, texts: list[str], folder: Path) -> None:
        names = {"id": np.arange(len(texts), dtype=np.int32), "text": np.array(texts, dtype=object)}
        cursor.register("names", names)
        cursor.execute(_SERIES, {"out": str(folder / "series.parquet")})


def _texts(cursor: duckdb.DuckDBPyConnection, folder: Path) -> list[str]:
    found = cursor.execute(
        "select text from read_parquet($file) order by id", {"file": str(folder / "series.parquet")}
    ).fetchall()
    return [text for (text,) in found]


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

    def __init__(self, shelf: Shelf, index: SeriesIndex, engine: duckdb.DuckDBPyConnection) -> None:
        self._shelf, self._index, self._engine = shelf, index, engine
        self._sealed = SealedSeries()

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
        hot = self._index.metric_names(self._shelf.metrics_in_memory())  # first: it may be sealed meanwhile
        return hot.union(*(meta.metrics for meta in self._shelf.segments()))

    def _find(
        self,
        cursor: duckdb.DuckDBPyConnection,
        pieces: Pieces,
        metric: str,
        query: Query,
        hot: tuple[Ids, list[Labels]],
    ) -> Found:
        rows = {labels: row for row, labels in enumerate(hot[1])}
        sealed, stretches = self._stretches(cursor, pieces, metric)
        numbers, labels = sealed.index.select(metric, query.matchers)
        reached = np.isin(numbers, np.concatenate([np.empty(0, np.int32), *(s.numbers for s in stretches)]))
        names = [labels[at] for at in np.flatnonzero(reached).tolist()]
        row_of = np.array([*(rows.setdefault(name, len(rows)) for name in names), -1], dtype=np.int64)
        cold = [(stretch, row_of[positions(numbers[reached], stretch.numbers)]) for stretch in stretches]
        return Found(list(rows), hot[0], cold)

    def _stretches(
        self, cursor: duckdb.DuckDBPyConnection, pieces: Pieces, metric: str
    ) -> tuple[SealedSeries, list[Stretch]]:
        """What held segments have of a metric. Where too much is known for more, all is forgotten and read anew."""
        segments = [segment for segment in pieces.segments if metric in segment.meta.metrics]
        for sealed in (self._sealed, SealedSeries()):
            found = sealed.stretches(cursor, segments, metric)
            if found is not None:
                self._sealed = sealed
                return sealed, found
        raise too_many(metric)

    def _read(
        self,
        cursor: duckdb.DuckDBPyConnection,
        pieces: Pieces,
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
        self, pieces: Pieces, metric: int | None, found: Found
    ) -> Iterator[tuple[str, dict[str, object], Callable[[Ids], Ints]]]:
        """What to ask of each piece, and how its own numbers of series become rows."""
        for stretch, row_of in found.cold:
            wanted = np.flatnonzero(row_of >= 0)
            if len(wanted):
                reach = {"low": stretch.first + int(wanted[0]), "high": stretch.first + int(wanted[-1])}
                file = str(stretch.segment.folder / "samples.parquet")
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
