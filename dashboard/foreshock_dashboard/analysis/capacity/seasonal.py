"""Median forecast of load: a day and a week profile, corrected by the present level.

A weighted mean of simple seasonal forecasts, each the same for all services: weights fitted to every service by itself
were less accurate on real weeks, as were models of the ETS and MSTL families
(docs/internals/evaluation/capacity.md). All values are logarithms of load, so that a correction is a ratio.
"""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.model.capacity.load import FORECAST_POINTS
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.robust import median

HOUR_POINTS, DAY_POINTS, WEEK_POINTS = 6, 144, 1008
"""Steps of an hour, a day, and a week."""
PROFILE_DAYS, PROFILE_WEEKS = 7, 3
"""Most days and weeks of a profile."""
HORIZONS = (1, 6, 24, 72, 144, 432, FORECAST_POINTS)
"""Steps ahead at which the weights are known; between them they change linearly with the logarithm of the horizon."""
DAY_WEIGHTS = np.array(
    (
        (
            (0.25, 0.39, 0.06, 0.33, -0.01),
            (0.08, 0.38, 0.14, 0.27, 0.11),
            (0.11, 0.15, 0.13, 0.22, 0.26),
            (0.15, 0.05, 0.19, 0.13, 0.19),
            (0.14, 0.07, 0.18, 0.11, 0.12),
            (0.07, 0.04, 0.21, 0.07, -0.03),
            (0.06, 0.00, 0.24, 0.05, 0.00),
        ),
        (
            (0.29, 0.00, 0.00, 0.69, 0.06),
            (0.13, 0.00, 0.00, 0.64, 0.25),
            (0.15, 0.00, 0.00, 0.35, 0.38),
            (0.19, 0.00, 0.00, 0.17, 0.35),
            (0.17, 0.00, 0.00, 0.17, 0.27),
            (0.10, 0.00, 0.00, 0.10, 0.14),
            (0.10, 0.00, 0.00, 0.05, 0.19),
        ),
    )
)
"""Weights of the corrections of the day profile, by horizon, without and with trust in its shape: the first draws it
towards a flat line, for services whose day is mostly chance. Least squares on the real weeks for development."""
WEEK_WEIGHTS = np.array(
    (
        (
            (0.40, 0.03, 0.22, 0.08),
            (0.48, 0.16, 0.21, 0.09),
            (0.21, 0.41, 0.12, 0.10),
            (0.06, 0.53, 0.08, 0.05),
            (0.15, 0.44, 0.02, 0.02),
            (0.11, 0.43, 0.00, -0.10),
            (0.07, 0.49, -0.02, -0.18),
        ),
        (
            (0.00, 0.00, 0.40, 0.14),
            (0.00, 0.00, 0.60, 0.28),
            (0.00, 0.00, 0.30, 0.45),
            (0.00, 0.00, 0.15, 0.46),
            (0.00, 0.00, 0.14, 0.36),
            (0.00, 0.00, 0.10, 0.12),
            (0.00, 0.00, 0.05, -0.03),
        ),
    )
)
"""The same for the week profile."""
BY_DAY = len(DAY_WEIGHTS) + 1
"""Candidate forecasts that need no week of history."""
GROWING = BY_DAY - 1
"""Index of the one with growth."""
CANDIDATES = BY_DAY + len(WEEK_WEIGHTS)
MAX_GROWING_DAYS = 2.0
"""Days ahead for which growth goes on; then load stays, as no growth lasts."""


def seasonal_forecasts(past: Floats, steps: Floats) -> Floats:
    """Candidate forecasts of the steps after the past, shape (`CANDIDATES`, series, steps).

    By the day, drawn towards a flat line and not, and with growth from day to day; and the first two by the week, NaN
    with less than a week of history.

    Args:
        past: logarithms of load, shape (series, times); NaN is missing. At least a day.
        steps: whole steps ahead, from 1, shape (steps,).
    """
    day, week = components(past, steps)
    scale, at = np.log(np.asarray(HORIZONS, np.float64)), np.log(steps)

    def blend(parts: Floats, weights: Floats) -> Floats:
        by_step = np.stack([np.interp(at, scale, column) for column in weights.T])
        combined: Floats = parts[0] + (np.nan_to_num(parts[1:]) * by_step[:, None]).sum(axis=0)
        return combined

    return np.stack(
        [
            *(blend(day, weights) for weights in DAY_WEIGHTS),
            _growing(past, steps),
            *(blend(week, weights) for weights in WEEK_WEIGHTS),
        ]
    )


