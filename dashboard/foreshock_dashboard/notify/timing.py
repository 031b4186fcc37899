"""Clocks and chance of notifications."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Timing(NamedTuple):
    """Clocks and chance. now: Unix seconds of the hub. random: a number in [0, 1).

    wall: Unix seconds of Alertmanager; another time for a simulated platform, whose hub runs `speed` times as fast.
    """

    now: Callable[[], float]
    monotonic: Callable[[], float]
    random: Callable[[], float]
    wall: Callable[[], float]
    speed: float = 1.0

    def to_wall(self, time: float) -> float:
        """A time of the hub as one of Alertmanager."""
        return self.wall() + (time - self.now()) / self.speed

    def to_hub(self, time: float) -> float:
        """A time of Alertmanager as one of the hub."""
        return self.now() + (time - self.wall()) * self.speed
