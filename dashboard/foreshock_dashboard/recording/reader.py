"""Opens a recording and gives what is in it. Only `meta.json`, `metrics.parquet` and `spans.parquet` are ever read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson
from numpy.typing import NDArray

from foreshock_dashboard.ingest.otlp import decode_spans, join_spans
from foreshock_dashboard.model.samples import STALE, Labels, labels_of
from foreshock_dashboard.model.span import Origin, Span
from foreshock_dashboard.recording import meta as files
from foreshock_dashboard.recording.errors import RecordingError
from foreshock_dashboard.recording.metric_cache import MetricCache
from foreshock_dashboard.store.blocks.duckdb_engine import connect

MEMORY = "512MB"
ROWS = 200_000
"""Samples that are read at once."""
SPAN_ROWS = 2_000

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
"""By the column's type, its time in milliseconds: integers are such, fractions are seconds."""
_INDEX = """
select metric, labels, min(file_row_number) as first, max(file_row_number) as last, count(*) as rows
from read_parquet($file, file_row_number = true) group by metric, labels order by first
"""
_SORT = """
copy (select * from read_parquet($file) order by metric, labels, timestamp)
to $out (format parquet, compression zstd, row_group_size 61440)
"""
_SAMPLES = """
select {time} as time, value::double as value from read_parquet($file, file_row_number = true)
where file_row_number >= $first and file_row_number < $last
"""
_SPANS = """
select resource, scope, span from read_parquet($file, file_row_number = true)
where file_row_number >= $first and file_row_number < $last
"""
_REACH = "select min({time}), max({time}) from read_parquet($file)"
_SPAN_REACH = "select min(start_ns), max(end_ns) from read_parquet($file)"


