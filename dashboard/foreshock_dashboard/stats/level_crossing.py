"""Forecast of when a fluctuating gauge crosses its limit.

A level crossing of a noisy trend, not of the trend itself: a bursty load exceeds a nearby limit long before its mean
does. With y the logarithm of the gauge, mean m, slope b, spread s, and limit l, the expected number of independent
excursions beyond the limit within h seconds is H(h) = Σ Φ((m + b·τ − l) / s) · Δτ / w (Rice, *Mathematical Analysis of
Random Noise*, 1945, in discrete form). w is the duration from which an excursion counts. The probability of at least
one excursion is 1 − exp(−H).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.robust import median

HORIZON_SECONDS = 900.0
"""Longest forecast; a trend of the last minutes says nothing beyond it."""
MIN_SPREAD = 0.05
"""Least spread of a trend, in the unit of its values: logarithms."""
NEAR_SECONDS = 600.0
"""Time within which a crossing is near."""
QUANTILES = (0.1, 0.2, 0.5, 0.8, 0.9)
"""Quantile levels of the time to the crossing."""


def normal_cdf(z: Floats) -> Floats:
    """Φ, the standard normal distribution, within 7e-8 (Abramowitz and Stegun 1964, formula 26.2.17)."""
    t = 1.0 / (1.0 + 0.2316419 * np.abs(z))
    series = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) * series
    return np.asarray(np.where(z >= 0, 1.0 - tail, tail))


@dataclass(frozen=True, slots=True)
class Trend:
    """Level now, slope per second, and spread, in the unit of the fitted values; arrays of shape (rows,)."""

    level: Floats
    slope: Floats
    spread: Floats


def fit_trend(values: Floats, step: float, level_over: float = 120.0) -> Trend:
    """Fit a trend to each row of `values`, shape (rows, times), newest last, `step` seconds apart.

    The slope is the least-squares slope shrunk by its standard error, so that noise has none. The error allows for
    autocorrelated points (AR(1), Bartlett's factor (1 + r)/(1 − r)). The level is the median of the last `level_over`
    seconds. The spread is at least `MIN_SPREAD`; NaN for fewer than three points.
    """
    points = values.shape[1]
    known = np.isfinite(values)
    count = known.sum(axis=1)
    x = step * (np.arange(points) - points + 1)
    w = known.astype(np.float64)
    total = np.maximum(count, 1)
    mean_x = (w * x).sum(axis=1) / total
    mean_y = np.where(known, values, 0.0).sum(axis=1) / total
    dx = (x - mean_x[:, None]) * w
    dy = np.where(known, values - mean_y[:, None], 0.0)
    sxx = np.maximum((dx**2).sum(axis=1), 1e-12)
    slope = (dx * dy).sum(axis=1) / sxx
    residual = np.where(known, dy - slope[:, None] * dx, 0.0)
    variance = (residual**2).sum(axis=1) / np.maximum(count - 2, 1)
    lagged = (residual[:, 1:] * residual[:, :-1]).sum(axis=1) / np.maximum((residual**2).sum(axis=1), 1e-12)
    r = np.clip(lagged, 0.0, 0.95)
    error = np.sqrt(variance / sxx * (1 + r) / (1 - r))
    shrunk = np.sign(slope) * np.maximum(np.abs(slope) - error, 0.0)
    newest = max(1, round(level_over / step))
    too_short = count < 3
    return Trend(
        median(values[:, -newest:]),
        np.where(too_short, 0.0, shrunk),
        np.where(too_short, np.nan, np.maximum(np.sqrt(variance), MIN_SPREAD)),
    )


@dataclass(frozen=True, slots=True)
class CrossingForecast:
    """Forecast of the crossing of each row.

    `expected` (excursions) and `probability` (of at least one) within the horizon, and `near_expected` (excursions
    within `NEAR_SECONDS`) have shape (rows,). `seconds` until the crossing, by QUANTILES, has shape (rows, quantiles);
    infinite beyond the horizon.
    """

    expected: Floats
    probability: Floats
    near_expected: Floats
    seconds: Floats


def forecast_crossing(trend: Trend, limit: Floats | float, duration: float, step: float = 10.0) -> CrossingForecast:
    """Forecast when the trend exceeds `limit` (in the trend's unit) for `duration` seconds.

    A row without a known level has probability 0.
    """
    ahead = step * np.arange(1, max(1, round(HORIZON_SECONDS / step)) + 1)
    with np.errstate(invalid="ignore"):
        mean = trend.level[:, None] + trend.slope[:, None] * ahead
        z = (mean - np.reshape(limit, (-1, 1))) / trend.spread[:, None]
    excursions = np.cumsum(np.where(np.isfinite(z), normal_cdf(z), 0.0) * step / duration, axis=1)
    thresholds = -np.log1p(-np.array(QUANTILES))
    seconds = np.full((len(excursions), len(thresholds)), np.inf)
    for j, threshold in enumerate(thresholds):
        reached = excursions >= threshold
        seconds[:, j] = np.where(reached.any(axis=1), ahead[np.argmax(reached, axis=1)], np.inf)
    expected = excursions[:, -1]
    near = excursions[:, np.searchsorted(ahead, NEAR_SECONDS, side="right") - 1] if ahead[0] <= NEAR_SECONDS else 0.0
    return CrossingForecast(expected, -np.expm1(-expected), np.broadcast_to(near, expected.shape), seconds)
