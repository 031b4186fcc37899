"""When users send requests: recorded gaps, on a clock that runs with the rate."""

from __future__ import annotations

from collections.abc import Iterator
from math import pi, sin

from foreshock_simulator.traffic.traces import Arrival, load

DAY_SECONDS = 1200.0
"""Length of a compressed day."""
DAY_SWING = 0.25
"""Amplitude of the day relative to its mean."""


def day_factor(seconds: float) -> float:
    """Rate at a time since the start, relative to the day's mean."""
    return 1.0 + DAY_SWING * sin(2 * pi * seconds / DAY_SECONDS)


class Arrivals:
    """Requests of the Azure conversation trace (2023), from a place that the seed chooses.

    Their gaps are scaled to a mean of one at rate 1, so bursts stay as they were recorded. A change of the rate takes
    effect at once (time rescaling: arrivals at rate r are those of rate 1 on a clock that runs r times as fast).
    """

    def __init__(self, seed: int) -> None:
        trace = load("azure-conversation")
        self._recorded = trace.arrivals
        self._rate = trace.rate
        self._index = (seed * 7919) % len(trace.arrivals)
        self._clock = 0.0
        self._gap = self._next_gap()

    def until(self, expected: float) -> Iterator[Arrival]:
        """The requests of the next step, of which `expected` would come at a steady rate."""
        self._clock += expected
        while self._clock >= self._gap:
            self._clock -= self._gap
            yield self._recorded[self._index]
            self._index = (self._index + 1) % len(self._recorded)
            self._gap = self._next_gap()

    def _next_gap(self) -> float:
        here, before = self._recorded[self._index], self._recorded[self._index - 1]
        return max(0.0, here.time - before.time) * self._rate
