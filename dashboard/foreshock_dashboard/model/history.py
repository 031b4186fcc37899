"""Matrices that grow at the end and shrink at the start, as time goes by."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.model.query import Matrix


def extend(old: Matrix, new: Matrix, since: float) -> Matrix:
    """Join two answers to the same query: the columns of `old` before `new` begins, then those of `new`.

    Columns before `since` (Unix seconds) are dropped; a series that only one of them has is NaN in the other's columns.
    """
    kept = (old.times < new.times[0]) & (old.times >= since)
    fresh = new.times >= since
    times = np.concatenate([old.times[kept], new.times[fresh]])
    left = int(kept.sum())
    rows = {}
    for labels, row in zip(old.labels, old.values, strict=True):
        rows[labels] = np.full(len(times), np.nan)
        rows[labels][:left] = row[kept]
    for labels, row in zip(new.labels, new.values, strict=True):
        if labels not in rows:
            rows[labels] = np.full(len(times), np.nan)
        rows[labels][left:] = row[fresh]
    return Matrix.of(times, rows)
