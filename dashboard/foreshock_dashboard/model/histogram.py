"""Histograms with fixed bounds, as Prometheus' classic ones."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.0, 60.0, 120.0, 300.0)
"""Seconds: Tempo's (0.1 × 2^k), finer below them, and up to five minutes, for a model's answer may take that."""

LE = (*(repr(bound) for bound in BOUNDS), "+Inf")
"""The values of the label `le`, written as Prometheus 3 normalises them."""


class Histogram:
    """How many durations fell into each bucket, and their sum in seconds."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * len(LE)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration; a bucket's upper bound belongs to it."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[int]:
        """Counts at most each bound of `LE`, as `_bucket` series have them; the last is the count of all."""
        return list(accumulate(self.counts))
