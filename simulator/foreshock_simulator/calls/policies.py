"""What a caller remembers of a callee to decide whether to ask (again): a retry budget and a circuit breaker."""

from __future__ import annotations

from collections import deque
from typing import Literal

BUDGET_SECONDS = 10.0
"""The window of a retry budget (Finagle and Linkerd use the same)."""
BREAKER_WINDOW = 20
"""Attempts that a breaker looks at."""

Admission = Literal["yes", "trial", "no"]
State = Literal["closed", "open", "half-open"]


class RetryBudget:
    """At most `ratio` retries per first attempt within the last ten seconds."""

    __slots__ = ("_firsts", "_ratio", "_retries")

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._firsts: deque[float] = deque()
        self._retries: deque[float] = deque()

    def first(self, now: float) -> None:
        """A first attempt is made."""
        self._firsts.append(now)
        if len(self._firsts) > 1024:
            _forget(self._firsts, now)

    def retry(self, now: float) -> bool:
        """Whether a retry may be made; it counts if so."""
        _forget(self._firsts, now)
        _forget(self._retries, now)
        if len(self._retries) + 1 > self._ratio * len(self._firsts):
            return False
        self._retries.append(now)
        return True


def _forget(times: deque[float], now: float) -> None:
    while times and times[0] <= now - BUDGET_SECONDS:
        times.popleft()


class Breaker:
    """Closed while fewer than `limit` of the last twenty attempts failed; then open for `seconds`; then one tries.

    The breaker closes where that one succeeds, and opens again where it fails (Nygard, Release It!, "Circuit Breaker").
    """

    __slots__ = ("_failures", "_limit", "_opened", "_outcomes", "_seconds", "_trying")

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit, self._seconds = limit, seconds
        self._outcomes: deque[bool] = deque()
        self._failures = 0
        self._opened: float | None = None
        self._trying = False

    def state(self, now: float) -> State:
        """What it does with attempts."""
        if self._opened is None:
            return "closed"
        return "open" if now < self._opened + self._seconds else "half-open"

    def admit(self, now: float) -> Admission:
        """Whether an attempt may be made; where it may, `told` is to hear how it ended."""
        if self._opened is None:
            return "yes"
        if now < self._opened + self._seconds or self._trying:
            return "no"
        self._trying = True
        return "trial"

    def told(self, now: float, admission: Admission, failed: bool | None) -> None:
        """An attempt is over; `failed` is None where it was given up for reasons that are not the callee's.

        Attempts from before the breaker opened tell nothing any more.
        """
        if admission == "trial":
            self._trying = False
            if failed:
                self._open(now)
            elif failed is not None:
                self._opened = None
        elif self._opened is None and failed is not None:
            self._outcomes.append(failed)
            self._failures += failed
            if len(self._outcomes) > BREAKER_WINDOW:
                self._failures -= self._outcomes.popleft()
            if self._failures >= self._limit:
                self._open(now)

    def _open(self, now: float) -> None:
        self._opened = now
        self._outcomes.clear()
        self._failures = 0
