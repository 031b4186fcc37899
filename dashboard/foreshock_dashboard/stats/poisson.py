"""Whether a count of rare events is more than chance, by counts of the past."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.model.types import Floats

ORDINARY_SHARE = 0.98
"""Share of what was counted, in the windows with the lowest ratios, that is ordinary: others may be of incidents."""
UNSEEN_EVENTS = 3.0
"""Events that are added to those of the past: where none of n was one, the ratio is below 3 / n with a confidence of
95% (the rule of three, Hanley and Lippman-Hand, JAMA 1983)."""


def poisson_tail(count: float, mean: float, dispersion: float = 1.0) -> float:
    """Probability of at least `count` events, of which `mean` are expected.

    dispersion: variance over that of independent events, more where these come in bursts (quasi-Poisson, Wedderburn,
    Biometrika 1974). 1 where the mean is unknown, or at least `count`: the probability is more than 0.4 there. The
    series is that of the regularized incomplete gamma function (Abramowitz and Stegun 1964, formula 6.5.29).
    """
    if count <= 0 or not mean < count:
        return 1.0
    if mean <= 0:
        return 0.0
    count, mean = count / dispersion, mean / dispersion
    term = total = 1.0
    following = count
    while term > 1e-12 * total:
        following += 1
        term *= mean / following
        total += term
    return min(1.0, math.exp(count * math.log(mean) - mean - math.lgamma(count + 1)) * total)


def ordinary_ratio(events: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Upper bound of the normal ratio of events, of `events` among `counts` in past windows (rows, windows), by row.

    Also their dispersion, as in `poisson_tail`, at least 1 (Pearson's). Windows where either is unknown do not count.
    NaN without any.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = events / counts
        order = np.argsort(ratios, axis=1)
        seen, counted = (
            np.take_along_axis(np.where(np.isfinite(ratios), values, 0.0), order, axis=1) for values in (events, counts)
        )
        within = np.cumsum(counted, axis=1)
        is_ordinary = (counted > 0) & (within <= ORDINARY_SHARE * within[:, -1:])
        ratio = ((is_ordinary * seen).sum(axis=1) + UNSEEN_EVENTS) / (is_ordinary * counted).sum(axis=1)
        expected = ratio[:, None] * counted
        surprise = np.where(is_ordinary, (seen - expected) ** 2 / expected, 0.0).sum(axis=1)
        return np.where(np.isfinite(ratio), ratio, np.nan), np.fmax(surprise / is_ordinary.sum(axis=1), 1.0)
