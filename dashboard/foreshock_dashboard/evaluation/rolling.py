"""Sums, minima and straight lines over the last points of every row, NaN left out. Arrays of shape (rows, times)."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.model.types import Floats


def total(values: Floats, points: int) -> Floats:
    """The sum of the last `points` of each row; of what there is near the start, 0 where there is nothing."""
    summed = np.cumsum(np.nan_to_num(values), axis=1)
    out = summed.copy()
    out[:, points:] -= summed[:, :-points]
    return out


def least(values: Floats, points: int) -> Floats:
    """The least of the last `points`; −inf until there are so many, and while more than half of them are missing."""
    found = np.where(np.isnan(values), np.inf, values)
    span = 1
    while span < points:
        step = min(span, points - span)
        shifted = np.full_like(found, np.inf)
        shifted[:, step:] = found[:, :-step]
        found = np.minimum(found, shifted)
        span += step
    known = total((~np.isnan(values)).astype(np.float64), points)
    found[:, : points - 1] = -np.inf
    return np.where(known * 2 > points, found, -np.inf)


def predicted(values: Floats, points: int, ahead: float) -> Floats:
    """The value `ahead` points after each, by least squares over the last `points`; NaN with fewer than half of them.

    As `predict_linear` of Prometheus (promql/functions.go, linearRegression): the line is evaluated from now on.
    """
    known = (~np.isnan(values)).astype(np.float64)
    x = np.broadcast_to(np.arange(values.shape[1], dtype=np.float64), values.shape)
    y = np.nan_to_num(values)
    n, sx, sy = total(known, points), total(x * known, points), total(y, points)
    sxx, sxy = total(x * x * known, points), total(x * y, points)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = (n * sxy - sx * sy) / (n * sxx - sx * sx)
        line = sy / n + slope * (x + ahead - sx / n)
    return np.where(n * 2 >= points, line, np.nan)
