"""Quantiles of the load of the next seven days, from the errors of the forecasts that would have been made before.

Split conformal prediction (Vovk et al., 2005) on rolling origins: the spread at a horizon is that of the errors at this
horizon over the last two weeks, with the ranks raised for the small number of days that they come from.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.capacity.seasonal import (
    BY_DAY,
    CANDIDATES,
    DAY_POINTS,
    GROWING,
    HORIZONS,
    seasonal_forecasts,
)
from foreshock_dashboard.model.capacity.load import FORECAST_POINTS
from foreshock_dashboard.model.types import Floats

MIN_PAST_POINTS = DAY_POINTS
"""Shortest past of a forecast."""
ORIGIN_POINTS = 36
"""Steps between two rolling origins."""
MAX_ORIGINS = 56
"""Rolling origins: those of two weeks."""
OFFSET_RATIO = 0.1
"""Share of the mean load that is added before the logarithm, so that idle hours do not dominate errors."""
STEPS_PER_HORIZON = 6
"""Steps at which errors are taken between two of `HORIZONS`."""
MIXTURES = np.array(
    (
        (1.0, 0.0, 0.0, 0.0, 0.0),
        (0.5, 0.5, 0.0, 0.0, 0.0),
        (0.0, 1.0, 0.0, 0.0, 0.0),
        (0.0, 0.5, 0.5, 0.0, 0.0),
        (0.0, 0.0, 1.0, 0.0, 0.0),
        (0.5, 0.0, 0.0, 0.5, 0.0),
        (0.0, 0.0, 0.0, 1.0, 0.0),
        (0.0, 0.5, 0.0, 0.0, 0.5),
        (0.0, 0.0, 0.0, 0.0, 1.0),
    )
)
"""Shares of the candidate forecasts that are compared for each service. The first is used until another is better."""
MIN_GAIN = 0.03
"""Relative reduction of the mean past error from which another mixture is better."""
MIN_GROWTH_GAIN = 0.15
"""The same for mixtures with growth, which few services have: by chance, most seem to for some days."""
TAIL = 0.1
"""Share of values below the lower and above the upper quantile."""
TAIL_CORRECTION_DAYS = 5.0
"""The tail of d days of errors is smaller by d / (d + this): few days rarely hold the worst."""
MIN_SIGN_EXCESS = 0.5
"""Errors of one sign less those of the other, over all, from which their median corrects the forecast; fully at 1."""
MIN_ERRORS = 30
"""Fewest errors of a horizon; with less, the spread grows from that of the horizon before."""
GROWTH_RATIO = 1.5
"""Spread of a horizon over that of the horizon before, where it is not known."""
MAX_GROWN_SPREAD = 2.0
"""Spread up to which it grows with the horizon, where it is not known."""
FIRST_SPREAD = 0.5
"""Spread of logarithms before any error is known."""
_EDGES = (0, *HORIZONS)
_STEPS = [np.unique(np.linspace(low + 1, high, STEPS_PER_HORIZON).round()) for low, high in pairwise(_EDGES)]
_ALL_STEPS = np.concatenate(_STEPS)
_HORIZON_OF_STEP = np.repeat(np.arange(len(HORIZONS)), [len(steps) for steps in _STEPS])
_CENTERS = np.log([float(np.exp(np.log(steps).mean())) for steps in _STEPS])


class Quantiles(NamedTuple):
    """Quantiles of load, shape (series, `FORECAST_POINTS`), NaN without enough history."""

    p10: Floats
    p50: Floats
    p90: Floats


def load_quantiles(past: Floats) -> Quantiles:
    """Quantiles of the steps after the past.

    past: load, at least 0, shape (series, times); NaN is missing. Times are `FORECAST_STEP_SECONDS` apart.
    """
    if past.shape[1] < MIN_PAST_POINTS or not len(past):
        return Quantiles(*np.full((3, len(past), FORECAST_POINTS), np.nan))
    offset = _offset(past)
    logs = np.log(np.maximum(past, 0.0) + offset)
    errors = _past_errors(logs)
    best = _best_mixture(errors)
    spreads = _spread(_of_mixture(errors, best))
    steps = np.arange(1, FORECAST_POINTS + 1, dtype=np.float64)
    center = _of_mixture(seasonal_forecasts(logs, steps)[:, None], best)[0]
    at = np.log(steps)
    p10, p50, p90 = (
        np.maximum(np.exp(center + np.stack([np.interp(at, _CENTERS, row) for row in spread])) - offset, 0.0)
        for spread in spreads
    )
    return Quantiles(p10, p50, p90)


def _offset(past: Floats) -> Floats:
    known = np.isfinite(past)
    mean = np.where(known, past, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    offset: Floats = np.maximum(OFFSET_RATIO * mean, 1e-9)[:, None]
    return offset


def _past_errors(logs: Floats) -> Floats:
    """Errors of the candidates at rolling origins, shape (candidates, origins, series, steps)."""
    length = logs.shape[1]
    first = max(2 * DAY_POINTS, length - MAX_ORIGINS * ORIGIN_POINTS)
    origins = list(range(length - 1, first - 1, -ORIGIN_POINTS))[::-1]
    ahead = _ALL_STEPS.astype(np.intp) - 1
    errors = np.full((CANDIDATES, len(origins), len(logs), len(ahead)), np.nan)
    for row, origin in enumerate(origins):
        known = ahead < length - origin
        actual = logs[:, origin + ahead[known]]
        errors[:, row][:, :, known] = actual - seasonal_forecasts(logs[:, :origin], _ALL_STEPS[known])
    return errors


def _best_mixture(errors: Floats) -> NDArray[np.intp]:
    """The mixture with the smallest mean past error, shape (series,), where all candidates are known; else the first.

    With less than a week of history only those by the day are compared.
    """
    found = np.zeros(errors.shape[2], np.intp)
    of_days = ~MIXTURES[:, BY_DAY:].any(axis=1)
    for candidates, mixtures in ((errors[:BY_DAY], np.flatnonzero(of_days)), (errors, np.arange(len(MIXTURES)))):
        known = np.isfinite(candidates).all(axis=0)
        size = np.stack(
            [
                np.where(known, np.abs(np.tensordot(MIXTURES[row, : len(candidates)], candidates, 1)), 0.0).sum((0, 2))
                for row in mixtures
            ]
        )
        growing = MIXTURES[mixtures, GROWING] > 0
        size[growing] *= (1 - MIN_GAIN) / (1 - MIN_GROWTH_GAIN)
        smallest = size.argmin(axis=0)
        gains = size[smallest, np.arange(len(smallest))] < (1 - MIN_GAIN) * size[0]
        found = np.where(known.sum(axis=(0, 2)) >= MIN_ERRORS, np.where(gains, mixtures[smallest], 0), found)
    return found


def _of_mixture(candidates: Floats, mixture: NDArray[np.intp]) -> Floats:
    """Mixture of the candidates for each series, shape (origins, series, steps).

    A part by the week that is unknown is replaced by the same by the day.
    """
    day, week = candidates[:BY_DAY], candidates[BY_DAY:]
    whole = np.concatenate([day, np.where(np.isfinite(week), week, day[: len(week)])])
    mixed: Floats = np.einsum("cosn,sc->osn", whole, MIXTURES[mixture])
    return mixed


def _spread(errors: Floats) -> Floats:
    """Quantiles of errors by horizon: lower, median, and upper, shape (3, series, horizons).

    The median is 0 unless most errors have the same sign, as those of load that grows from week to week have.
    """
    series = errors.shape[1]
    sides = np.full((2, series, len(HORIZONS)), np.nan)
    shift = np.zeros((series, len(HORIZONS)))
    for horizon in range(len(HORIZONS)):
        of_horizon = errors[:, :, horizon == _HORIZON_OF_STEP].transpose(1, 0, 2).reshape(series, -1)
        days = max((errors.shape[0] * ORIGIN_POINTS - _EDGES[horizon]) / DAY_POINTS, 0.5)
        tail = TAIL * days / (days + TAIL_CORRECTION_DAYS)
        for row in range(series):
            known = of_horizon[row][np.isfinite(of_horizon[row])]
            if len(known) >= MIN_ERRORS:
                low, high = np.quantile(known, (tail, 1 - tail))
                trust = np.clip((abs(2 * (known > 0).mean() - 1) - MIN_SIGN_EXCESS) / (1 - MIN_SIGN_EXCESS), 0.0, 1.0)
                shift[row, horizon] = trust * np.median(known)
                sides[:, row, horizon] = max(shift[row, horizon] - low, 0.0), max(high - shift[row, horizon], 0.0)
    previous = np.full((2, series), FIRST_SPREAD)
    for horizon in range(len(HORIZONS)):
        grown = np.maximum(previous, np.minimum(previous * (GROWTH_RATIO if horizon else 1.0), MAX_GROWN_SPREAD))
        sides[:, :, horizon] = np.where(np.isnan(sides[:, :, horizon]), grown, sides[:, :, horizon])
        previous = sides[:, :, horizon]
    return np.stack([shift - sides[0], shift, shift + sides[1]])