def _growing(past: Floats, steps: Floats) -> Floats:
    """The shape of the last days at the level of the last one, which grows on as it did from day to day.

    Corrected by how far the last hour is from it, as the day profile.
    """
    days = min(past.shape[1] // DAY_POINTS, PROFILE_DAYS)
    by_slot = past[:, past.shape[1] - days * DAY_POINTS :].reshape(len(past), days, DAY_POINTS)
    level = median((by_slot[:, -1:] - by_slot).reshape(-1, DAY_POINTS)).reshape(len(past), days)
    ages = np.where(np.isfinite(level), np.arange(days - 1, -1, -1.0), 0.0)
    known = np.nan_to_num(level)
    # least squares through the level of the last day
    growth = (known * ages).sum(axis=1) / np.maximum((ages**2).sum(axis=1), 1.0)
    profile = _smooth(_median_of_middle(by_slot + known[:, :, None]), 2)
    index = steps.astype(np.intp) - 1
    ahead = np.minimum(1.0 + index // DAY_POINTS, MAX_GROWING_DAYS)
    level_weights = np.interp(np.log(steps), np.log(np.asarray(HORIZONS, np.float64)), DAY_WEIGHTS[1, :, 3])
    hour = _mean(past[:, -HOUR_POINTS:]) - _mean(profile[:, -HOUR_POINTS:])
    forecast: Floats = (
        profile[:, index % DAY_POINTS] + growth[:, None] * ahead + np.nan_to_num(hour)[:, None] * level_weights
    )
    return forecast


def components(past: Floats, steps: Floats) -> tuple[Floats, Floats]:
    """Day profile and week profile at the steps, each with what may correct it, shape (parts, series, steps).

    Corrections of the day profile: yesterday, the level of the last hour and of the last day as a flat line, and how
    far the last hour and the last day are from the profile. Of the week profile: the same two levels, and how far the
    last hour and the last day are from those a week before.
    """
    length = past.shape[1]
    index = steps.astype(np.intp) - 1
    days = past[:, length - min(length // DAY_POINTS, PROFILE_DAYS) * DAY_POINTS :]
    by_slot = days.reshape(len(past), -1, DAY_POINTS)
    profile = _smooth(_median_of_middle(by_slot), 2)
    yesterday = _smooth(by_slot[:, -1], 1)
    slot = index % DAY_POINTS
    hour, day = _mean(past[:, -HOUR_POINTS:]), _mean(past[:, -DAY_POINTS:])
    flat = np.zeros(len(index))
    of_day = np.stack(
        [
            profile[:, slot],
            yesterday[:, slot] - profile[:, slot],
            hour[:, None] - profile[:, slot],
            day[:, None] - profile[:, slot],
            (hour - _mean(profile[:, -HOUR_POINTS:]))[:, None] + flat,
            (day - _mean(profile))[:, None] + flat,
        ]
    )
    weeks = min(length // WEEK_POINTS, PROFILE_WEEKS)
    if not weeks:
        return of_day, np.full((5, len(past), len(index)), np.nan)
    by_week = past[:, length - weeks * WEEK_POINTS :].reshape(len(past), weeks, WEEK_POINTS)
    grown = median((by_week[:, -1:] - by_week).reshape(-1, WEEK_POINTS)).reshape(len(past), weeks, 1)
    week = _smooth(_median_of_middle(by_week + np.nan_to_num(grown)), 2)  # the shape of all at the level of the last
    in_week = index % WEEK_POINTS
    of_week = np.stack(
        [
            week[:, in_week],
            hour[:, None] - week[:, in_week],
            day[:, None] - week[:, in_week],
            (hour - _week_before(past, HOUR_POINTS))[:, None] + flat,
            (day - _week_before(past, DAY_POINTS))[:, None] + flat,
        ]
    )
    return of_day, of_week


def _week_before(past: Floats, points: int) -> Floats:
    """Mean of the last `points` steps a week before; NaN without so much history."""
    end = past.shape[1] - WEEK_POINTS
    return _mean(past[:, max(0, end - points) : end])


def _median_of_middle(values: Floats) -> Floats:
    """Median over the middle axis."""
    rows, _, columns = values.shape
    return median(values.transpose(0, 2, 1).reshape(rows * columns, -1)).reshape(rows, columns)


def _smooth(values: Floats, points: int) -> Floats:
    """Circular mean of each column and `points` on both sides; of finite values only."""
    known = np.isfinite(values)
    total, count = np.zeros(values.shape), np.zeros(values.shape)
    for shift in range(-points, points + 1):
        total += np.roll(np.where(known, values, 0.0), shift, axis=1)
        count += np.roll(known, shift, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        smooth: Floats = np.where(count > 0, total / count, np.nan)
    return smooth


def _mean(values: Floats) -> Floats:
    """Mean of the finite values of each row; NaN without any."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1)
    return mean
