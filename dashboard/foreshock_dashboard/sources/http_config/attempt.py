"""One attempt for concurrent requests to get credentials, instead of one each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from foreshock_dashboard.model.query import SourceError

Value = TypeVar("Value")

RETRY_SECONDS = 10.0
"""A failure holds that long for all requests."""


class SharedAttempt:
    """Calls a function in one thread at a time, and not again soon after a failure. Thread-safe.

    Without it, each of N requests waits for its own timeout after the timeouts of those before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._error, self._retry_at = "", 0.0

    def __call__(self, get: Callable[[], Value]) -> Value:
        """What the function returns. Raises its SourceError, or the last one again."""
        with self._lock:
            if time.monotonic() < self._retry_at:
                raise SourceError(self._error)
            try:
                return get()
            except SourceError as error:
                self._error, self._retry_at = str(error), time.monotonic() + RETRY_SECONDS
                raise
