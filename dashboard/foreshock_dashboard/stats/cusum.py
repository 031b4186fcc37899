"""Queue waiting time and CUSUM change points."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.model.types import Floats

CUSUM_DRIFT = 0.5
"""k of the CUSUM: half the smallest shift to detect, in scales."""


def queue_wait_seconds(queue: Floats, throughput: Floats) -> Floats:
    """Expected wait of a request that joins the queue now, W = Q/X: Little's law (Little, *Operations Research* 1961).

    Args:
        queue: requests waiting; any shape.
        throughput: requests per second; same shape.

    Returns:
        Seconds; infinite for a queue without throughput, NaN where either input is NaN.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        seconds = np.where(queue > 0, np.where(throughput > 0, queue / throughput, np.inf), 0.0)
    return np.where(np.isnan(queue) | np.isnan(throughput), np.nan, seconds)


def cusum(z: Floats) -> Floats:
    """One-sided cumulative sums S = max(0, S + z − k) along the last axis (Page, *Biometrika* 1954).

    `z` is in scales, shape (..., times). A NaN leaves the sum unchanged.
    """
    sums = np.zeros(z.shape)
    running = np.zeros(z.shape[:-1])
    for i in range(z.shape[-1]):
        value = z[..., i]
        running = np.where(np.isnan(value), running, np.maximum(0.0, running + value - CUSUM_DRIFT))
        sums[..., i] = running
    return sums


def change_point(z: Floats) -> int:
    """Index of the first point of the current excursion of `z`, shape (times,); len(z) without an excursion.

    Page's estimate: one past the last point at which the CUSUM was zero.
    """
    zeros = np.flatnonzero(cusum(z) <= 0)
    return int(zeros[-1]) + 1 if len(zeros) else 0
