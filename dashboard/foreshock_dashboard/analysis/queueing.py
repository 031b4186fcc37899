"""What queues tell: how long they are in seconds, how fast they drain, and when they left what is usual."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.model.query import Floats

DRIFT = 0.5
"""k of the CUSUM: half the shift, in scales, that is to be found soonest."""
ALARM = 15.0
"""h of the CUSUM: with 5,000 series at 8,640 points a day, one false alarm in about half a day (see `false_run`)."""
BURST = 3
"""Points that a queue must fall in a row to tell how fast it drains."""


def wait(queue: Floats, throughput: Floats) -> Floats:
    """Seconds that who joins the queue now waits, Ŵ = Q/X: Little's law, L = λ·W (Little, *Operations Research* 1961).

    queue in requests, throughput in requests per second; any shape. Without throughput what waits waits for ever; NaN
    where either is not known.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        out = np.where(queue > 0, np.where(throughput > 0, queue / throughput, np.inf), 0.0)
    return np.where(np.isnan(queue) | np.isnan(throughput), np.nan, out)


def drain(queue: Floats, step: float) -> Floats:
    """Requests per second by which each natural burst drained, oldest first: spare capacity, μ − λ = −dQ/dt.

    queue: shape (times,), one each `step` seconds. A falling slope is critical slowing down in the unit of the thing
    (Scheffer et al., *Nature* 2009): the server is closer to its capacity. Empty where no burst drained.
    """
    slopes = []
    falling: list[float] = []
    for value in [*queue.tolist(), math.nan]:
        if falling and value < falling[-1]:
            falling.append(value)
            continue
        if len(falling) > BURST:
            slopes.append((falling[0] - falling[-1]) / (step * (len(falling) - 1)))
        falling = [] if math.isnan(value) else [value]
    return np.array(slopes)


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


def false_run(alarm: float, drift: float = DRIFT) -> float:
    """Mean points between false alarms of a one-sided CUSUM on independent Gaussian noise (Siegmund 1985).

    (exp(2k·b) − 2k·b − 1) / 2k² with b = h + 1.166.
    """
    b = 2 * drift * (alarm + 1.166)
    return (math.exp(b) - b - 1) / (2 * drift**2)
