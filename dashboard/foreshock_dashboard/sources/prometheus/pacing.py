"""Pace of requests to one server: how many at once, how many queries in each, and when none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock

from foreshock_dashboard.model.query import SourceError

MAX_UNION_QUERIES = 8
"""Queries that are sent as one."""
FIRST_SUCCESSES, MAX_SUCCESSES = 50, 10_000
"""Requests in a row that succeed before unions grow again: after the first refusal, and after many."""
MAX_RETRY_AFTER_SECONDS, MIN_PAUSE_SECONDS = 300.0, 1.0
"""Longest time without requests after a Retry-After, and shortest after a 429."""


class UnionSize:
    """How many queries are sent as one: half as many after a refusal, twice as many after enough successes.

    Each refusal doubles the successes that it takes, so that a server with a low limit seldom gets what it refuses, and
    one that was down for a minute soon gets few requests again. Thread-safe.
    """

    def __init__(self) -> None:
        self.size = MAX_UNION_QUERIES
        self._needed, self._successes, self._lock = FIRST_SUCCESSES, 0, Lock()

    def answered(self, size: int) -> None:
        """A request with unions of this size succeeded."""
        with self._lock:
            if size != self.size or size == MAX_UNION_QUERIES:
                return
            self._successes += 1
            if self._successes >= self._needed:
                self.size, self._successes = min(MAX_UNION_QUERIES, 2 * size), 0

    def refused(self, size: int) -> None:
        """A request with unions of this size was refused; requests beside it may have been, too."""
        with self._lock:
            self._successes = 0
            if (smaller := max(1, size // 2)) < self.size:
                self.size, self._needed = smaller, min(MAX_SUCCESSES, 2 * self._needed)


class RequestGate:
    """Lets `concurrency` requests pass at once, and none while the server wants to be left alone. Thread-safe."""

    def __init__(self, concurrency: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._slots, self._monotonic = BoundedSemaphore(concurrency), monotonic
        self._closed_until, self._reason = 0.0, ""

    @contextmanager
    def slot(self) -> Iterator[None]:
        """One of the requests; waits for another one to end.

        Raises:
            SourceError: the server wants to be left alone; the same text as its answer.
        """
        with self._slots:
            if (wait := self._closed_until - self._monotonic()) > 0:
                error = SourceError(self._reason)
                error.is_transient, error.retry_after = True, wait
                raise error
            yield

    def close_for(self, seconds: float, reason: str) -> None:
        """Let no request pass for so many seconds. reason: text of the error."""
        until = self._monotonic() + seconds
        if until > self._closed_until:
            self._closed_until, self._reason = until, reason
