"""Cache of complete metrics of a recording, which a replay queries window after window."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.store.samples.promql_functions import Ints

MAX_METRIC_SAMPLES = 1_000_000
"""Samples of a cached metric. Of a larger one only the queried window is read."""
MAX_CACHED_SAMPLES = 6_000_000
"""Samples of all cached metrics, 16 bytes each. Nothing is evicted: a replay queries all metrics in turn, and would
never hit the most recent ones."""


class MetricRows(NamedTuple):
    """The rows `first` and following of the sorted file: times in ms, values."""

    first: int
    times: Ints
    values: Floats

    def window(self, first: int, last: int, after: int, until: int) -> tuple[Ints, Ints, Floats]:
        """Return row number, time and value of the rows from `first` up to `last` with time in (after, until]."""
        part = slice(first - self.first, last - self.first)
        times = self.times[part]
        chosen = np.flatnonzero((times > after) & (times <= until))
        return chosen + first, times[chosen], self.values[part][chosen]


class MetricCache:
    """Caches the first metrics queried. Thread-safe. read: times and values of the rows from a first to a last one."""

    def __init__(
        self,
        read: Callable[[int, int], tuple[Ints, Floats]],
        max_metric_samples: int = MAX_METRIC_SAMPLES,
        max_samples: int = MAX_CACHED_SAMPLES,
    ) -> None:
        self._read, self._max_metric_samples, self._room = read, max_metric_samples, max_samples
        self._lock = threading.Lock()
        self._metrics: dict[int, MetricRows] = {}

    def rows(self, first: int, last: int) -> MetricRows | None:
        """Return all rows of a metric, `first` up to `last`; None if they do not fit."""
        rows = self._metrics.get(first)  # without the lock, so that hits do not wait for reads
        if rows is not None:
            return rows
        with self._lock:
            rows = self._metrics.get(first)  # another thread may have read it in the meantime
            if rows is None and last - first <= min(self._max_metric_samples, self._room):
                rows = self._metrics[first] = MetricRows(first, *self._read(first, last))
                self._room -= last - first
        return rows

    def close(self) -> None:
        """Empty the cache and keep nothing from now on."""
        with self._lock:
            self._metrics, self._room = {}, 0
