"""Shortages of peak hours: which are announced twelve hours before and at what time, and which announcements are false.

The capacity of a service is a multiple of its typical peak: the median of the highest hourly means of the first seven
days. So some services are short every day, some never, and some once. Services without a typical peak are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.capacity.quantiles import load_quantiles
from foreshock_dashboard.analysis.capacity.seasonal import HOUR_POINTS, WEEK_POINTS
from foreshock_dashboard.analysis.capacity.shortage import hourly_means, shortage
from foreshock_dashboard.model.capacity.load import LoadForecast, LoadKind, Shortage, Subject
from foreshock_dashboard.model.types import Bools, Floats
from foreshock_evaluation.capacity.servegen import POINTS, RealService

METHODS = ("foreshock", "median alone", "any of the last 7 days", "the last day")
"""Announcements of foreshock, of its median without the last week, and of load above the limit in the last days."""
CAPACITY_RATIOS = (0.8, 1.0, 1.25, 1.6, 2.0)
"""Safe load over the typical peak."""
HOURS = POINTS // HOUR_POINTS
ORIGINS_HOURS = range(156, HOURS - 12, 6)
"""Hours at which forecasts are made: from half a day before the second week on, every six hours."""
AHEAD_HOURS, LATEST_HOURS = 24, 12
"""A shortage is announced if a forecast between these hours before says that load exceeds the limit within a day."""
TIMED_HOURS = 3
"""Hours by which the announced time may differ from that of the shortage."""
QUIET_HOURS = 12
"""Hours without excess after which a shortage is a new one."""
GRACE_HOURS = 12
"""Hours after the announced day in which a shortage still makes the announcement true."""
FIRST_HOUR = ORIGINS_HOURS[0] + AHEAD_HOURS
WEEK_HOURS = 168
NO_HISTORY = np.full(WEEK_POINTS, np.nan)


class Announcements(NamedTuple):
    """Of one method for one service with one capacity.

    shortages: those that could be announced; announced: of them, those that were; timed: of these, at about their time.
    days: announced days; idle_days: of them, those without excess; unjudged_days: further ones, with gaps and without
    excess in what is known. false: announcements without any excess until half a day after their last day, or to the
    end of the data; open: of these, those that the data do not cover to their end. weeks: time in which announcements
    were possible. early, inside, late: forecasts whose first excess is before, in, or after the 80% band of its time.
    """

    method: str
    ratio: float
    is_sum: bool
    shortages: int
    announced: int
    timed: int
    days: int
    idle_days: int
    unjudged_days: int
    false: int
    open: int
    weeks: float
    early: int = 0
    inside: int = 0
    late: int = 0


def announcements(services: Sequence[RealService]) -> Iterator[Announcements]:
    """Every method for every service with every capacity."""
    load = np.stack([service.rate for service in services])
    hourly = _mean(load.reshape(len(load), -1, HOUR_POINTS))
    typical = np.median(np.nan_to_num(hourly[:, :WEEK_HOURS].reshape(len(load), 7, 24)).max(axis=2), axis=1)
    shape = (len(CAPACITY_RATIOS), len(load), len(ORIGINS_HOURS))
    at, bands = np.full((len(METHODS), *shape), np.nan), np.full((*shape, 2), np.nan)
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
                alone, excess = shortage(replace(forecast, history=NO_HISTORY)), hourly[row, :hour] > forecast.safe
                past = (hour + _again(excess[-hours:]) for hours in (hour // 24 * 24, 24))
                at[:, place, row, column] = (_hours(shortage(forecast)), _hours(alone), *past)
                if alone:
                    bands[place, row, column] = alone.earliest / 3600, alone.latest / 3600
    at[at >= np.array(ORIGINS_HOURS) + AHEAD_HOURS] = np.nan
    for place, ratio in enumerate(CAPACITY_RATIOS):
        for row, service in enumerate(services):
            if not typical[row] > 0:
                continue
            safe = ratio * typical[row]
            for method, announced_at in zip(METHODS, at[:, place, row], strict=True):
                found = judged(
                    method,
                    ratio,
                    service.is_sum,
                    np.where(np.isnan(hourly[row]), np.nan, hourly[row] > safe),
                    announced_at,
                )
                if method == "median alone":
                    scores = band_scores(hourly_means(load[row]) > safe, bands[place, row])
                    found = found._replace(early=scores[0], inside=scores[1], late=scores[2])
                yield found


def judged(method: str, ratio: float, is_sum: bool, excess: Floats, at: Floats) -> Announcements:
    """Compare announcements with what came.

    excess: by hour, 1 above the limit, 0 below it, NaN without data. at: announced hour by origin, NaN without one.
    """
    hours, announced, exceeds = np.array(ORIGINS_HOURS), np.isfinite(at), excess == 1
    starts = [hour for hour in np.flatnonzero(exceeds).tolist() if not exceeds[max(0, hour - QUIET_HOURS) : hour].any()]
    counted = [hour for hour in starts if hour >= FIRST_HOUR]
    before = [at[(hours >= hour - AHEAD_HOURS) & (hours <= hour - LATEST_HOURS)] for hour in counted]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], announced.astype(int), [0]])))
    ends = hours[edges[1::2] - 1] + AHEAD_HOURS + GRACE_HOURS
    false = [end for first, end in zip(hours[edges[::2]], ends, strict=True) if not exceeds[first:end].any()]
    days = [excess[hour : hour + 24] for hour in hours[announced].tolist() if (hour - hours[0]) % 24 == 0]
    idle = [day for day in days if not (day == 1).any()]
    unjudged = sum(len(day) < 24 or bool(np.isnan(day).any()) for day in idle)
    return Announcements(
        method,
        ratio,
        is_sum,
        shortages=len(counted),
        announced=sum(bool(np.isfinite(times).any()) for times in before),
        timed=sum(
            bool((np.abs(times - hour) <= TIMED_HOURS).any()) for hour, times in zip(counted, before, strict=True)
        ),
        days=len(days) - unjudged,
        idle_days=len(idle) - unjudged,
        unjudged_days=unjudged,
        false=len(false),
        open=sum(end > len(excess) for end in false),
        weeks=(len(excess) - ORIGINS_HOURS[0]) / WEEK_HOURS,
    )


def band_scores(exceeds: Bools, bands: Floats) -> tuple[int, int, int]:
    """Number of forecasts whose first excess is before, in, and after the band of its time.

    Without any excess, only those count whose band, or whose seven days, the data cover.

    Args:
        exceeds: by step.
        bands: first and last hour by origin, shape (origins, 2); NaN without one.
    """
    early = inside = late = 0
    for hour, (earliest, latest) in zip(ORIGINS_HOURS, bands.tolist(), strict=True):
        places = np.flatnonzero(exceeds[hour * HOUR_POINTS :][:WEEK_POINTS])
        first = hour + float(places[0]) / HOUR_POINTS if len(places) else math.inf
        is_cut = math.isinf(first) and latest > HOURS and hour + WEEK_HOURS > HOURS
        if math.isfinite(earliest) and not is_cut:
            early += first < earliest
            late += first > latest
            inside += earliest <= first <= latest
    return early, inside, late


def _again(excess: Bools) -> float:
    """Hours until the next day reaches the time at which load last began to exceed; NaN if it did not."""
    days = excess.reshape(-1, 24)[-7:]
    last = np.flatnonzero(days.any(axis=1))
    return float(days[last[-1]].argmax()) if len(last) else math.nan


def _hours(found: Shortage | None) -> float:
    return found.at / 3600 if found else math.nan


def _mean(values: Floats) -> Floats:
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(known, values, 0.0).sum(axis=-1) / known.sum(axis=-1)
    return mean
