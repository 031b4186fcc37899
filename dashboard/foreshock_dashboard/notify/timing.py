"""Clocks and chance of notifications, time between attempts, and how many messages a channel gets. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS = 5.0, 300.0
"""Delay after the first failure, doubled with each one, and its limit."""
BURST_MESSAGES, REFILL_SECONDS = 10, 6.0
"""Messages that a channel gets at once, and the time until another one: services limit senders, and so do readers."""


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


def retry_delay(failures: int, random: Callable[[], float]) -> float:
    """The delay before the next attempt after so many failures in a row, at least one.

    Exponential backoff with equal jitter, so that two hubs, or two channels of one service, do not retry in step
    (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). random: a number in [0, 1).
    """
    delay = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 10))
    return delay * (0.5 + 0.5 * random())


class MessageLimit:
    """A token bucket. For one thread. monotonic: clock in seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._full_at = monotonic()

    def wait(self) -> float:
        """Seconds until a message is admitted; 0 if one is admitted now, and counted."""
        now = self._monotonic()
        full_at = max(self._full_at, now)
        if (early := full_at - now - (BURST_MESSAGES - 1) * REFILL_SECONDS) > 0:
            return early
        self._full_at = full_at + REFILL_SECONDS
        return 0.0
