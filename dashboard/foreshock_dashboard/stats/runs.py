"""Runs of points in arrays over time: what lasts, and what is only a blip. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.robust import median

Flags = NDArray[np.bool_]


def smooth(values: Floats, points: int) -> Floats:
    """The median of the last `points` columns at each column, as what stands for the moment; shape as `values`."""
    rows, columns = values.shape
    padded = np.pad(values, ((0, 0), (points - 1, 0)), constant_values=np.nan)
    stacked = np.stack([padded[:, i : i + columns] for i in range(points)], axis=-1)
    return median(stacked.reshape(-1, points)).reshape(rows, columns)


def lasting(true: Flags, least: int, gap: int) -> Flags:
    """Runs of at least `least` points along each row (rows, points); holes of at most `gap` are filled."""
    found = _without_short(true, least)
    holes = ~found
    kept = _without_short(holes, gap + 1)
    seen = np.maximum.accumulate(found, axis=1)
    ahead = np.maximum.accumulate(found[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(found | (holes & ~kept & seen & ahead))


def _without_short(true: Flags, least: int) -> Flags:
    """The runs of at least so many points."""
    rows, columns = true.shape
    if least <= 1:
        return true.copy()
    if columns < least:
        return np.zeros_like(true)
    sums = np.cumsum(np.pad(true.astype(np.int32), ((0, 0), (1, 0))), axis=1)
    whole = np.zeros((rows, columns), np.bool_)
    whole[:, least - 1 :] = sums[:, least:] - sums[:, :-least] == least
    out = np.zeros_like(whole)
    for back in range(least):
        out[:, : columns - back] |= whole[:, back:]
    return out
