"""What is usual: a robust level over the recent past, with a floor under its scale."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.types import Floats


class Baseline(NamedTuple):
    """Usual level and scale per row, both of shape (rows,); NaN where there is no history."""

    level: Floats
    scale: Floats


RARE = 0.99
"""Share of the past within which an excursion is ordinary."""
REMARKABLE = 3.0
"""Scales that an ordinary excursion is worth at most."""


def usual(values: Floats, floor: float, worse: int = 0) -> Baseline:
    """Median and 1.4826 · MAD over time of `values` (rows, times).

    The scale is at least `floor` (same unit as the values): a nearly constant series has a tiny MAD, and every tremor
    of it would look like an excursion. And at least a third of the excursion that one point in a hundred makes upwards
    (`worse` 1), downwards (-1) or either way (0): what comes in bursts has a small MAD as well.
    """
    level = median(values)
    away = values - level[:, None]
    spread = median(np.abs(away))
    far = quantile(np.abs(away) if worse == 0 else worse * away, RARE)
    return Baseline(level, np.fmax(np.fmax(1.4826 * spread, floor), far / REMARKABLE) + 0 * level)


def quantile(values: Floats, share: float) -> Floats:
    """The quantile of what is finite in each row of `values` (rows, times), the point below it; NaN without any."""
    rows, columns = values.shape
    if not columns:
        return np.full(rows, np.nan)
    known = np.isfinite(values)
    count = known.sum(axis=1)
    found = np.sort(np.where(known, values, np.nan), axis=1)  # NaN last
    place = np.maximum(np.floor(share * (count - 1)), 0).astype(np.intp)
    return np.where(count > 0, found[np.arange(rows), place], np.nan)


def median(values: Floats) -> Floats:
    """The median of what is finite in each row of `values` (rows, times); NaN where nothing is.

    Sorting takes a fraction of the time of `np.nanmedian`, which masks.
    """
    rows, columns = values.shape
    if not columns:
        return np.full(rows, np.nan)
    known = np.isfinite(values)
    count = known.sum(axis=1)
    found = np.sort(np.where(known, values, np.nan), axis=1)  # NaN last
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, columns - 1)
    each = np.arange(rows)
    return np.where(count > 0, (found[each, low] + found[each, high]) / 2, np.nan)


def percentile(values: Floats, q: float) -> Floats:
    """The q-th percentile (0…100, linear between ranks) of what is finite in each row; NaN where nothing is.

    As `np.nanpercentile`, which takes a function call a row.
    """
    rows, columns = values.shape
    if not columns:
        return np.full(rows, np.nan)
    known = np.isfinite(values)
    count = known.sum(axis=1)
    found = np.sort(np.where(known, values, np.nan), axis=1)  # NaN last
    rank = q / 100 * np.maximum(count - 1, 0)
    low = np.floor(rank).astype(np.intp)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    each = np.arange(rows)
    least, most = found[each, low], found[each, high]
    return np.where(count > 0, least + (most - least) * (rank - low), np.nan)


def added(one: Floats, other: Floats) -> Floats:
    """The sum; where only one has a value, that."""
    return np.where(np.isnan(one), other, one + np.nan_to_num(other))
