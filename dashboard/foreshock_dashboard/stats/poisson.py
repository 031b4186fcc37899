"""Whether a count of rare events is more than chance, by counts of the past."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.model.types import Floats

ORDINARY_SHARE = 0.98
"""Share of what was counted, in the windows with the lowest ratios, that is ordinary: rare events come in bursts, and
windows beyond may be of earlier incidents."""
UNSEEN_EVENTS = 3.0
"""Events that are added to those of the past: where none of n was one, the ratio is below 3 / n with a confidence of
95% (the rule of three, Hanley and Lippman-Hand, JAMA 1983)."""


def poisson_tail(count: int, mean: float) -> float:
    """Probability of at least `count` events, of which `mean` are expected, if they are independent.

    1 where the mean is unknown, or at least `count`: the probability is more than 0.4 there. The series is that of the
    regularized incomplete gamma function (Abramowitz and Stegun 1964, formula 6.5.29).
    """
    if count <= 0 or not mean < count:
        return 1.0
    if mean <= 0:
        return 0.0
    term = total = 1.0
    following = count
    while term > 1e-12 * total:
        following += 1
        term *= mean / following
        total += term
    return min(1.0, math.exp(count * math.log(mean) - mean - math.lgamma(count + 1)) * total)


def ordinary_ratio(events: Floats, counts: Floats) -> Floats:
    """Upper bound of the normal ratio of events, by row, of `events` among `counts` in past windows (rows, windows).

    The largest ratio of the ordinary windows, and `UNSEEN_EVENTS` more in all windows. Those where either is unknown do
    not count. NaN without any.
    """
    if not events.shape[1]:
        return np.full(len(events), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = events / counts
        counted = np.where(np.isfinite(ratios), counts, 0.0)
        order = np.argsort(ratios, axis=1)
        within = np.cumsum(np.take_along_axis(counted, order, axis=1), axis=1)
        ordinary = (within <= ORDINARY_SHARE * within[:, -1:]).sum(axis=1, keepdims=True)
        last = np.take_along_axis(order, np.maximum(ordinary - 1, 0), axis=1)
        return (np.take_along_axis(ratios, last, axis=1) + UNSEEN_EVENTS / within[:, -1:])[:, 0]
