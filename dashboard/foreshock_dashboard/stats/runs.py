"""Runs of consecutive points in boolean arrays over time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.robust import median

BoolArray = NDArray[np.bool_]


def moving_median(values: Floats, points: int) -> Floats:
    """Median of the last `points` columns at each column; same shape as `values` (rows, times)."""
    rows, columns = values.shape
    padded = np.pad(values, ((0, 0), (points - 1, 0)), constant_values=np.nan)
    stacked = np.stack([padded[:, i : i + columns] for i in range(points)], axis=-1)
    return median(stacked.reshape(-1, points)).reshape(rows, columns)


def long_runs(flags: BoolArray, min_points: int, max_gap: int) -> BoolArray:
    """Runs of at least `min_points` true points along each row (rows, times); gaps up to `max_gap` are filled."""
    runs = _drop_short_runs(flags, min_points)
    gaps = ~runs
    long_gaps = _drop_short_runs(gaps, max_gap + 1)
    before = np.maximum.accumulate(runs, axis=1)
    after = np.maximum.accumulate(runs[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(runs | (gaps & ~long_gaps & before & after))


def _drop_short_runs(flags: BoolArray, min_points: int) -> BoolArray:
    """The runs of at least `min_points` points."""
    rows, columns = flags.shape
    if min_points <= 1:
        return flags.copy()
    if columns < min_points:
        return np.zeros_like(flags)
    sums = np.cumsum(np.pad(flags.astype(np.int32), ((0, 0), (1, 0))), axis=1)
    ends = np.zeros((rows, columns), np.bool_)
    ends[:, min_points - 1 :] = sums[:, min_points:] - sums[:, :-min_points] == min_points
    runs = np.zeros_like(ends)
    for back in range(min_points):
        runs[:, : columns - back] |= ends[:, back:]
    return runs