@dataclass(frozen=True, slots=True)
class SeriesRows:
    """One series: its samples are rows `first` up to `last` of the sorted file."""

    metric: str
    labels: Labels
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Some samples of neighbouring series: `stretches[rows[i]]` has `values[i]` at `times[i]` (ms), each time once."""

    rows: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]


class Recording:
    """A recording that is open. Not changed by anything; `close` it, or use it in a `with` block.

    Samples may lie in the file by series or by time: those that do not lie by series are sorted once, into a temporary
    folder.

    Raises:
        RecordingError: it is none, is damaged, half-written, or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.whole = MetricCache(self.rows)
        meta = files.read(self.path)
        with ExitStack() as opened:
            self._scratch = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="foreshock-recording-")))
            (self._scratch / "tmp").mkdir()
            self.engine = connect(self._scratch, MEMORY, 2, extra_folders=(self.path,))
            opened.callback(self.engine.close)
            with self.reading():
                self.metrics_file, self.time, self.stretches = self._series()
                self._span_rows = self._count_spans()
                self.meta = self._completed(meta)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Let go of it."""
        self._opened.close()
        self.whole.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What DuckDB cannot read is the recording's fault."""
        try:
            yield
        except duckdb.Error as error:
            first = str(error).split("\n")[0]
            raise RecordingError(f"recording {self.path}: cannot be read: {first}; copy or record it again") from error

    # --- what is there

    def _series(self) -> tuple[Path | None, str, tuple[SeriesRows, ...]]:
        file = self.path / files.METRICS
        if not file.exists():
            return None, "", ()
        columns = self._columns(file)
        wanted = ("metric", "labels", "timestamp", "value")
        if missing := [name for name in wanted if name not in columns]:
            raise RecordingError(f"recording {self.path}: {files.METRICS} has no column {', '.join(missing)}")
        time = _TIMES.get(columns["timestamp"])
        if time is None:
            raise RecordingError(
                f"recording {self.path}: the column timestamp of {files.METRICS} is {columns['timestamp']}; "
                "write whole milliseconds, or a timestamp"
            )
        stretches = self._stretches(file)
        if stretches is None:
            out = self._scratch / files.METRICS
            self.engine.execute(_SORT, {"file": str(file), "out": str(out)})
            file, stretches = out, self._stretches(out)
        return file, time, stretches or ()

    def _columns(self, file: Path) -> dict[str, str]:
        found = self.engine.execute("describe select * from read_parquet($file)", {"file": str(file)}).fetchall()
        return {name: kind for name, kind, *_ in found}

    def _stretches(self, file: Path) -> tuple[SeriesRows, ...] | None:
        """Every series of a file that has each in one stretch; None where one is scattered."""
        found = self.engine.execute(_INDEX, {"file": str(file)}).fetchall()
        if any(last - first + 1 != rows for _, _, first, last, rows in found):
            return None
        return tuple(
            SeriesRows(metric, self._labels(labels), first, last + 1) for metric, labels, first, last, _ in found
        )

    def _labels(self, found: Any) -> Labels:  # noqa: ANN401 - text, or what DuckDB makes of a MAP or STRUCT
        try:
            pairs = orjson.loads(found) if isinstance(found, str | bytes) else found
            return labels_of({str(name): "" if value is None else str(value) for name, value in (pairs or {}).items()})
        except (orjson.JSONDecodeError, AttributeError):
            raise RecordingError(
                f"recording {self.path}: the labels {str(found)[:80]!r} are neither a map nor a JSON object"
            ) from None

    def _count_spans(self) -> int:
        file = self.path / files.SPANS
        if not file.exists():
            return 0
        columns = self._columns(file)
        if missing := [name for name in ("resource", "scope", "span") if columns.get(name) != "BLOB"]:
            raise RecordingError(f"recording {self.path}: {files.SPANS} has no column {', '.join(missing)} of bytes")
        found = self.engine.execute("select count(*) from read_parquet($file)", {"file": str(file)}).fetchone()
        return int(found[0]) if found else 0

    def _completed(self, meta: files.RecordingMeta) -> files.RecordingMeta:
        """What the recording says of itself, and its times as they are found where it does not say."""
        if meta.start is not None and meta.end is not None:
            return meta
        start = end = None
        if self.metrics_file and self.stretches:
            sql, scale = _REACH.format(time=self.time), 1e3
            start, end = self.engine.execute(sql, {"file": str(self.metrics_file)}).fetchone() or (None, None)
        elif self._span_rows:
            sql, scale = _SPAN_REACH, 1e9
            start, end = self.engine.execute(sql, {"file": str(self.path / files.SPANS)}).fetchone() or (None, None)
        if start is None or end is None:
            return meta
        return replace(meta, start=start / scale, end=end / scale)

    # --- reading it whole

    def samples(self) -> Iterator[Piece]:
        """All samples, by series and time, in pieces of about `ROWS`."""
        starts = np.array([stretch.first for stretch in self.stretches], np.int64)
        rows = self.stretches[-1].last if self.stretches else 0
        before = (-1, -1)
        for first in range(0, rows, ROWS):
            times, values = self.rows(first, min(first + ROWS, rows))
            series = np.searchsorted(starts, np.arange(first, first + len(times)), side="right") - 1
            again = (np.append(before[0], series[:-1]) == series) & (np.append(before[1], times[:-1]) == times)
            before = int(series[-1]), int(times[-1])
            yield Piece(series[~again], times[~again], values[~again])

    def rows(self, first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Times in ms and values of rows `first` up to `last` of the sorted file; NULL is read as `STALE`."""
        given = {"file": str(self.metrics_file), "first": first, "last": last}
        with self.reading():
            found = self.engine.cursor().execute(_SAMPLES.format(time=self.time), given).fetchnumpy()
        return np.asarray(found["time"], np.int64), values_of(found["value"])

    def spans(self) -> Iterator[Sequence[Span]]:
        """All spans by trace and start, in pieces of at most `SPAN_ROWS`."""
        for first in range(0, self._span_rows, SPAN_ROWS):
            given = {"file": str(self.path / files.SPANS), "first": first, "last": first + SPAN_ROWS}
            with self.reading():
                found = self.engine.cursor().execute(_SPANS, given).fetchall()
            yield decode_spans(join_spans((Origin(resource, scope), raw) for resource, scope, raw in found)).spans


def values_of(found: NDArray[Any]) -> NDArray[np.float64]:
    """The values as they were, the end of a series as `STALE`."""
    if isinstance(found, np.ma.MaskedArray):
        return np.where(np.ma.getmaskarray(found), STALE, found.data)
    return np.asarray(found, np.float64)
