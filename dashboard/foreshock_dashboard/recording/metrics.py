"""Queries answered from a recording's samples, exactly as the embedded store answers them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreshock_dashboard.model.query import Matcher, Matrix, Query, SourceError, grid
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.recording.reader import Recording, SeriesRows, values_of
from foreshock_dashboard.store.samples.promql_functions import Ints, Series, Steps, evaluate, sum_by
from foreshock_dashboard.store.samples.queries import MAX_QUERY_CELLS, MAX_QUERY_SAMPLES

_FETCH = """
select file_row_number as row, {time} as time, value::double as value
from read_parquet($file, file_row_number = true)
where metric = $metric and file_row_number >= $first and file_row_number < $last
  and {time} > $after and {time} <= $until
limit $room
"""


class RecordedMetrics:
    """Implements `MetricSource` over a recording. Thread-safe."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._of_metric: dict[str, list[SeriesRows]] = {}
        for stretch in recording.stretches:
            self._of_metric.setdefault(stretch.metric, []).append(stretch)
        self._sql = _FETCH.format(time=recording.time)

    def metric_names(self) -> frozenset[str]:
        """As `MetricSource.metric_names`."""
        return frozenset(self._of_metric)

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """As `MetricSource.fetch`."""
        steps, times = Steps.of(start, end, step), grid(start, end, step)
        metric = f"{query.metric}_bucket" if query.reduce == "buckets" else query.metric
        chosen = [s for s in self._of_metric.get(metric, ()) if _accepted(s, query.matchers)]
        if not chosen:
            return Matrix.empty(times)
        rows: dict[Labels, int] = {}
        row_of = np.array([rows.setdefault(stretch.labels, len(rows)) for stretch in chosen], np.int64)
        if len(rows) * steps.count > MAX_QUERY_CELLS:
            raise SourceError(
                f"recording: {metric} has {len(rows)} series over {steps.count} steps; narrow labels or range"
            )
        after = steps.start - round(query.window * 1000)
        at, found, values = self._read(metric, chosen, after, steps.end)
        series = Series.of(len(rows), row_of[at], found, values)
        return sum_by(query, list(rows), *evaluate(query, series, steps), times)

    def _read(self, metric: str, chosen: Sequence[SeriesRows], after: int, until: int) -> tuple[Ints, Ints, Floats]:
        """The samples of some stretches of one metric in (after, until]: which of them, time in ms, value."""
        rows, times, values = self._window(metric, chosen[0].first, chosen[-1].last, after, until)
        if len(rows) > MAX_QUERY_SAMPLES:
            raise SourceError(
                f"recording: more than {MAX_QUERY_SAMPLES} samples in one query; narrow the labels or the range"
            )
        places = np.searchsorted([stretch.first for stretch in chosen], rows, side="right") - 1
        within = rows < np.array([stretch.last for stretch in chosen], np.int64)[places]
        return places[within], times[within], values[within]

    def _window(self, metric: str, first: int, last: int, after: int, until: int) -> tuple[Ints, Ints, Floats]:
        """Rows `first` up to `last`, among them all of a metric, in (after, until]: which, time in ms, value."""
        recording, every = self._recording, self._of_metric[metric]
        whole = recording.whole.rows(every[0].first, every[-1].last)
        if whole is not None:
            return whole.within(first, last, after, until)
        given = {
            "file": str(recording.metrics_file),
            "metric": metric,
            "first": first,
            "last": last,
            "after": after,
            "until": until,
            "room": MAX_QUERY_SAMPLES + 1,
        }
        cursor = recording.engine.cursor()
        try:
            with recording.reading():
                found = cursor.execute(self._sql, given).fetchnumpy()
        finally:
            cursor.close()
        return np.asarray(found["row"], np.int64), np.asarray(found["time"], np.int64), values_of(found["value"])


def _accepted(stretch: SeriesRows, matchers: Sequence[Matcher]) -> bool:
    if not matchers:
        return True
    labels = {"__name__": stretch.metric, **dict(stretch.labels)}
    return all(matcher.accepts(labels.get(matcher.label, "")) for matcher in matchers)
