"""Quantiles of bucketed durations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from foreshock_dashboard.model.types import Floats

Share = float | Callable[[Floats], Floats]
"""Quantile level, 0 to 1, or a function from observation counts (rows, times) to levels of the same shape."""
CHANCE_STANDARD_DEVIATIONS = 3.0
"""Deviation of a count that chance explains; one count in a thousand deviates further."""


def quantile_lower_bound(share: float) -> Callable[[Floats], Floats]:
    """Level of the sample quantile that is a lower confidence bound of the true quantile at `share`.

    The returned function takes observation counts. Of n observations, n (1 − share) are expected beyond the true
    quantile. The level leaves as many more beyond it as chance allows: the normal quantile of a binomial count, with
    the first skewness term (Cornish and Fisher, 1938).
    """
    skew = (CHANCE_STANDARD_DEVIATIONS**2 - 1) / 6

    def level(total: Floats) -> Floats:
        beyond = (1 - share) * total
        with np.errstate(invalid="ignore", divide="ignore"):
            bound: Floats = 1 - (beyond + CHANCE_STANDARD_DEVIATIONS * np.sqrt(beyond * share) + skew) / total
        return np.maximum(bound, 0.01)

    return level


def histogram_quantiles(bounds: Floats, counts: Floats, shares: Sequence[Share]) -> list[Floats]:
    """Estimate quantiles by linear interpolation inside a bucket, as Prometheus' histogram_quantile does.

    Source: prometheus/promql/quantile.go, bucketQuantile.

    Args:
        bounds: upper bounds in seconds, ascending, the last one +Inf; shape (buckets,).
        counts: cumulative observations per bucket; shape (rows, buckets, times). NaN counts as no observation. A
            bucket below its predecessor (a scrape torn between buckets) counts as equal to it.
        shares: quantile levels.

    Returns:
        One array (rows, times) per level: NaN without observations, the highest finite bound where the quantile lies
        above it.
    """
    rows, _, points = counts.shape
    if len(bounds) < 2:
        return [np.full((rows, points), np.nan) for _ in shares]
    cumulative = np.maximum.accumulate(np.nan_to_num(counts), axis=1)
    total = cumulative[:, -1, :]
    below = np.concatenate([np.zeros((rows, 1, points)), cumulative[:, :-1, :]], axis=1)
    lower = np.concatenate([[min(0.0, bounds[0])], bounds[:-1]])
    estimates = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for share in shares:
            rank = (share(total) if callable(share) else share) * total
            index = np.minimum((cumulative < rank[:, None, :]).sum(axis=1), len(bounds) - 1)
            bucket = index[:, None, :]
            start = np.take_along_axis(below, bucket, axis=1)[:, 0, :]
            inside = np.take_along_axis(cumulative, bucket, axis=1)[:, 0, :] - start
            width = bounds[index] - lower[index]
            value = lower[index] + width * (rank - start) / inside
            value = np.where(index == len(bounds) - 1, bounds[-2], value)
            estimates.append(np.where(total > 0, value, np.nan))
    return estimates
