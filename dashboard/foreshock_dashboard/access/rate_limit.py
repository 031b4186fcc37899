"""Rate limit per key."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

from cachetools import LRUCache

REQUESTS_PER_MINUTE = 3000
"""An open page sends about 30."""
MAX_KEYS = 10_000
BURST_SECONDS = 20.0
"""Requests of this time may come at once, or `MIN_BURST_REQUESTS` if that is more."""
MIN_BURST_REQUESTS = 150
"""A page loads some 80 files."""


class RateLimit:
    """The generic cell rate algorithm (ITU-T I.371, virtual scheduling). For one thread."""

    def __init__(self, per_minute: int, timer: Callable[[], float] = time.monotonic) -> None:
        self._interval = 60.0 / per_minute
        self._burst = max(BURST_SECONDS, (MIN_BURST_REQUESTS - 1) * self._interval)
        self._timer = timer
        self._arrivals: LRUCache[Hashable, float] = LRUCache(MAX_KEYS)

    def wait(self, key: Hashable) -> float:
        """Seconds until the next request with this key is admitted; 0 if this one is, which then counts."""
        now = self._timer()
        arrival = max(self._arrivals.get(key, now), now)
        if (seconds := arrival - now - self._burst) > 0:
            return seconds
        self._arrivals[key] = arrival + self._interval
        return 0.0
