"""Metrics of a recording that are read whole: a replay asks for each again and again, a piece of time at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.store.samples.promql_functions import Ints

MOST = 1_000_000
"""Samples of a metric that is read whole; of a larger one, only what is asked for."""
ROOM = 6_000_000
"""Samples that are kept, 16 bytes each. The first to come stay: who reads a long recording asks for all in turn, and
would find none of those that came last."""


class MetricRows(NamedTuple):
    """Rows `first` and following of the sorted file: times in ms, values."""

    first: int
    times: Ints
    values: Floats

    def within(self, first: int, last: int, after: int, until: int) -> tuple[Ints, Ints, Floats]:
        """Those of rows `first` up to `last` whose time is in (after, until]: their rows, times, values."""
        part = slice(first - self.first, last - self.first)
        times = self.times[part]
        chosen = np.flatnonzero((times > after) & (times <= until))
        return chosen + first, times[chosen], self.values[part][chosen]


class MetricCache:
    """Keeps them, at most `room` samples of metrics with at most `most` each. Thread-safe.

    `read` gives times and values of rows from the first up to the second.
    """

    def __init__(self, read: Callable[[int, int], tuple[Ints, Floats]], most: int = MOST, room: int = ROOM) -> None:
        self._read, self._most, self._room = read, most, room
        self._lock = threading.Lock()
        self._kept: dict[int, MetricRows] = {}

    def rows(self, first: int, last: int) -> MetricRows | None:
        """All rows of a metric, which are `first` up to `last`; None where there is no room for them."""
        found = self._kept.get(first)  # without the lock: what is there is not to wait for what is being read
        if found is not None:
            return found
        with self._lock:
            found = self._kept.get(first)  # somebody else may have read it meanwhile
            if found is None and last - first <= min(self._most, self._room):
                found = self._kept[first] = MetricRows(first, *self._read(first, last))
                self._room -= last - first
        return found

    def close(self) -> None:
        """Let go of all, and keep nothing from now on."""
        with self._lock:
            self._kept, self._room = {}, 0
