"""Retry budget and circuit breaker of a caller."""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

BUDGET_WINDOW_SECONDS: Final = 10.0
"""The same as in Finagle and Linkerd."""
BREAKER_WINDOW_ATTEMPTS: Final = 20

Admission = Literal["yes", "trial", "no"]
State = Literal["closed", "open", "half-open"]


class RetryBudget:
    """Allows up to `ratio` retries per first attempt within `BUDGET_WINDOW_SECONDS`."""

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._first_attempts: deque[float] = deque()
        self._retries: deque[float] = deque()

    def count_first_attempt(self, now: float) -> None:
        """Count a first attempt."""
        self._first_attempts.append(now)
        if len(self._first_attempts) > 1024:
            _expire(self._first_attempts, now)

    def take_retry(self, now: float) -> bool:
        """Whether a retry is allowed; an allowed retry is counted."""
        _expire(self._first_attempts, now)
        _expire(self._retries, now)
        if len(self._retries) + 1 > self._ratio * len(self._first_attempts):
            return False
        self._retries.append(now)
        return True


def _expire(times: deque[float], now: float) -> None:
    while times and times[0] <= now - BUDGET_WINDOW_SECONDS:
        times.popleft()


class CircuitBreaker:
    """Opens for `seconds` when `limit` of the last `BREAKER_WINDOW_ATTEMPTS` attempts failed, then allows one trial.

    It closes when the trial succeeds and opens again when it fails (Nygard, Release It!, "Circuit Breaker").
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit, self._seconds = limit, seconds
        self._outcomes: deque[bool] = deque()
        self._failures = 0
        self._opened: float | None = None
        self._trial_running = False

    def state(self, now: float) -> State:
        """The state at a time."""
        if self._opened is None:
            return "closed"
        return "open" if now < self._opened + self._seconds else "half-open"

    def admit(self, now: float) -> Admission:
        """Whether an attempt is allowed. The result of an allowed attempt goes to `record`."""
        state = self.state(now)
        if state == "closed":
            return "yes"
        if state == "open" or self._trial_running:
            return "no"
        self._trial_running = True
        return "trial"

    def record(self, now: float, admission: Admission, failed: bool | None) -> None:
        """Record the result of an attempt; `failed` is None when the caller cancelled it.

        Results of attempts from before the breaker opened are ignored.
        """
        if admission == "trial":
            self._trial_running = False
            if failed:
                self._open(now)
            elif failed is not None:
                self._opened = None
        elif self._opened is None and failed is not None:
            self._outcomes.append(failed)
            self._failures += failed
            if len(self._outcomes) > BREAKER_WINDOW_ATTEMPTS:
                self._failures -= self._outcomes.popleft()
            if self._failures >= self._limit:
                self._open(now)

    def _open(self, now: float) -> None:
        self._opened = now
        self._outcomes.clear()
        self._failures = 0
