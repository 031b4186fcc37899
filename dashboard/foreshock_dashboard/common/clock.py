"""Time as a value that is handed in: the wall clock, or one that runs N times as fast from a given origin."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

Now = Callable[[], float]
"""Gives Unix seconds."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock that shows `origin` when the wall clock shows `wall_origin` and runs `speed` times as fast.

    One of these is shared by everything in a process, so that simulator, scrapes, spans, hub and page agree.
    """

    speed: float = 1.0
    origin: float = 0.0
    wall_origin: float = 0.0
    wall: Now = time.time

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ValueError(f"speed must be positive, not {self.speed}")

    @classmethod
    def starting_now(cls, speed: float, wall: Now = time.time) -> Clock:
        """A clock that agrees with the wall clock at this moment."""
        now = wall()
        return cls(speed, now, now, wall)

    def now(self) -> float:
        """Unix seconds on this clock."""
        return self.origin + (self.wall() - self.wall_origin) * self.speed

    def wall_seconds(self, seconds: float) -> float:
        """How long a stretch of this clock's time lasts on the wall."""
        return seconds / self.speed


def clock_at(at: float | None) -> Clock:
    """The wall clock, or one that stands still at a time (Unix seconds)."""
    return Clock() if at is None else Clock(origin=at, wall_origin=at, wall=lambda: at)
