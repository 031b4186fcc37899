"""Quantiles of bucketed durations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreshock_dashboard.model.query import Floats


def quantiles(bounds: Floats, counts: Floats, shares: Sequence[float]) -> list[Floats]:
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
            rank = share * total
            index = np.minimum((cumulative < rank[:, None, :]).sum(axis=1), len(bounds) - 1)
            at = index[:, None, :]
            start = np.take_along_axis(below, at, axis=1)[:, 0, :]
            inside = np.take_along_axis(cumulative, at, axis=1)[:, 0, :] - start
            width = bounds[index] - lower[index]
            value = lower[index] + width * (rank - start) / inside
            value = np.where(index == len(bounds) - 1, bounds[-2], value)
            answers.append(np.where(total > 0, value, np.nan))
    return answers
