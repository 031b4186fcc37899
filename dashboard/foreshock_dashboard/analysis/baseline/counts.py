"""Counts behind rates, and whether they are enough for a conclusion.

Arrivals of independent requests are a Poisson process, so the standard error of n requests is √n. A quantile of a
handful of requests is that of one or two of them, and two requests instead of one are not growth.
"""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Bools, Floats

MIN_REQUESTS = 30.0
"""Requests from which p95 is more than one or two slow ones, and a finding more than chance."""
COUNT_SECONDS = 60.0
"""Seconds over which requests are counted, at least one grid step."""
MAX_COUNT_SECONDS = 600.0
"""The same over a lasting excursion: a service of three requests a minute shows a fault within ten."""
MIN_STANDARD_ERRORS = 2.0
"""Standard errors of a count that growth has to exceed."""
MIN_FAILURE_STANDARD_ERRORS = 3.0
"""Standard errors by which failures have to exceed those of the baseline to count whatever the number of requests is:
four in `COUNT_SECONDS` where none are normal."""


def count_seconds(point: EvaluationPoint) -> float:
    """Seconds of the newest count: a minute, or a grid step where that is longer; less after a gap in the samples.

    The rate of a window that a gap cut short is that of its few seconds with samples.
    """
    return point.memo(_observed_seconds)


def count_seconds_at(point: EvaluationPoint, window: slice) -> Floats:
    """Seconds of the count at each grid point of a window, shape (points,)."""
    columns = range(*window.indices(len(point.world.times)))
    return np.array([_points_since_gap(point, column) for column in columns], np.float64) * point.world.step


def is_window_full(point: EvaluationPoint) -> bool:
    """Whether the newest rates are of a whole window: after a gap in the samples they are of a few seconds.

    Also true once they were not for `COUNT_SECONDS` without a break: gaps that recur must not hide an incident.
    """
    points = point.world.points(COUNT_SECONDS)
    if _points_since_gap(point, point.column) >= points:
        return True
    return all(_points_since_gap(point, point.column - age) < points for age in range(1, points + 1))


def _observed_seconds(point: EvaluationPoint) -> float:
    return float(_points_since_gap(point, point.column) * point.world.step)


def _points_since_gap(point: EvaluationPoint, column: int) -> int:
    """Grid points up to `column` since rates came back after a gap, at most those of `COUNT_SECONDS`.

    Rates that do not come back are no gap: services that are down report none. Those of
    clients count where no service reports any.
    """
    points = point.world.points(COUNT_SECONDS)
    window = slice(max(0, column + 1 - points), max(0, column + 1))
    served, called = (np.isfinite(red.rate[:, window]).any(axis=0) for red in (point.world.red, point.world.calls))
    known = np.asarray(served if served.any() else called, np.bool_)
    returned = np.flatnonzero(known[1:] & ~known[:-1])
    return len(known) - (int(returned[-1]) + 1 if len(returned) else 0)


def request_count(point: EvaluationPoint, service: Service, since: float = math.inf) -> float:
    """Requests to a service in the last minute, or since `since` (Unix seconds); NaN where neither side counts them.

    The larger of those served and those that its clients count, because a service that is down serves none.
    """
    called = [point.value("edge_rate", edge) for edge in point.calls_to(service)]
    known = [rate for rate in (point.value("rate", service), float(np.nansum(called))) if math.isfinite(rate)]
    if not called and math.isnan(point.value("rate", service)):
        return math.nan
    seconds = count_seconds(point)
    return max(known) * max(seconds, min(MAX_COUNT_SECONDS, point.time - since))


def is_handful(point: EvaluationPoint, service: Service, since: float = math.inf) -> bool:
    """Whether a service has too few requests for a conclusion; False where its requests are not counted.

    Failures conclude by themselves: a p95 of fifteen requests is that of one, but five that fail are no chance.
    """
    if not request_count(point, service, since) < MIN_REQUESTS:
        return False
    row = point["rate"].keys.get(service)
    return row is None or not point.memo(_services_that_fail)[row]


def _services_that_fail(point: EvaluationPoint) -> Bools:
    return failures_conclude(point, "")


def failures_conclude(point: EvaluationPoint, prefix: str) -> Bools:
    """Rows of services, or with the prefix `operation_` of operations, whose failures are more than chance."""
    requests = point[f"{prefix}rate"].value * count_seconds(point)
    failed = point[f"{prefix}error_rate"]
    with np.errstate(invalid="ignore"):
        roots = np.sqrt(requests * failed.value + 0.375) - np.sqrt(requests * failed.level + 0.375)
    conclusive: Bools = 2 * roots >= MIN_FAILURE_STANDARD_ERRORS
    return conclusive


def growth_standard_errors(before: float, now: float, seconds: float) -> float:
    """Growth of a rate, counted over `seconds`, in standard errors.

    The square root of a count has a standard error of one half, whatever the count is (Anscombe, Biometrika 1948).
    """
    return 2 * (math.sqrt(now * seconds + 0.375) - math.sqrt(before * seconds + 0.375))
