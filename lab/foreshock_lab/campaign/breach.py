"""When users notice: SLO breaches of their own requests, as the load generator measures them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from foreshock_dashboard.model.types import Bools

LATENCY_FACTOR = 2.0
"""Latency target of an operation, as a multiple of its p95 before the fault."""
MIN_LATENCY_SECONDS = 0.05
"""Least latency target, in seconds: users do not feel less."""
SLO_RATIO = 0.95
"""Share of requests that succeed within the latency target."""
MAX_ERROR_RATIO, MIN_ERRORS = 0.01, 5
"""Requests that may fail."""
WINDOW_SECONDS, STEP_SECONDS, STEPS = 60.0, 5.0, 3
"""A breach lasts for so many steps, at each of which the last window is checked."""
MIN_REQUESTS = 15
"""Requests in a window that count."""


class UserRequest(Protocol):
    """A request of a user: Unix seconds of its start, operation, duration in seconds, and whether it succeeded."""

    @property
    def time(self) -> float: ...

    @property
    def operation(self) -> str: ...

    @property
    def seconds(self) -> float: ...

    @property
    def succeeded(self) -> bool: ...


def latency_targets(requests: Iterable[UserRequest]) -> Mapping[str, float]:
    """Latency target in seconds of each operation, from its requests in healthy time."""
    seconds: dict[str, list[float]] = {}
    for request in requests:
        if request.succeeded:
            seconds.setdefault(request.operation, []).append(request.seconds)
    return {
        operation: max(MIN_LATENCY_SECONDS, LATENCY_FACTOR * float(np.quantile(values, 0.95)))
        for operation, values in seconds.items()
        if len(values) >= MIN_REQUESTS
    }


def first_breach(
    requests: Sequence[UserRequest], targets: Mapping[str, float], since: float, until: float
) -> float | None:
    """Unix seconds of the first SLO breach of any operation in (since, until]; None without one.

    A breach begins with the first of `STEPS` steps in a row at which fewer than `SLO_RATIO` of the last minute's
    requests succeed within the latency target, or too many fail (docs/internals/scenarios.md). A request counts when it
    is answered, or when the latency target is over.
    """
    found = [
        _first_breach([request for request in requests if request.operation == operation], target, since, until)
        for operation, target in targets.items()
    ]
    return min((time for time in found if time is not None), default=None)


def _first_breach(requests: Sequence[UserRequest], target: float, since: float, until: float) -> float | None:
    known = np.array([request.time + min(request.seconds, target) for request in requests])
    failed = np.array([not request.succeeded for request in requests], bool)
    good = ~failed & np.array([request.seconds <= target for request in requests], bool)
    steps = np.arange(since + STEP_SECONDS, until + STEP_SECONDS / 2, STEP_SECONDS)
    windows = ((known > step - WINDOW_SECONDS) & (known <= step) for step in steps)
    violated = [_is_violated(good[window], failed[window]) for window in windows]
    return next((float(steps[i]) for i in range(len(steps) - STEPS + 1) if all(violated[i : i + STEPS])), None)


def _is_violated(good: Bools, failed: Bools) -> bool:
    if good.size < MIN_REQUESTS:
        return False
    errors = int(failed.sum())
    return errors >= max(MIN_ERRORS, MAX_ERROR_RATIO * failed.size) or float(good.mean()) < SLO_RATIO
