"""Writing of recordings: samples and spans in any order, sorted when the recording is complete.

Data is gathered in DuckDB, which spills it to the folder beyond its memory limit. Memory is bounded by that limit and
the number of series. Equal input gives equal bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import numpy as np
import orjson
from numpy.typing import NDArray

from foreshock_dashboard.ingest.otlp.decode import decode_spans
from foreshock_dashboard.ingest.otlp.encode import encode_each, join_spans
from foreshock_dashboard.ingest.otlp.values import valid_unicode
from foreshock_dashboard.model.samples import Labels, SampleBatch, labels_of
from foreshock_dashboard.model.span import Origin, Span
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.recording import meta as files
from foreshock_dashboard.recording.atomic_files import new_folder
from foreshock_dashboard.recording.meta import RecordingError, RecordingMeta
from foreshock_dashboard.recording.span_counting import already_counted, count_spans
from foreshock_dashboard.store.blocks.duckdb_engine import connect
from foreshock_dashboard.store.samples.promql_functions import STALE_BITS

DUCKDB_MEMORY = "512MB"
BATCH_SAMPLES = 500_000
"""Samples gathered in Python before an insert into DuckDB."""
BATCH_SPANS = 5_000
SPAN_SCRAPE_SECONDS = 10.0
"""Time between two scrapes of metrics counted from spans, unless samples have another: the hub's default."""
HUB_LABELS = {"job": "foreshock", "instance": "foreshock:8050"}
"""Target labels of these metrics, as of a scraped hub."""
ROW_GROUP_ROWS = 61_440
"""Rows of a Parquet row group: the least that a query of one metric reads."""

_COPY = f"(format parquet, compression zstd, row_group_size {ROW_GROUP_ROWS}, dictionary_size_limit {ROW_GROUP_ROWS})"
_TABLES = """
create table samples (series integer, timestamp bigint, value double);
create table spans (trace_id blob, start_ns bigint, end_ns bigint, span_id blob, parent_span_id blob, name varchar,
  kind varchar, status varchar, service_namespace varchar, service_name varchar, resource blob, scope blob, span blob)
"""
_INSERT_SAMPLES = "insert into samples select series, timestamp, case when nan then 'nan' else value end from batch"
_INSERT_SPANS = "insert into spans select * from batch"
# As ENUM values, names are small integers that sort like the names.
_NAMES = (
    "create type metrics as enum (select distinct metric from names order by metric)",
    "create type labels as enum (select distinct labels from names order by labels)",
    "create table series as select number, metric::metrics as metric, labels::labels as labels from names",
)
_SAMPLES = f"""
copy (
  select metric::varchar as metric, labels::varchar as labels, timestamp, value from (
    select series.metric, series.labels, timestamp, value
    from samples join series on series.number = samples.series
    order by series.metric, series.labels, timestamp, samples.rowid
  )
) to $out {_COPY}
"""  # noqa: S608 - constants
_SPANS = f"copy (select * from spans order by trace_id, start_ns, span_id, kind) to $out {_COPY}"  # noqa: S608
_SPANS_BY_END = "select resource, scope, span from spans order by end_ns, trace_id, span_id"
_INTERVAL = """
select median(gap) from (
  select timestamp - lag(timestamp) over (partition by series order by timestamp) as gap
  from samples where list_contains($series, series)
)
"""
"""Median over some series."""
INTERVAL_SERIES = 100
"""Series, spread over the names, from which the scrape interval is estimated."""


