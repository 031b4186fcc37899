"""Totals of series that are reported as deltas."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from foreshock_dashboard.ingest.otlp.metrics.histogram import Histogram

IDLE_SECONDS = 3600.0
"""A series without a delta for so long is forgotten, and begins at zero again, as after a restart of its process."""

SENDER_SECONDS = 300.0
"""A process that has reported nothing for so long has ended."""
ANOTHER_PROCESS = "another process reports the series; set service.instance.id"

Amount = float | Histogram


class _Total(NamedTuple):
    """The sum of all deltas up to `time` (Unix ns), of which the last arrived at `seen` (Unix seconds)."""

    amount: Amount
    time: int
    seen: float


class Totals:
    """Sums of deltas by series. A change counts after `commit`, so that a request that could not be stored has none.

    Not thread-safe.
    """

    def __init__(self, max_series: int) -> None:
        self._max_series = max_series
        self._totals: dict[Hashable, _Total] = {}
        self._pending: dict[Hashable, _Total] = {}
        self._expired_at = 0.0

    def add(self, series: Hashable, delta: Amount, start: int, time: int, now: float) -> Amount | None:
        """The total with a delta of `start` (0 if unknown) to `time` (Unix ns); None if that was counted before.

        Raises:
            ValueError: there are too many series, or the delta overlaps the last one: it is of another process.
        """
        last = self._pending.get(series) or self._totals.get(series)
        if last and time <= last.time:
            return None
        if last and 0 < start < last.time:
            raise ValueError(ANOTHER_PROCESS)
        if last is None and len(self._totals) + len(self._pending) >= self._max_series:
            raise ValueError("too many series of deltas")
        total: Amount = last.amount + delta if last else delta  # type: ignore[operator]  # both are of one type
        self._pending[series] = _Total(total, time, now)
        return total

    def commit(self, now: float) -> None:
        """Keep the totals since the last commit."""
        self._totals |= self._pending
        self._pending = {}
        if now - self._expired_at > IDLE_SECONDS / 60:
            self._expired_at = now
            self._totals = {key: total for key, total in self._totals.items() if now - total.seen < IDLE_SECONDS}

    def discard(self) -> None:
        """Forget the totals since the last commit."""
        self._pending = {}


class Starts:
    """Start times of series, so that two processes do not alternate in one: that would look like resets.

    The process that started last is believed. Past `max_series`, further series are not checked. Not thread-safe.
    """

    def __init__(self, max_series: int) -> None:
        self._max_series = max_series
        self._newest: dict[int, tuple[int, float]] = {}  # by hash: start (Unix ns), last point (Unix seconds)
        self._processes: dict[int, tuple[int, float]] = {}  # by hash: first point (order), last point (Unix seconds)
        self._expired_at, self._count = 0.0, 0

    def first_seen(self, process: Hashable, now: float) -> int:
        """A number that is larger for a process seen first later: gauges have no start times. 0 if not checked."""
        self._expire(now)
        first, _ = self._processes.get(hash(process), (0, 0.0))
        if not first:
            if len(self._processes) >= self._max_series:
                return 0
            first = self._count = self._count + 1
        self._processes[hash(process)] = (first, now)
        return first

    def check(self, series: Hashable, start: int, now: float) -> None:
        """Raises ValueError if a process that started later reports the series as well."""
        self._expire(now)
        key = hash(series)
        newest, seen = self._newest.get(key, (0, 0.0))
        if 0 < start < newest and now - seen < SENDER_SECONDS:
            raise ValueError(ANOTHER_PROCESS)
        if start and (newest or len(self._newest) < self._max_series):
            self._newest[key] = (start, now)

    def _expire(self, now: float) -> None:
        if now - self._expired_at > SENDER_SECONDS:
            self._expired_at = now
            self._newest, self._processes = (
                {key: (at, seen) for key, (at, seen) in known.items() if now - seen < SENDER_SECONDS}
                for known in (self._newest, self._processes)
            )
