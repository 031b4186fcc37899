"""Quantiles of bucketed durations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreshock_dashboard.model.query import Floats, Matrix
from foreshock_dashboard.model.samples import Labels


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


def stack(buckets: Matrix) -> tuple[list[Labels], Floats, Floats]:
    """Arrange a `buckets` answer as (row labels without `le`, bounds, counts of shape (rows, bounds, times)).

    Where rows have different bounds, a bound that a row lacks is NaN, which `quantiles` reads as its predecessor.
    """
    keyed: dict[Labels, dict[float, Floats]] = {}
    for labels, values in zip(buckets.labels, buckets.values, strict=True):
        bound = next((float(value) for name, value in labels if name == "le"), None)
        if bound is not None:
            keyed.setdefault(tuple(pair for pair in labels if pair[0] != "le"), {})[bound] = values
    rows = sorted(keyed)
    bounds = sorted({bound for row in keyed.values() for bound in row})
    counts = np.full((len(rows), len(bounds), len(buckets.times)), np.nan)
    for i, labels in enumerate(rows):
        for j, bound in enumerate(bounds):
            if bound in keyed[labels]:
                counts[i, j] = keyed[labels][bound]
    return rows, np.asarray(bounds, dtype=np.float64), counts
