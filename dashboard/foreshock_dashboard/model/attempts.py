"""How often a call was tried: what is known of one edge under one span."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter

from foreshock_dashboard.model.halves import Client


class Tally:
    """What has been counted for one span of the caller on one edge."""

    __slots__ = ("failed", "failed_names", "names", "previous", "requests", "retries", "timed")

    def __init__(self) -> None:
        self.requests = self.failed = self.retries = self.previous = 0
        self.names: Counter[str] = Counter()
        self.failed_names: Counter[str] = Counter()
        self.timed = False


class Siblings:
    """Calls under one span on one edge with one name and URL: those that follow a failed one are retries."""

    __slots__ = ("counted", "failed_ends", "last_start", "resent")

    def __init__(self) -> None:
        self.failed_ends: list[int] = []
        self.last_start = 0
        self.resent = 0
        self.counted = 0

    def add(self, client: Client) -> int:
        """How many retries are known beyond those already counted."""
        self.last_start = max(self.last_start, client.start_ns)
        self.resent += client.resent
        if client.failed:
            insort(self.failed_ends, client.end_ns)
        followed = bisect_right(self.failed_ends, self.last_start)
        return self._beyond(max(followed, self.resent))

    def _beyond(self, retries: int) -> int:
        more = retries - self.counted
        self.counted = retries
        return more
