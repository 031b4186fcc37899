"""Reader of all metrics of a source, whatever their names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from foreshock_dashboard.model.query import MAX_LAST_WINDOW_SECONDS, Matrix, MetricSource, Query, SourceError, grid
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.observer import extend

BUCKETS = "_bucket"
SUM, COUNT = "_sum", "_count"


class MetricSeries(NamedTuple):
    """All series of one metric; `counts` belong to the sums of a histogram or summary."""

    metric: str
    values: Matrix
    counts: Matrix | None = None


def read_all_series(source: MetricSource, start: float, end: float, step: float) -> Iterator[MetricSeries]:
    """Every metric except histogram buckets, on the grid from `start` to `end` (Unix seconds).

    A point has the newest sample of the 2.5 steps before it, at most of five minutes.

    Raises:
        SourceError: the source cannot answer.
    """
    names = source.metric_names()
    window = min(MAX_LAST_WINDOW_SECONDS, 2.5 * step)

    def read(metric: str) -> Matrix:
        query = Query(metric, by=None, reduce="last", window=window)
        return _in_parts(source, query, grid(start, end, step), step)

    for metric in sorted(names):
        if metric.endswith(BUCKETS):
            continue
        base = metric.removesuffix(SUM)
        if metric.endswith(SUM) and base + COUNT in names:
            yield MetricSeries(base, read(metric), read(base + COUNT))
        else:
            yield MetricSeries(metric, read(metric))


def _in_parts(source: MetricSource, query: Query, times: Floats, step: float) -> Matrix:
    """Query the range in halves, recursively, where the answer is too large."""
    try:
        return source.fetch(query, float(times[0]), float(times[-1]), step)
    except SourceError:
        if len(times) == 1:
            raise
    half = len(times) // 2
    early, late = (_in_parts(source, query, part, step) for part in (times[:half], times[half:]))
    return extend(early, late, float(times[0]))
