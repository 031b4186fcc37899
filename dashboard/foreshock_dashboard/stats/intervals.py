"""The typical interval between samples."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def median_interval(series: Iterable[NDArray[np.int64] | NDArray[np.float64]]) -> float | None:
    """Return the median over series of the median distance of their samples; None if no series has two samples.

    Each series is given by its ascending times. Lost and late samples hardly move a median.
    """
    distances = (np.diff(times) for times in series)
    medians = [np.median(of_series[of_series > 0]) for of_series in distances if (of_series > 0).any()]
    return float(np.median(medians)) if medians else None
