"""Whether a count of rare events is more than chance, by counts of the past."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.robust import quantile

ORDINARY_SHARE = 0.9
"""Share of the past windows, those with the fewest events, that are ordinary: others may be of earlier incidents."""
UNSEEN_EVENTS = 3.0
"""Events that are added to those of the past: where none of n was one, the ratio is below 3 / n with a confidence of
95% (the rule of three, Hanley and Lippman-Hand, JAMA 1983)."""

PEAK_QUANTILE = 0.98
"""Quantile of the ratios of past windows that is normal as well: rare events come in bursts."""


def poisson_tail(count: int, mean: float) -> float:
    """Probability of at least `count` events, of which `mean` are expected, if they are independent.

    1 from twice the count on, and where the mean is unknown. The series is that of the regularized incomplete gamma
    function (Abramowitz and Stegun 1964, formula 6.5.29).
    """
    if count <= 0 or not mean < 2 * count:
        return 1.0  # nearly, for such a mean
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

    At least that of the window at `PEAK_QUANTILE`. Windows where either is unknown do not count. NaN without any.
    """
    known = np.isfinite(events) & np.isfinite(counts)
    ordered = np.argsort(np.where(known, events, np.inf), axis=1, kind="stable")
    ordinary = np.arange(events.shape[1]) < np.ceil(ORDINARY_SHARE * known.sum(axis=1))[:, None]
    seen, of = (
        np.where(ordinary, np.take_along_axis(np.where(known, values, 0.0), ordered, axis=1), 0.0).sum(axis=1)
        for values in (events, counts)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        peak = quantile(events / counts, PEAK_QUANTILE)
        return np.where(of > 0, np.fmax((seen + UNSEEN_EVENTS) / of, peak), np.nan)
