"""Quantiles of bucketed durations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from foreshock_dashboard.model.types import Floats

Share = float | Callable[[Floats], Floats]
"""Of observations, 0…1, or what gives one for numbers of observations (rows, times)."""
CHANCE = 3.0
"""Standard deviations within which a count may differ from what is expected of it by chance: one in a thousand is
more."""


def least(share: float) -> Callable[[Floats], Floats]:
    """A quantile that the true quantile of `share` is hardly below, by how many observations there are.

    Of n observations, n (1 − share) are expected beyond the true quantile. So many more that chance hardly gives them
    are beyond the one that is returned: the normal quantile of a binomial count, with the first term for its skew
    (Cornish and Fisher, 1938).
    """
    skew = (CHANCE**2 - 1) / 6

    def of(total: Floats) -> Floats:
        beyond = (1 - share) * total
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = 1 - (beyond + CHANCE * np.sqrt(beyond * share) + skew) / total
        return np.maximum(found, 0.01)

    return of


def quantiles(bounds: Floats, counts: Floats, shares: Sequence[Share]) -> list[Floats]:
    """Estimate quantiles by linear interpolation inside the bucket, as Prometheus' histogram_quantile does.

    bounds: upper bounds, seconds, ascending, the last one +Inf; shape (buckets,).
    counts: cumulative observations per bucket; shape (rows, buckets, times). NaN counts as no observation, and a bucket
        below its predecessor (scrapes torn between buckets) as equal to it.
    Returns an array (rows, times) per share of `shares`; NaN without observations; the highest finite bound where the
    quantile lies above it. Source: prometheus/promql/quantile.go, bucketQuantile.
    """
    rows, _, points = counts.shape
    if len(bounds) < 2:
        return [np.full((rows, points), np.nan) for _ in shares]
    cumulative = np.maximum.accumulate(np.nan_to_num(counts), axis=1)
    total = cumulative[:, -1, :]
    below = np.concatenate([np.zeros((rows, 1, points)), cumulative[:, :-1, :]], axis=1)
    lower = np.concatenate([[min(0.0, bounds[0])], bounds[:-1]])
    answers = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for share in shares:
            rank = (share(total) if callable(share) else share) * total
            index = np.minimum((cumulative < rank[:, None, :]).sum(axis=1), len(bounds) - 1)
            at = index[:, None, :]
            start = np.take_along_axis(below, at, axis=1)[:, 0, :]
            inside = np.take_along_axis(cumulative, at, axis=1)[:, 0, :] - start
            width = bounds[index] - lower[index]
            value = lower[index] + width * (rank - start) / inside
            value = np.where(index == len(bounds) - 1, bounds[-2], value)
            answers.append(np.where(total > 0, value, np.nan))
    return answers
