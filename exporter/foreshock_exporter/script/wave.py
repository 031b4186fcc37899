"""A quantity that is constant or swings around a mean, whose integral is known exactly. Pure; time is in seconds."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeVar

MAX_SWING_RATIO = 0.99
"""Of the mean: what is summed up must grow by more than rounding takes away, or a counter would go back."""
DEFAULT_PERIOD_SECONDS = 60.0

_Key = TypeVar("_Key", bound=Hashable)


class Wave(NamedTuple):
    """`mean + swing · sin(2π · time / period)`. A negative swing is half a period later. |swing| ≤ MAX_SWING · mean."""

    mean: float
    swing: float = 0.0
    period: float = DEFAULT_PERIOD_SECONDS

    def at(self, time: float) -> float:
        """The value at a time."""
        if not self.swing:
            return self.mean
        return self.mean + self.swing * math.sin(math.tau * math.fmod(time, self.period) / self.period)

    def between(self, begin: float, end: float) -> float:
        """The integral from one time to a later one; never negative."""
        total = self.mean * (end - begin)
        if self.swing:
            turn = math.tau / self.period
            first, last = math.fmod(begin, self.period), math.fmod(end, self.period)
            total += self.swing * (math.cos(turn * first) - math.cos(turn * last)) / turn
        return max(0.0, total)

    def scaled(self, by: float, swing_by: float = 1.0) -> Wave:
        """The wave times `by`; its swing times `swing_by` as well."""
        return Wave(self.mean * by, self.swing * by * swing_by, self.period)


def scaled_to_one(waves: Mapping[_Key, Wave]) -> dict[_Key, Wave]:
    """The waves so that their sum never exceeds 1, as the shares of one GPU's time.

    Means that sum to more than 1 are scaled down to 1. Where only crests go beyond, the swings are flattened; waves of
    one period that swing against each other cancel out.
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
