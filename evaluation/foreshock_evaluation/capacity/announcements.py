"""Shortages of peak hours: which are announced twelve hours before, and which announcements are false.

The capacity of a service is a multiple of its typical peak: the median of the highest hourly means of the first seven
days. So some services are short every day, some never, and some once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.capacity.quantiles import load_quantiles
from foreshock_dashboard.analysis.capacity.seasonal import HOUR_POINTS, WEEK_POINTS
from foreshock_dashboard.analysis.capacity.shortage import shortage
from foreshock_dashboard.model.capacity.load import LoadForecast, LoadKind, Subject
from foreshock_dashboard.model.types import Floats
from foreshock_evaluation.capacity.servegen import POINTS, RealService

CAPACITY_RATIOS = (0.8, 1.0, 1.25, 1.6, 2.0)
"""Safe load over the typical peak."""
ORIGINS_HOURS = range(156, POINTS // HOUR_POINTS - 12, 6)
"""Hours at which forecasts are made: from half a day before the second week on, every six hours."""
AHEAD_HOURS, LATEST_HOURS = 24, 12
"""A shortage is announced if a forecast between these hours before says that load exceeds the limit within a day."""
QUIET_HOURS = 12
"""Hours without excess after which a shortage is a new one."""
GRACE_HOURS = 12
"""Hours after the announced day in which a shortage still makes the announcement true."""
FIRST_HOUR = ORIGINS_HOURS[0] + AHEAD_HOURS


class Announcements(NamedTuple):
    """Of one service with one capacity. false: of them, those without
    any excess until half a day after their last day. weeks: time in which announcements were possible. days, idle_days:
    announced days, and those of them without excess."""

    ratio: float
    is_sum: bool
    shortages: int
    announced: int
    announcements: int
    false: int
    weeks: float
    days: int
    idle_days: int


def announcements(services: Sequence[RealService]) -> Iterator[Announcements]:
    """Every service with every capacity."""
    load = np.stack([service.rate for service in services])
    hourly = _mean(load.reshape(len(load), -1, HOUR_POINTS))
    typical = np.median(np.nan_to_num(hourly[:, :168].reshape(len(load), 7, 24)).max(axis=2), axis=1)
    announced = np.zeros((len(CAPACITY_RATIOS), len(load), len(ORIGINS_HOURS)), bool)
    for column, hour in enumerate(ORIGINS_HOURS):
        quantiles = load_quantiles(load[:, : hour * HOUR_POINTS])
        for place, ratio in enumerate(CAPACITY_RATIOS):
            for row in range(len(load)):
                forecast = LoadForecast(
                    Subject(None, ""),
                    LoadKind.TOKENS,
                    hour * 3600.0,
                    quantiles.p10[row],
                    quantiles.p50[row],
                    quantiles.p90[row],
                    load[row, : hour * HOUR_POINTS][-WEEK_POINTS:],
                    safe=ratio * typical[row],
                )
                found = shortage(forecast)
                announced[place, row, column] = found is not None and found.at < (hour + AHEAD_HOURS) * 3600
    for place, ratio in enumerate(CAPACITY_RATIOS):
        for row, service in enumerate(services):
            excess = hourly[row] > ratio * typical[row]
            yield _judged(ratio, service.is_sum, excess, announced[place, row])


def _judged(ratio: float, is_sum: bool, excess: Floats, announced: Floats) -> Announcements:
    hours = np.array(ORIGINS_HOURS)
    starts = [hour for hour in np.flatnonzero(excess).tolist() if not excess[max(0, hour - QUIET_HOURS) : hour].any()]
    counted = [hour for hour in starts if hour >= FIRST_HOUR]
    hits = sum(
        bool(announced[(hours >= hour - AHEAD_HOURS) & (hours <= hour - LATEST_HOURS)].any()) for hour in counted
    )
    edges = np.flatnonzero(np.diff(np.concatenate([[0], announced.astype(int), [0]])))
    runs = list(zip(hours[edges[::2]].tolist(), hours[edges[1::2] - 1].tolist(), strict=True))
    judged = [(first, last + AHEAD_HOURS + GRACE_HOURS) for first, last in runs]
    false = sum(not excess[first:end].any() for first, end in judged if end <= len(excess))
    weeks = (len(excess) - ORIGINS_HOURS[0]) / 168
    daily = [hour for hour in hours[announced].tolist() if (hour - hours[0]) % 24 == 0]
    idle = sum(not excess[hour : hour + 24].any() for hour in daily)
    return Announcements(ratio, is_sum, len(counted), hits, len(runs), false, weeks, len(daily), idle)


def _mean(values: Floats) -> Floats:
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(known, values, 0.0).sum(axis=-1) / known.sum(axis=-1)
    return mean
