"""More slow or failed requests than chance explains: the first sign of a breach.

p95 shows nothing while fewer than 5% of requests wait for a lock, a lost packet, or a timeout, and then jumps. Their
number does. The newest grid point decides on an early warning alone: its rate window is a count with a known error, so
a median of grid points would only be later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.counts import COUNT_SECONDS, MIN_REQUESTS, count_seconds
from foreshock_dashboard.analysis.baseline.levels import baseline_columns
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint, smoothing_points
from foreshock_dashboard.analysis.forecast.breach import NEVER, Breach, likely, worst
from foreshock_dashboard.model.capacity.slow_burn import LATE_RATIO
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Red
from foreshock_dashboard.stats.late_share import late_share
from foreshock_dashboard.stats.poisson import ordinary_ratio, poisson_tail
from foreshock_dashboard.stats.robust import quantile

MIN_BAD_REQUESTS = 3
"""Slow, or failed, requests of a rate window from which they may be more than chance."""
MAX_CHANCE = 0.0001
"""Largest probability of as many by chance: a service has 1,440 windows a day."""
MIN_ALLOWED_RATIO = 0.5
"""Least share of bad requests over what the SLO allows by the newest point alone: bursts of load slow down a few."""
NEWEST_SCORE = 0.5
"""Score of a breach by the newest grid point alone: an early warning, but no page."""
MAX_SLOW_SCORE = 0.9
"""Largest score by several grid points: until more requests are slow, there is no breach."""
ANOMALOUS_TAIL_RATIO, NORMAL_TAIL_QUANTILE = 1.5, 0.98
"""p99, at two grid points, over this quantile of its history, from which the slowest requests are anomalous."""
ShareOf = Callable[[NDArray[np.intp], slice], Floats]
"""Share of bad requests of some rows at some grid points, shape (rows, points)."""


def bad_request_breaches(point: EvaluationPoint, red: Red, limit: Floats, max_failed: Floats) -> Mapping[int, Breach]:
    """The breach by each row with more slow or failed requests than chance explains.

    red: requests by row. limit, max_failed: p95 in seconds and error rate that the SLO allows, by row. The share of
    slow requests is read off between p50, p95, and p99.
    """

    def slow(rows: NDArray[np.intp], columns: slice) -> Floats:
        p50, p95, p99 = (values[rows, columns].astype(np.float64) for values in (red.p50, red.p95, red.p99))
        share = late_share(limit[rows, None], p50, p95, p99)
        # A p95 above the SLO proves 5%; what is read off between it and p50 may be several times as much.
        return np.where(p50 > limit[rows, None], share, np.minimum(share, LATE_RATIO))

    def failed(rows: NDArray[np.intp], columns: slice) -> Floats:
        return red.error_rate[rows, columns].astype(np.float64)

    # Quantiles of a few requests are read off between two of them: one slow request of ten is no 40%.
    too_slow = _beyond_chance(point, red, slow, np.full(len(limit), LATE_RATIO), MIN_REQUESTS)
    found = dict.fromkeys(chain(too_slow, _beyond_chance(point, red, failed, max_failed)), likely(NEWEST_SCORE))
    lasting = {row: worst(breach, found.get(row, NEVER)) for row, breach in _slow_tails(point, red, limit)}
    return found | lasting


def _slow_tails(point: EvaluationPoint, red: Red, limit: Floats) -> Iterator[tuple[int, Breach]]:
    """Rows with requests slower than the SLO at two of the newest two or three points, by an anomalous p99."""
    recent = point.window(point.world.step * max(2, smoothing_points(point.world)))
    newest = (np.nan_to_num(values[:, recent].astype(np.float64)) for values in (red.rate, red.p95, red.p99))
    rate, p95, p99 = (np.sort(values, axis=1)[:, -2:][:, 0] for values in newest)
    share = late_share(limit, p95 / 2, p95, p99)
    with np.errstate(invalid="ignore"):
        bad = share * rate * count_seconds(point)
        rows = np.flatnonzero((p95 <= limit) & (p99 > limit) & (bad >= MIN_BAD_REQUESTS))
    past = red.p99[rows, baseline_columns(point.world, point.column)].astype(np.float64)
    normal = quantile(past, NORMAL_TAIL_QUANTILE)
    for row in rows[p99[rows] > ANOMALOUS_TAIL_RATIO * normal].tolist():
        yield row, likely(min(MAX_SLOW_SCORE, float(share[row]) / LATE_RATIO))


def _beyond_chance(
    point: EvaluationPoint, red: Red, share_of: ShareOf, allowed: Floats, min_requests: float = 0.0
) -> Iterator[int]:
    """Rows whose newest number of bad requests is beyond chance. allowed: share that the SLO allows, by row."""
    share = share_of(np.arange(len(allowed)), slice(point.column, point.column + 1))[:, 0]
    requests = red.rate[:, point.column].astype(np.float64) * count_seconds(point)
    with np.errstate(invalid="ignore"):
        bad = np.rint(share * requests)
        is_enough = (requests >= min_requests) & (bad >= MIN_BAD_REQUESTS)
        rows = np.flatnonzero(is_enough & (share >= MIN_ALLOWED_RATIO * allowed))
    past = baseline_columns(point.world, point.column)
    counts = red.rate[rows, past].astype(np.float64) * max(COUNT_SECONDS, point.world.step)
    expected = ordinary_ratio(share_of(rows, past) * counts, counts) * requests[rows]
    for row, mean in zip(rows.tolist(), expected.tolist(), strict=True):
        if poisson_tail(int(bad[row]), mean) <= MAX_CHANCE:
            yield row
