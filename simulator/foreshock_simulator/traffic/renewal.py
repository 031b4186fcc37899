"""Gaps between arrivals of renewal processes, with mean 1 and a given coefficient of variation (CV)."""

from __future__ import annotations

import random
from functools import cache
from math import exp, gamma, lgamma
from typing import Literal

Family = Literal["gamma", "weibull"]


def gap(rng: random.Random, family: Family, cv: float) -> float:
    """Draw the gap to the next arrival. CV 1 is a Poisson process in both families."""
    if family == "gamma":
        shape = 1.0 / (cv * cv)
        return rng.gammavariate(shape, 1.0 / shape)
    shape = weibull_shape(round(cv, 3))
    return rng.weibullvariate(1.0 / gamma(1.0 + 1.0 / shape), shape)


def first_gap(rng: random.Random, family: Family, cv: float) -> float:
    """Draw the gap from an arbitrary time to the next arrival, so that the process is stationary from that time on.

    The gap that contains the time is length-biased, and the time is uniform within it (renewal theory: forward
    recurrence time). A length-biased Gamma(k) gap is Gamma(k + 1); of a Weibull(k) gap, the k-th power is Gamma(1 + 1 /
    k).
    """
    if family == "gamma":
        shape = 1.0 / (cv * cv)
        biased = rng.gammavariate(shape + 1.0, 1.0 / shape)
    else:
        shape = weibull_shape(round(cv, 3))
        biased = rng.gammavariate(1.0 + 1.0 / shape, 1.0) ** (1.0 / shape) / gamma(1.0 + 1.0 / shape)
    return biased * rng.random()


@cache
def weibull_shape(cv: float) -> float:
    """The shape k of a Weibull distribution with this CV: Γ(1 + 2/k) / Γ(1 + 1/k)² = 1 + CV², by bisection.

    Raises:
        ValueError: the CV is not positive, or above 1,000.
    """
    if not 0.0 < cv <= 1000.0:
        raise ValueError(f"a coefficient of variation of {cv} is not within 0 and 1000")
    low, high = 0.1, 200.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        squared = exp(lgamma(1.0 + 2.0 / middle) - 2.0 * lgamma(1.0 + 1.0 / middle)) - 1.0
        low, high = (middle, high) if squared > cv * cv else (low, middle)
    return 0.5 * (low + high)
