"""Runs of consecutive points in boolean arrays over time."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from foreshock_dashboard.model.types import Bools, Floats
from foreshock_dashboard.stats.robust import median


def moving_median(values: Floats, points: int) -> Floats:
    """Median of the last `points` columns at each column; same shape as `values` (rows, times)."""
    padded = np.pad(values, ((0, 0), (points, 0)), constant_values=np.nan)
    windows = sliding_window_view(padded, points, axis=1)[:, 1:]
    return median(windows.reshape(-1, points)).reshape(values.shape)


def held_over_gaps(values: Floats, max_gap: int) -> Floats:
    """Values over time with the last one before each gap of at most `max_gap` points held over it."""
    held, known = values.copy(), np.flatnonzero(np.isfinite(values))
    for before, after in zip(known[:-1].tolist(), known[1:].tolist(), strict=True):
        if 1 < after - before <= max_gap + 1:
            held[before + 1 : after] = values[before]
    return held


def long_runs(flags: Bools, min_points: int, max_gap: int) -> Bools:
    """Runs of at least `min_points` true points along each row (rows, times); gaps up to `max_gap` are filled."""
    runs = _drop_short_runs(flags, min_points)
    gaps = ~runs
    long_gaps = _drop_short_runs(gaps, max_gap + 1)
    before = np.maximum.accumulate(runs, axis=1)
    after = np.maximum.accumulate(runs[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(runs | (gaps & ~long_gaps & before & after))


def _drop_short_runs(flags: Bools, min_points: int) -> Bools:
    if min_points <= 1:
        return flags.copy()
    if flags.shape[1] < min_points:
        return np.zeros_like(flags)
    starts = sliding_window_view(flags, min_points, axis=1).all(axis=-1)
    padded = np.pad(starts, ((0, 0), (min_points - 1, min_points - 1)))
    return np.asarray(sliding_window_view(padded, min_points, axis=1).any(axis=-1))
