"""Totals of series that are reported as deltas."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from foreshock_dashboard.ingest.otlp.metrics.histogram import Histogram

IDLE_SECONDS = 3600.0
"""A series without a delta for so long is forgotten, and begins at zero again, as after a restart of its process."""

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

    def add(self, series: Hashable, delta: Amount, time: int, now: float) -> Amount | None:
        """The total with a delta that ends at `time` (Unix ns); None if that was counted before: it was sent twice.

        Raises:
            ValueError: there are too many series.
        """
        last = self._pending.get(series) or self._totals.get(series)
        if last and time <= last.time:
            return None
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
