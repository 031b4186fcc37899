"""Histograms with fixed bounds, as Prometheus' classic ones, with an example of each bucket."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import NamedTuple

from foreshock_dashboard.model.span import Id

BOUNDS = (
    *(0.005, 0.007, 0.01, 0.015, 0.025, 0.035, 0.05, 0.07),
    *(0.1, 0.14, 0.2, 0.28, 0.4, 0.57, 0.8, 1.13, 1.6, 2.26, 3.2, 4.5, 6.4, 9.0, 12.8),
    *(18.0, 25.0, 36.0, 60.0, 85.0, 120.0, 300.0),
)
"""Seconds: Tempo's (0.1 × 2^k), one between each two of them, finer below, and up to five minutes, for a model's answer
may take that. A quantile is known to one bucket, about √2: coarser, and a service could slow down by half unseen."""

LE = (*(repr(bound) for bound in BOUNDS), "+Inf")
"""The values of the label `le`, written as Prometheus 3 normalises them."""


EXAMPLE_SECONDS = 1.0
"""How long a bucket keeps an example: a new one for each span would cost more than counting it."""


class Exemplar(NamedTuple):
    """A span that fell into a bucket: its ids, its seconds, and when it was counted (Unix seconds)."""

    trace_id: str
    span_id: str
    seconds: float
    time: float


class Histogram:
    """How many durations fell into each bucket, their sum in seconds, and when the last one was seen."""

    __slots__ = ("_examples", "counts", "sum", "touched")

    def __init__(self) -> None:
        self.counts = [0] * len(LE)
        self.sum = self.touched = 0.0
        self._examples: list[tuple[Id, float, float] | None] = [None] * len(LE)

    def observe(self, seconds: float, span: Id | None = None, now: float = 0.0) -> None:
        """Count the duration of a span, seen `now`; a bucket's upper bound belongs to it."""
        place = bisect_left(BOUNDS, seconds)
        self.counts[place] += 1
        self.sum += seconds
        self.touched = now
        if span is not None:
            example = self._examples[place]
            if example is None or not 0 <= now - example[2] < EXAMPLE_SECONDS:
                self._examples[place] = span, seconds, now

    def cumulative(self) -> list[int]:
        """Counts at most each bound of `LE`, as `_bucket` series have them; the last is the count of all."""
        return list(accumulate(self.counts))

    def exemplars(self) -> list[Exemplar | None]:
        """The newest span of each bucket of `LE`, to a second."""
        return [_exemplar(*each) if each else None for each in self._examples]


def _exemplar(span: Id, seconds: float, time: float) -> Exemplar:
    return Exemplar(span[:16].hex(), span[16:].hex(), seconds, time)
