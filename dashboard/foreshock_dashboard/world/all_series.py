"""Reader of all metrics of a source, whatever their names."""

from __future__ import annotations

from collections.abc import Iterator, Set

import numpy as np

from foreshock_dashboard.model.query import (
    MAX_LAST_WINDOW_SECONDS,
    Matrix,
    MetricSeries,
    MetricSource,
    Query,
    SourceError,
    grid,
)
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.observer import extend

BUCKETS = "_bucket"
MIN_LOOKBACK_SECONDS = 150.0
"""Metrics of one source are sampled at different intervals, and late."""
OWN_METRICS = (
    "foreshock_spans_",
    "foreshock_span_metrics_",
    "foreshock_service_graph_",
    "foreshock_hub_",
    "foreshock_store_",
)
"""Metrics about Foreshock itself."""
SUM, COUNT, TOTAL = "_sum", "_count", "_total"
CREATED = "_created"
"""Suffix of the Unix time at which a counter, histogram, or summary of OpenMetrics began."""
MIN_UNIX_TIME = 1e9
"""Seconds from which a value is taken for a Unix time."""


def read_all_series(source: MetricSource, start: float, end: float, step: float) -> Iterator[MetricSeries]:
    """Every metric, on the grid from `start` to `end` (Unix seconds); histograms with their sums and counts.

    A point has the newest sample of the 2.5 steps before it, and of at least `MIN_LOOKBACK_SECONDS`.

    Raises:
        SourceError: the source cannot answer.
    """
    names = source.metric_names()
    window = min(MAX_LAST_WINDOW_SECONDS, max(MIN_LOOKBACK_SECONDS, 2.5 * step))

    def read(metric: str) -> Matrix:
        query = Query(metric, by=None, reduce="last", window=window)
        return _in_parts(source, query, grid(start, end, step), step)

    for metric in sorted(name for name in names if not name.startswith(OWN_METRICS)):
        base = next((metric.removesuffix(end) for end in (SUM, COUNT, BUCKETS) if metric.endswith(end)), metric)
        is_distribution = base != metric and {base + SUM, base + COUNT} <= names
        if is_distribution and metric.endswith(SUM):
            buckets = read(base + BUCKETS) if base + BUCKETS in names else None
            yield MetricSeries(base, read(metric), read(base + COUNT), buckets)
        elif not is_distribution and not metric.endswith(BUCKETS) and not _is_start_of_another(metric, names):
            series = MetricSeries(metric, read(metric))
            if not (metric.endswith(CREATED) and np.nanmin(series.values.values, initial=np.inf) >= MIN_UNIX_TIME):
                yield series


def _is_start_of_another(metric: str, names: Set[str]) -> bool:
    base = metric.removesuffix(CREATED)
    return base != metric and not names.isdisjoint((base + TOTAL, base + COUNT))


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
