"""Metric queries on a recording, with the same answers as the embedded store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreshock_dashboard.model.query import Matcher, Matrix, MetricSource, Query, SizeError, grid
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.recording.reader import Recording, SeriesRows
from foreshock_dashboard.store.blocks.limits import MAX_QUERY_CELLS, MAX_QUERY_SAMPLES
from foreshock_dashboard.store.samples.promql_functions import Ints, Series, Steps, evaluate, sum_by

_FETCH = """
select file_row_number as row, {time} as time, value::double as value
from read_parquet($file, file_row_number = true)
where metric = $metric and file_row_number >= $first and file_row_number < $last
  and {time} > $after and {time} <= $until
limit $limit
"""


class RecordedMetrics(MetricSource):
    """Implements `MetricSource` over a recording. Thread-safe."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._series: dict[str, list[SeriesRows]] = {}
        for series in recording.series:
            self._series.setdefault(series.metric, []).append(series)

    def metric_names(self) -> frozenset[str]:
        """As `MetricSource.metric_names`."""
        return frozenset(self._series)

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """As `MetricSource.fetch`."""
        steps, times = Steps.of(start, end, step), grid(start, end, step)
        metric = query.series_name
        selected = [series for series in self._series.get(metric, ()) if _accepted(series, query.matchers)]
        if not selected:
            return Matrix.empty(times)
        rows: dict[Labels, int] = {}
        row_of = np.array([rows.setdefault(series.labels, len(rows)) for series in selected], np.int64)
        if len(rows) * steps.count > MAX_QUERY_CELLS:
            raise SizeError(
                f"recording: {metric} has {len(rows)} series over {steps.count} steps; narrow labels or range"
            )
        after = steps.start - round(query.window * 1000)
        positions, sample_times, values = self._read(metric, selected, after, steps.end)
        samples = Series.of(len(rows), row_of[positions], sample_times, values)
        return sum_by(query, list(rows), *evaluate(query, samples, steps), times)

    def _read(self, metric: str, selected: Sequence[SeriesRows], after: int, until: int) -> tuple[Ints, Ints, Floats]:
        """Return position in `selected`, time (ms) and value of the samples in (after, until]."""
        rows, times, values = self._window(metric, selected[0].first, selected[-1].last, after, until)
        if len(rows) > MAX_QUERY_SAMPLES:
            raise SizeError(
                f"recording: more than {MAX_QUERY_SAMPLES} samples in one query; narrow the labels or the range"
            )
        positions = np.searchsorted([series.first for series in selected], rows, side="right") - 1
        inside = rows < np.array([series.last for series in selected], np.int64)[positions]
        return positions[inside], times[inside], values[inside]

    def _window(self, metric: str, first: int, last: int, after: int, until: int) -> tuple[Ints, Ints, Floats]:
        """Return row number, time (ms) and value of rows of a metric, `first` up to `last`, in (after, until]."""
        series = self._series[metric]
        cached = self._recording.cache.rows(series[0].first, series[-1].last)
        if cached is not None:
            return cached.window(first, last, after, until)
        return self._recording.query(
            _FETCH,
            metric=series[0].stored,
            first=first,
            last=last,
            after=after,
            until=until,
            limit=MAX_QUERY_SAMPLES + 1,
        )


def _accepted(series: SeriesRows, matchers: Sequence[Matcher]) -> bool:
    if not matchers:
        return True
    labels = {"__name__": series.metric, **dict(series.labels)}
    return all(matcher.accepts(labels.get(matcher.label, "")) for matcher in matchers)
