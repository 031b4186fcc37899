"""Joining matrices, in time and side by side."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.stats.robust import nan_sum


def extend(old: Matrix, new: Matrix, since: float) -> Matrix:
    """Join two answers to the same query: the columns of `old` before `new` begins, then those of `new`.

    Columns before `since` (Unix seconds) are dropped; a series that only one of them has is NaN in the other's columns.
    """
    kept = (old.times < new.times[0]) & (old.times >= since)
    fresh = new.times >= since
    times = np.concatenate([old.times[kept], new.times[fresh]])
    left = int(kept.sum())
    labels = old.labels if old.labels == new.labels else tuple(sorted({*old.labels, *new.labels}))
    row = {series: i for i, series in enumerate(labels)}
    values = np.full((len(labels), len(times)), np.nan)
    values[[row[series] for series in old.labels], :left] = old.values[:, kept]
    values[[row[series] for series in new.labels], left:] = new.values[:, fresh]
    alive = ~np.isnan(values).all(axis=1)
    return Matrix(
        times, tuple(series for series, is_alive in zip(labels, alive, strict=True) if is_alive), values[alive]
    )


def merged(one: Matrix, other: Matrix) -> Matrix:
    """Series of two answers on one grid; samples of a series in both are added."""
    if not len(one) or not len(other):
        return one if len(one) else other
    rows = dict(zip(one.labels, one.values, strict=True))
    for labels, values in zip(other.labels, other.values, strict=True):
        rows[labels] = nan_sum(rows[labels], values) if labels in rows else values
    return Matrix.of(one.times, rows)
