"""What queues tell: how long they are in seconds, and when they left what is usual."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.model.types import Floats

DRIFT = 0.5
"""k of the CUSUM: half the shift, in scales, that is to be found soonest."""


def wait(queue: Floats, throughput: Floats) -> Floats:
    """Seconds that who joins the queue now waits, Ŵ = Q/X: Little's law, L = λ·W (Little, *Operations Research* 1961).

    queue in requests, throughput in requests per second; any shape. Without throughput what waits waits for ever; NaN
    where either is not known.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        out = np.where(queue > 0, np.where(throughput > 0, queue / throughput, np.inf), 0.0)
    return np.where(np.isnan(queue) | np.isnan(throughput), np.nan, out)


def cusum(z: Floats, drift: float = DRIFT) -> Floats:
    """One-sided cumulative sums S = max(0, S + z − k) along the last axis (Page, *Biometrika* 1954).

    z: excursions in scales, shape (…, times). A point that is not known leaves the sum as it is.
    """
    sums = np.zeros(z.shape)
    running = np.zeros(z.shape[:-1])
    for i in range(z.shape[-1]):
        each = z[..., i]
        running = np.where(np.isnan(each), running, np.maximum(0.0, running + each - drift))
        sums[..., i] = running
    return sums


def began(z: Floats, drift: float = DRIFT) -> int:
    """Index of the first point of the excursion that a CUSUM of `z`, shape (times,), is in; len(z) where it is in none.

    It is the last point at which the sum was zero, and one more (Page's estimate of the change point).
    """
    sums = cusum(z, drift)
    zero = np.flatnonzero(sums <= 0)
    return int(zero[-1]) + 1 if len(zero) else 0
