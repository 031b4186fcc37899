"""What is usual: a robust level over the recent past, with a floor under its scale."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.query import Floats


class Baseline(NamedTuple):
    """Usual level and scale per row, both of shape (rows,); NaN where there is no history."""

    level: Floats
    scale: Floats


def usual(values: Floats, floor: float) -> Baseline:
    """Median and 1.4826 · MAD over time of `values` (rows, times).

    The scale is at least `floor` (same unit as the values): a nearly constant series has a tiny MAD, and every tremor
    of it would look like an excursion.
    """
    if values.shape[1] == 0:
        nothing = np.full(values.shape[0], np.nan)
        return Baseline(nothing, nothing)
    counted = ~np.isnan(values).all(axis=1)
    level = np.full(values.shape[0], np.nan)
    scale = np.full(values.shape[0], np.nan)
    level[counted] = np.nanmedian(values[counted], axis=1)
    spread = np.nanmedian(np.abs(values[counted] - level[counted, None]), axis=1)
    scale[counted] = np.maximum(1.4826 * spread, floor)
    return Baseline(level, scale)