class RecordingWriter:
    """Writes a recording; use it in a `with` block. The folder appears when the block ends without an error.

    Args:
        path: the folder, which must not exist.
        meta: metadata. Times, counts and files are filled in, and the scrape interval if it is None.
        memory: memory limit of DuckDB, in its notation.

    Raises:
        RecordingError: the folder exists, or cannot be written.
    """

    def __init__(self, path: Path, meta: RecordingMeta = RecordingMeta(), memory: str = DUCKDB_MEMORY) -> None:  # noqa: B008 - frozen
        self._path, self._meta, self._memory = path, meta, memory
        self.numbers: dict[tuple[str, Labels], int] = {}
        self._gathered: list[tuple[NDArray[Any], ...]] = []
        self._room = BATCH_SAMPLES
        self._spans: list[Span] = []
        self._labels: dict[Labels, Labels] = {}
        self._truth: bytes | None = None
        self._counts = {"samples": 0, "spans": 0}
        self._time_ranges: dict[str, tuple[float, float]] = {}

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self._folder = opened.enter_context(new_folder(self._path))
            (self._folder / "tmp").mkdir()
            self._engine = connect(self._folder, self._memory, threads=1)
            opened.callback(self._engine.close)
            self._engine.execute(_TABLES)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the files unless there was an error, and release everything."""
        if error is not None:
            self._opened.__exit__(kind, error, trace)
            return
        with self._opened:
            try:
                self._finish()
            except duckdb.Error as failure:
                raise RecordingError(f"{self._path}: cannot be written: {failure}") from failure

    # --- adding data

    def series(self, metric: str, labels: Labels) -> int:
        """Return the number of a series, for `add`."""
        return self.numbers.setdefault((metric, labels), len(self.numbers))

    def add(self, series: NDArray[np.int32], times: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Add samples: series numbers, times in ms, values; `STALE` marks the end of a series.

        Of samples of one series with equal times the first counts.

        Raises:
            RecordingError: they cannot be written.
        """
        self._gathered.append((series, times, values))
        self._room -= len(times)
        if self._room <= 0:
            self._flush_samples()

    def add_batch(self, batch: SampleBatch) -> None:
        """Add a scrape of the hub itself.

        Raises:
            RecordingError: it cannot be written.
        """
        series = [self.series(metric, self._hub_labels(labels)) for metric, labels, _ in batch.samples]
        values = np.array([sample.value for sample in batch.samples])
        self.add(np.array(series, np.int32), np.full(len(series), round(batch.time * 1000), np.int64), values)

    def _hub_labels(self, own: Labels) -> Labels:
        labels = self._labels.get(own)
        if labels is None:
            labels = self._labels[own] = labels_of({**HUB_LABELS, **dict(own)})
        return labels

    def add_spans(self, spans: Sequence[Span]) -> None:
        """Add spans.

        Raises:
            RecordingError: they cannot be written.
        """
        self._spans += spans
        if len(self._spans) >= BATCH_SPANS:
            self._flush_spans()

    def count_spans(self, interval: float | None = None) -> int:
        """Add the service graph and span metrics of the spans added so far, as a live hub would have scraped them.

        Metrics of spans that are among the samples already are not counted again (see `already_counted`). Returns the
        number of added samples.

        interval: seconds between two scrapes; None: that of the samples, or else `SPAN_SCRAPE_SECONDS`.

        Raises:
            RecordingError: they cannot be written.
        """
        without = already_counted({metric for metric, _ in self.numbers})
        if without is None:
            return 0
        self._flush_spans()
        self._flush_samples()
        interval = interval or self._interval() or SPAN_SCRAPE_SECONDS
        added = 0
        for batch in count_spans(self._spans_by_end(), interval, without=without):
            self.add_batch(batch)
            added += len(batch.samples)
        if self._counts["spans"]:
            self._meta = replace(self._meta, scrape_interval=interval)
        return added

    def _spans_by_end(self) -> Iterator[Sequence[Span]]:
        with self._engine.cursor() as cursor:
            cursor.execute(_SPANS_BY_END)
            while rows := cursor.fetchmany(BATCH_SPANS):
                yield decode_spans(join_spans((Origin(resource, scope), raw) for resource, scope, raw in rows)).spans

    def add_ground_truth(self, truth: Json) -> None:
        """Add the ground truth of a simulation, for the evaluation of detectors; services as text.

        Readers never open it.
        """
        option = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
        self._truth = orjson.dumps(truth, default=str, option=option)

    def _flush_samples(self) -> None:
        gathered, self._gathered, self._room = self._gathered, [], BATCH_SAMPLES
        if not gathered:
            return
        series, times, values = map(np.concatenate, zip(*gathered, strict=True))
        stale = values.view(np.int64) == STALE_BITS
        nan = np.isnan(values) & ~stale  # DuckDB takes NaN for NULL, which marks the end of a series
        value = np.ma.masked_array(values, stale)
        self._insert(_INSERT_SAMPLES, {"series": series, "timestamp": times, "value": value, "nan": nan})
        self._count("samples", len(times), int(times.min()) / 1e3, int(times.max()) / 1e3)

    def _flush_spans(self) -> None:
        spans, self._spans = self._spans, []
        if not spans:
            return
        pairs = [*encode_each(spans)]
        services = [span.service for span in spans]
        columns: dict[str, list[Any]] = {
            "trace_id": [bytes.fromhex(span.trace_id) for span in spans],
            "start_ns": [span.start_ns for span in spans],
            "end_ns": [span.end_ns for span in spans],
            "span_id": [bytes.fromhex(span.span_id) for span in spans],
            "parent_span_id": [bytes.fromhex(span.parent_id) for span in spans],
            "name": [valid_unicode(span.name) for span in spans],
            "kind": [span.kind for span in spans],
            "status": [span.status for span in spans],
            "service_namespace": [valid_unicode(service.namespace) for service in services],
            "service_name": [valid_unicode(service.name) for service in services],
            "resource": [origin.resource for origin, _ in pairs],
            "scope": [origin.scope for origin, _ in pairs],
            "span": [raw for _, raw in pairs],
        }
        types = {"start_ns": np.int64, "end_ns": np.int64}
        self._insert(
            _INSERT_SPANS, {name: np.array(column, types.get(name, object)) for name, column in columns.items()}
        )
        self._count("spans", len(spans), min(columns["start_ns"]) / 1e9, max(columns["end_ns"]) / 1e9)

    def _insert(self, statement: str, columns: dict[str, NDArray[Any]]) -> None:
        try:
            self._engine.register("batch", columns)
            self._engine.execute(statement)
            self._engine.unregister("batch")
        except duckdb.Error as error:
            raise RecordingError(f"{self._path}: cannot be written: {error}") from error

    def _count(self, kind: str, count: int, first: float, last: float) -> None:
        start, end = self._time_ranges.get(kind, (first, last))
        self._time_ranges[kind] = min(start, first), max(end, last)
        self._counts[kind] += count

    # --- the files

    def _finish(self) -> None:
        self._flush_samples()
        self._flush_spans()
        self._write_samples()
        self._engine.execute(_SPANS, {"out": str(self._folder / files.SPANS)})
        start, end = self._time_ranges.get("samples") or self._time_ranges.get("spans") or (None, None)
        interval = self._meta.scrape_interval
        meta = replace(
            self._meta,
            start=start,
            end=end,
            scrape_interval=self._interval() if interval is None else interval,
            samples=self._counts["samples"],
            series=len(self.numbers),
            spans=self._counts["spans"],
            files={name: files.checksum(self._folder / name) for name in (files.METRICS, files.SPANS)},
        )
        self._engine.close()
        shutil.rmtree(self._folder / "tmp", ignore_errors=True)
        if self._truth is not None:
            (self._folder / files.TRUTH).write_bytes(self._truth)
        (self._folder / files.META).write_bytes(files.dump(meta))

    def _write_samples(self) -> None:
        series = list(self.numbers)
        names = {
            "number": np.arange(len(series), dtype=np.int32),
            "metric": np.array([valid_unicode(metric) for metric, _ in series], object),
            "labels": np.array([_labels_json(labels) for _, labels in series], object),
        }
        self._engine.register("names", names)
        for statement in _NAMES:
            self._engine.execute(statement)
        self._engine.execute(_SAMPLES, {"out": str(self._folder / files.METRICS)})

    def _interval(self) -> float | None:
        chosen = [self.numbers[name] for name in sorted(self.numbers)]
        chosen = chosen[:: max(1, len(chosen) // INTERVAL_SERIES)]
        ((interval,),) = self._engine.execute(_INTERVAL, {"series": chosen}).fetchall()
        return float(interval) / 1e3 if interval else None


def _labels_json(labels: Labels) -> str:
    """Labels as in the file: a JSON object with ascending names, without lone surrogates."""
    pairs = {valid_unicode(name): valid_unicode(value) for name, value in labels}
    return orjson.dumps(pairs, option=orjson.OPT_SORT_KEYS).decode()
