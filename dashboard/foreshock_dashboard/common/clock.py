"""Clock that is passed to everything that needs the time: real, accelerated, or stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

Now = Callable[[], float]
"""Returns Unix seconds."""


def since_boot() -> float:
    """Seconds since the machine was started, with the time it was suspended, where the system has such a clock.

    Linux' monotonic clock pauses meanwhile, so that the wall clock would seem to have jumped.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock that shows `origin` when the wall clock shows `wall_origin`, and runs `speed` times as fast.

    All parts of a process share one, so that simulator, scrapes, spans, hub, and page agree. Times in Unix seconds.
    `steady` is a clock beside `wall` that is never set.
    """

    speed: float = 1.0
    origin: float = 0.0
    wall_origin: float = 0.0
    wall: Now = time.time
    steady: Now = since_boot

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ValueError(f"speed must be positive, not {self.speed}")

    def now(self) -> float:
        """Unix seconds on this clock."""
        return self.origin + (self.wall() - self.wall_origin) * self.speed

    def monotonic(self) -> float:
        """Seconds on this clock since some moment, which no step of the wall clock changes."""
        return self.steady() * self.speed

    def wall_seconds(self, seconds: float) -> float:
        """Wall-clock duration of an interval on this clock, both in seconds."""
        return seconds / self.speed


def clock_at(time: float | None) -> Clock:
    """A clock that is stopped at a time (Unix seconds); the wall clock for None."""
    return Clock() if time is None else Clock(origin=time, wall_origin=time, wall=lambda: time, steady=lambda: 0.0)
