"""Reading of recordings: `meta.json`, `metrics.parquet` and `spans.parquet`, and no other file of the folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import orjson

from foreshock_dashboard.ingest.otlp.decode import decode_spans
from foreshock_dashboard.ingest.otlp.encode import join_spans
from foreshock_dashboard.model.samples import STALE, Labels, labels_of
from foreshock_dashboard.model.span import Origin, Span
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.recording import meta as files
from foreshock_dashboard.recording.meta import RecordingError
from foreshock_dashboard.recording.metric_cache import MetricCache
from foreshock_dashboard.recording.renamed_metrics import current_names
from foreshock_dashboard.recording.writer import ROW_GROUP_ROWS, RecordingWriter
from foreshock_dashboard.stats.robust import median_interval
from foreshock_dashboard.store.blocks.duckdb_engine import connect
from foreshock_dashboard.store.samples.promql_functions import Ints

DUCKDB_MEMORY = "512MB"
DUCKDB_THREADS = 2
BATCH_SAMPLES = 200_000
BATCH_SPANS = 2_000
MAX_SCRAPE_INTERVAL_SECONDS = 21_600.0
"""A rate needs four scrapes, and its window is at most a day (`Query`)."""
INTERVAL_SERIES = 200
"""Series, spread over the recording, from which the scrape interval is estimated."""
INTERVAL_SAMPLES = 200
"""Samples of each of these series."""

_TIMES = {
    "BIGINT": "timestamp",
    "INTEGER": "timestamp::bigint",
    "DOUBLE": "round(timestamp * 1000)::bigint",
    "TIMESTAMP": "epoch_ms(timestamp)",
    "TIMESTAMP_MS": "epoch_ms(timestamp::timestamp)",
    "TIMESTAMP_S": "epoch_ms(timestamp::timestamp)",
    "TIMESTAMP_NS": "epoch_ms(timestamp::timestamp)",
    "TIMESTAMP WITH TIME ZONE": "epoch_ms(timestamp)",
}
"""SQL of the time in milliseconds, by type of the column. Integers are milliseconds, floats are seconds."""
_INDEX = """
select metric, labels, min(file_row_number) as first, max(file_row_number) as last, count(*) as rows
from read_parquet($file, file_row_number = true) group by metric, labels order by first
"""
_SORT = f"""
copy (select * from read_parquet($file) order by metric, labels, timestamp)
to $out (format parquet, compression zstd, row_group_size {ROW_GROUP_ROWS})
"""  # noqa: S608 - a constant
_SAMPLES = """
select file_row_number as row, {time} as time, value::double as value
from read_parquet($file, file_row_number = true)
where file_row_number >= $first and file_row_number < $last
"""
_SPANS = """
select resource, scope, span from read_parquet($file, file_row_number = true)
where file_row_number >= $first and file_row_number < $last
"""
_TIME_RANGE = "select min({time}), max({time}) from read_parquet($file)"
_SPAN_TIME_RANGE = "select min(start_ns), max(end_ns) from read_parquet($file)"


class SeriesRows(NamedTuple):
    """A series; its samples are the rows `first` up to `last` (excluded) of the sorted file.

    `stored`: the metric's name in the file, which is another one in recordings of 0.1.
    """

    metric: str
    labels: Labels
    first: int
    last: int
    stored: str


class SampleColumns(NamedTuple):
    """Samples as columns: position of the series in `Recording.series`, time in ms, value."""

    series: Ints
    times: Ints
    values: Floats


class Recording:
    """An open recording, read-only. Call `close`, or use it in a `with` block.

    Samples that are not grouped by series are sorted once, into a temporary folder. Spans without any samples are
    counted there (see `RecordingWriter.count_spans`).

    Raises:
        RecordingError: the folder is not a recording, or one that is damaged, incomplete or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.cache = MetricCache(self.rows)
        meta = files.read(self.path)
        with ExitStack() as opened:
            self._scratch = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="foreshock-recording-")))
            (self._scratch / "tmp").mkdir()
            self.engine = connect(self._scratch, DUCKDB_MEMORY, DUCKDB_THREADS, extra_folders=(self.path,))
            opened.callback(self.engine.close)
            with self.errors_translated():
                self._span_rows = self._count_spans()
                self.metrics_file, self.time_sql, self.series = self._find_series(self.path / files.METRICS)
                self.meta = self._completed(meta)
                if self._span_rows and not self.series:
                    self._derive_metrics()
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Release files and memory."""
        self._opened.close()
        self.cache.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def errors_translated(self) -> Iterator[None]:
        """Translate errors of DuckDB into `RecordingError`."""
        try:
            yield
        except duckdb.Error as error:
            first = str(error).split("\n")[0]
            raise RecordingError(f"recording {self.path}: cannot be read: {first}; copy or record it again") from error

    # --- contents

    def _derive_metrics(self) -> None:
        """Take the metrics that a hub would have counted from the spans of a recording without metrics."""
        folder = self._scratch / "counted"
        with RecordingWriter(folder) as writer:
            for spans in self.spans():
                writer.add_spans(spans)
            writer.count_spans()
        self.metrics_file, self.time_sql, self.series = self._find_series(folder / files.METRICS)
        counted = files.read(folder)
        self.meta = replace(
            self.meta,
            start=counted.start,
            end=counted.end,
            samples=counted.samples,
            series=counted.series,
            scrape_interval=counted.scrape_interval,
        )

    def _find_series(self, file: Path) -> tuple[Path | None, str, tuple[SeriesRows, ...]]:
        if not file.exists():
            return None, "", ()
        columns = self._columns(file)
        wanted = ("metric", "labels", "timestamp", "value")
        if missing := [name for name in wanted if name not in columns]:
            raise RecordingError(f"recording {self.path}: {files.METRICS} has no column {', '.join(missing)}")
        time_sql = _TIMES.get(columns["timestamp"])
        if time_sql is None:
            raise RecordingError(
                f"recording {self.path}: the column timestamp of {files.METRICS} is {columns['timestamp']}; "
                "write whole milliseconds, or a timestamp"
            )
        series = self._series_of(file)
        if series is None:
            out = self._scratch / files.METRICS
            self.engine.execute(_SORT, {"file": str(file), "out": str(out)})
            file, series = out, self._series_of(out)
        return file, time_sql, series or ()

    def _fetch(self, sql: str, file: Path) -> list[tuple[Any, ...]]:
        return self.engine.execute(sql, {"file": str(file)}).fetchall()

    def _columns(self, file: Path) -> dict[str, str]:
        return {name: kind for name, kind, *_ in self._fetch("describe select * from read_parquet($file)", file)}

    def _series_of(self, file: Path) -> tuple[SeriesRows, ...] | None:
        """Return the series of a file; None if the rows of a series are scattered."""
        series = self._fetch(_INDEX, file)
        if any(last - first + 1 != rows for _, _, first, last, rows in series):
            return None
        return tuple(
            SeriesRows(*current_names(metric, self._labels(labels)), first, last + 1, metric)
            for metric, labels, first, last, _ in series
        )

    def _labels(self, column: Any) -> Labels:  # noqa: ANN401 - text, or the Python value of a MAP or STRUCT
        try:
            pairs = orjson.loads(column) if isinstance(column, str | bytes) else column
            return labels_of({str(name): "" if value is None else str(value) for name, value in (pairs or {}).items()})
        except (orjson.JSONDecodeError, AttributeError):
            raise RecordingError(
                f"recording {self.path}: the labels {str(column)[:80]!r} are neither a map nor a JSON object"
            ) from None

    def _count_spans(self) -> int:
        file = self.path / files.SPANS
        if not file.exists():
            return 0
        columns = self._columns(file)
        if missing := [name for name in ("resource", "scope", "span") if columns.get(name) != "BLOB"]:
            raise RecordingError(f"recording {self.path}: {files.SPANS} has no binary column {', '.join(missing)}")
        return int(self._fetch("select count(*) from read_parquet($file)", file)[0][0])

    def _completed(self, meta: files.RecordingMeta) -> files.RecordingMeta:
        """Return the metadata, with start and end from the data if they are missing."""
        if meta.start is not None and meta.end is not None:
            return meta
        if self.metrics_file and self.series:
            sql, file, scale = _TIME_RANGE.format(time=self.time_sql), self.metrics_file, 1e3
        elif self._span_rows:
            sql, file, scale = _SPAN_TIME_RANGE, self.path / files.SPANS, 1e9
        else:
            return meta
        ((start, end),) = self._fetch(sql, file)
        return meta if start is None or end is None else replace(meta, start=start / scale, end=end / scale)

    # --- reading

    def samples(self) -> Iterator[SampleColumns]:
        """Yield all samples by series and time, about `BATCH_SAMPLES` at once. Of equal times the first counts."""
        starts = np.array([series.first for series in self.series], np.int64)
        rows = self.series[-1].last if self.series else 0
        previous = (-1, -1)
        for first in range(0, rows, BATCH_SAMPLES):
            times, values = self.rows(first, min(first + BATCH_SAMPLES, rows))
            series = np.searchsorted(starts, np.arange(first, first + len(times)), side="right") - 1
            repeated = (np.append(previous[0], series[:-1]) == series) & (np.append(previous[1], times[:-1]) == times)
            previous = int(series[-1]), int(times[-1])
            yield SampleColumns(series[~repeated], times[~repeated], values[~repeated])

    def rows(self, first: int, last: int) -> tuple[Ints, Floats]:
        """Return times (ms) and values of rows `first` up to `last` of the sorted file."""
        _, times, values = self.query(_SAMPLES, first=first, last=last)
        return times, values

    def query(self, sql: str, **parameters: object) -> tuple[Ints, Ints, Floats]:
        """Return row numbers, times (ms), and values that SQL selects as `row`, `time`, and `value`.

        `{time}` in the SQL is the time in ms, `$file` the sorted file. NULL is read as `STALE`.
        """
        parameters["file"] = str(self.metrics_file)
        with self.errors_translated(), self.engine.cursor() as cursor:
            columns = cursor.execute(sql.format(time=self.time_sql), parameters).fetchnumpy()
        value = columns["value"]
        if isinstance(value, np.ma.MaskedArray):
            value = np.where(np.ma.getmaskarray(value), STALE, value.data)
        rows, times = np.asarray(columns["row"], np.int64), np.asarray(columns["time"], np.int64)
        return rows, times, np.asarray(value, np.float64)

    def spans(self) -> Iterator[Sequence[Span]]:
        """Yield all spans by trace and start, up to `BATCH_SPANS` at once."""
        for first in range(0, self._span_rows, BATCH_SPANS):
            parameters = {"file": str(self.path / files.SPANS), "first": first, "last": first + BATCH_SPANS}
            with self.errors_translated():
                rows = self.engine.cursor().execute(_SPANS, parameters).fetchall()
            yield decode_spans(join_spans((Origin(resource, scope), span) for resource, scope, span in rows)).spans

    def scrape_interval(self, default: float) -> float:
        """Return the seconds between two scrapes: from the metadata, or else from the samples of some series.

        At least half of the series are scraped that often. `default` if no series has two samples.

        Raises:
            RecordingError: the recording cannot be read, or its samples are too far apart.
        """
        seconds = self.meta.scrape_interval or self._measured_interval() or default
        if seconds > MAX_SCRAPE_INTERVAL_SECONDS:
            raise RecordingError(
                f"recording {self.path}: its samples are {seconds / 3600:.3g} h apart; "
                f"the analysis needs one every {MAX_SCRAPE_INTERVAL_SECONDS / 3600:.0f} h at least"
            )
        return seconds

    def _measured_interval(self) -> float | None:
        long = [series for series in self.series if series.last - series.first > 1]
        chosen = long[:: max(1, len(long) // INTERVAL_SERIES)]
        interval = median_interval(
            np.sort(self.rows(series.first, min(series.last, series.first + INTERVAL_SAMPLES))[0]) for series in chosen
        )
        return None if interval is None else interval / 1000
