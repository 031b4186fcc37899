"""A constant or sinusoidal quantity with an exact integral. Pure; times are seconds."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeVar

MAX_SWING_RATIO = 0.99
"""Largest swing relative to the mean. Below 1, so that rounding never makes an integral decrease."""
DEFAULT_PERIOD_SECONDS = 60.0

_Key = TypeVar("_Key", bound=Hashable)


class Wave(NamedTuple):
    """`mean + swing · sin(2π · time / period)`, with |swing| ≤ `MAX_SWING_RATIO` · mean. A negative swing shifts by
    half a period.
    """

    mean: float
    swing: float = 0.0
    period: float = DEFAULT_PERIOD_SECONDS

    def at(self, time: float) -> float:
        if not self.swing:
            return self.mean
        return self.mean + self.swing * math.sin(math.tau * math.fmod(time, self.period) / self.period)

    def integral(self, begin: float, end: float) -> float:
        """Integral between two times; never negative."""
        total = self.mean * (end - begin)
        if self.swing:
            angular_frequency = math.tau / self.period
            first, last = math.fmod(begin, self.period), math.fmod(end, self.period)
            total += (
                self.swing
                * (math.cos(angular_frequency * first) - math.cos(angular_frequency * last))
                / angular_frequency
            )
        return max(0.0, total)

    def scaled(self, factor: float, swing_factor: float = 1.0) -> Wave:
        """Wave times `factor`; the swing also times `swing_factor`."""
        return Wave(self.mean * factor, self.swing * factor * swing_factor, self.period)


def scaled_to_one(waves: Mapping[_Key, Wave]) -> dict[_Key, Wave]:
    """Waves scaled so that their sum never exceeds 1, as shares of one GPU's time.

    Means with a sum above 1 are scaled down to 1. If only crests exceed 1, swings are reduced; opposite swings of one
    period cancel out.
    """
    mean = sum(wave.mean for wave in waves.values())
    scale = 1.0 / mean if mean > 1.0 else 1.0
    swings: dict[float, float] = {}
    for wave in waves.values():
        swings[wave.period] = swings.get(wave.period, 0.0) + wave.swing
    crest = sum(abs(swing) for swing in swings.values())
    room = max(0.0, 1.0 - mean)
    flatten = room / crest if crest > room else 1.0
    return {key: wave.scaled(scale, flatten) for key, wave in waves.items()}
