"""Pinball loss of forecasts and coverage of their 80% intervals, by horizon."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.capacity.quantiles import load_quantiles
from foreshock_dashboard.analysis.capacity.seasonal import DAY_POINTS, HOUR_POINTS, WEEK_POINTS
from foreshock_dashboard.model.types import Floats
from foreshock_evaluation.capacity.servegen import POINTS, RealService

HORIZONS_HOURS = (1, 6, 24, 168)
LEVELS = np.array([0.1, 0.5, 0.9])[:, None, None]
METHODS = ("foreshock", "naive day", "naive week")
ORIGIN_STEP = DAY_POINTS // 2


class Accuracy(NamedTuple):
    """Of one method at one horizon and origin for each service, shape (services,).

    loss: mean pinball loss of the three quantiles in the hour that ends at the horizon, over the mean load.
    coverage: share of values in the 80% interval.
    """

    method: str
    hours: int
    loss: Floats
    coverage: Floats


def accuracies(services: Sequence[RealService]) -> Iterator[Accuracy]:
    """Up to a day ahead from origins of the second week, and a week ahead from those of the first with four days."""
    load = np.stack([service.rate for service in services])
    mean = np.nanmean(load, axis=1)
    for origin in range(4 * DAY_POINTS, POINTS - HOUR_POINTS + 1, ORIGIN_STEP):
        past, forecast = load[:, :origin], np.stack(load_quantiles(load[:, :origin]))
        for hours in HORIZONS_HOURS:
            ahead = hours * HOUR_POINTS
            if origin + ahead > POINTS or (origin < 8 * DAY_POINTS and ahead < WEEK_POINTS):
                continue
            actual = load[:, origin + ahead - HOUR_POINTS : origin + ahead]
            for method in METHODS:
                lag = _lag(method, ahead)
                if method == "naive week" and lag == _lag("naive day", ahead):
                    continue  # the same forecast
                error = actual - (_naive(past, ahead, lag) if lag else forecast[:, :, ahead - HOUR_POINTS : ahead])
                loss = np.maximum(LEVELS * error, (LEVELS - 1) * error).mean(axis=0)
                inside = (error[0] >= 0) & (error[2] <= 0)
                yield Accuracy(method, hours, _mean(loss) / mean, _mean(np.where(np.isfinite(loss), inside, np.nan)))


def _lag(method: str, ahead: int) -> int:
    """Steps back of a seasonal naive forecast; 0 of another one."""
    period = {"naive day": DAY_POINTS, "naive week": WEEK_POINTS}.get(method, 0)
    return period * math.ceil(ahead / period) if period else 0


def _naive(past: Floats, ahead: int, lag: int) -> Floats:
    """Load `lag` before the hour that ends `ahead`, with the quantiles of its past errors, or those of a shorter lag.

    Shape (quantiles, services, steps).
    """
    end = past.shape[1] + ahead - lag
    median = past[:, end - HOUR_POINTS : end]
    known = min(lag, (past.shape[1] // DAY_POINTS - 1) * DAY_POINTS)
    spread = np.nanquantile(past[:, known:] - past[:, :-known], (0.1, 0.9), axis=1)[:, :, None]
    quantiles: Floats = np.maximum(np.stack([median + spread[0], median, median + spread[1]]), 0.0)
    return quantiles


def _mean(values: Floats) -> Floats:
    """Mean of the known values of each row; NaN without any."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1)
    return mean
