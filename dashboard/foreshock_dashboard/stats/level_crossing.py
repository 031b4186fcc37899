"""How long until something that fluctuates passes its limit.

A level crossing of a noisy trend, not of the trend itself: a bursty load breaks what it is close to long before its
mean gets there. With y the logarithm of the gauge, mean m, slope b, spread s and limit l, the expected number of
independent looks beyond the limit within h seconds is H(h) = Σ Φ((m + b·τ − l) / s) · Δτ / w (Rice, *Mathematical
Analysis of Random Noise*, 1945, in discrete form), w the time for which an excursion must last to hurt. The chance
of at least one is 1 − exp(−H).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.robust import median

HORIZON = 900.0
"""Seconds ahead: beyond, a trend of the last minutes tells nothing."""
QUANTILES = (0.1, 0.2, 0.5, 0.8, 0.9)


def normal(z: Floats) -> Floats:
    """Φ, the standard normal distribution, within 7e-8 (Abramowitz & Stegun 1964, formula 26.2.17)."""
    t = 1.0 / (1.0 + 0.2316419 * np.abs(z))
    series = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) * series
    return np.asarray(np.where(z >= 0, 1.0 - tail, tail))


@dataclass(frozen=True, slots=True)
class Trend:
    """Level now, slope per second and spread of a gauge, in the unit it is looked at in; arrays of shape (rows,)."""

    level: Floats
    slope: Floats
    spread: Floats


def trend(values: Floats, step: float, level_over: float = 120.0, floor: float = 0.05) -> Trend:
    """Of each row of `values` (rows, times), newest last.

    The slope is a least-squares line's, made smaller by its standard error, so that noise has none; the error allows
    for points that go together (AR(1), Bartlett's factor (1 + r)/(1 − r)). The level is the median of what is
    finite in the last `level_over` seconds, or the line's end where that has a slope.
    """
    points = values.shape[1]
    known = np.isfinite(values)
    count = known.sum(axis=1)
    x = step * (np.arange(points) - points + 1)
    w = known.astype(np.float64)
    total = np.maximum(count, 1)
    mx = (w * x).sum(axis=1) / total
    filled = np.where(known, values, 0.0)
    my = filled.sum(axis=1) / total
    dx = (x - mx[:, None]) * w
    dy = np.where(known, values - my[:, None], 0.0)
    sxx = np.maximum((dx**2).sum(axis=1), 1e-12)
    slope = (dx * dy).sum(axis=1) / sxx
    residual = np.where(known, dy - slope[:, None] * dx, 0.0)
    variance = (residual**2).sum(axis=1) / np.maximum(count - 2, 1)
    lagged = (residual[:, 1:] * residual[:, :-1]).sum(axis=1) / np.maximum((residual**2).sum(axis=1), 1e-12)
    r = np.clip(lagged, 0.0, 0.95)
    error = np.sqrt(variance / sxx * (1 + r) / (1 - r))
    shrunk = np.sign(slope) * np.maximum(np.abs(slope) - error, 0.0)
    newest = max(1, round(level_over / step))
    short = count < 3
    return Trend(
        median(values[:, -newest:]),
        np.where(short, 0.0, shrunk),
        np.where(short, np.nan, np.maximum(np.sqrt(variance), floor)),
    )


@dataclass(frozen=True, slots=True)
class Hazard:
    """Expected excursions and chance of one within `HORIZON`, and seconds until it happens, by QUANTILES.

    expected, chance: shape (rows,). seconds: shape (rows, quantiles), infinite where that is beyond the horizon.
    """

    expected: Floats
    chance: Floats
    seconds: Floats


def hazard(now: Trend, limit: Floats | float, lasting: float, step: float = 10.0, horizon: float = HORIZON) -> Hazard:
    """The hazard of passing `limit` (in the trend's unit) for `lasting` seconds. Unknown levels have none."""
    ahead = step * np.arange(1, max(1, round(horizon / step)) + 1)
    with np.errstate(invalid="ignore"):
        z = (now.level[:, None] + now.slope[:, None] * ahead - np.reshape(limit, (-1, 1))) / now.spread[:, None]
    rates = np.where(np.isfinite(z), normal(z), 0.0) * step / lasting
    summed = np.cumsum(rates, axis=1)
    marks = -np.log1p(-np.array(QUANTILES))
    seconds = np.full((len(summed), len(marks)), np.inf)
    for j, mark in enumerate(marks):
        reached = summed >= mark
        seconds[:, j] = np.where(reached.any(axis=1), ahead[np.argmax(reached, axis=1)], np.inf)
    expected = summed[:, -1]
    return Hazard(expected, -np.expm1(-expected), seconds)
