"""First time at which forecast load exceeds its safe limit, and the replicas that prevent it."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.analysis.capacity.seasonal import DAY_POINTS, HOUR_POINTS
from foreshock_dashboard.model.capacity.load import LoadForecast, LoadKind, Shortage, ShortageBasis
from foreshock_dashboard.model.types import Bools, Floats

LIMITED_KINDS = (LoadKind.TOKENS, LoadKind.REQUESTS, LoadKind.GPU_QUOTA)
"""Kinds whose limit is a shortage, the most direct first. Busy GPUs alone are none: a batch job may use them all. Nor
is a full KV cache: servers that cache prefixes fill it by design."""
Z_OF_BAND = 1.2816
"""Standard deviations between the middle and an end of the 80% band."""
APART_POINTS = DAY_POINTS // 2
"""Steps by which the median may exceed the limit later than on the day before, and still decide."""


def shortage(load: LoadForecast) -> Shortage | None:
    """The first shortage of a forecast; None without one, or where the limit is unknown.

    Either the median exceeds the limit, or load did in the last seven days: on real weeks, peaks of the last days
    predict the next peak better than any path of medians, which hides bursts. Hourly means count, because a peak of
    minutes is a burst, which safe limits already allow for.
    """
    if load.kind not in LIMITED_KINDS or not load.safe > 0:
        return None
    low, median, high = (hourly_means(values) for values in (load.p10, load.p50, load.p90))
    past = hourly_means(load.history)
    expected, again = first_step(median > load.safe), _recent(past > load.safe)
    if expected is not None and (again is None or expected < again + APART_POINTS):
        at, basis = expected, ShortageBasis.FORECAST
    elif again is not None:
        at, basis = again, ShortageBasis.RECENT
    else:
        return None
    peak, peak_at = _peak(median, at)
    if again is not None and np.nanmax(past) > peak:
        peak, peak_at = float(np.nanmax(past)), again
    times = load.times
    earliest, latest = (first_step(values > load.safe) for values in _widened(low, median, high, load.safe_error))
    band = (math.nan, math.nan)
    if basis is ShortageBasis.FORECAST:
        first = at if earliest is None else min(earliest, at)
        band = float(times[first]), math.inf if latest is None else float(times[max(latest, at)])
    return Shortage(
        subject=load.subject,
        kind=load.kind,
        at=float(times[at]),
        earliest=band[0],
        latest=band[1],
        peak=peak,
        peak_at=float(times[peak_at]),
        safe=load.safe,
        replicas=missing_replicas(load, peak),
        ready=load.ready,
        room=load.room,
        provisioning_seconds=load.provisioning_seconds,
        basis=basis,
        max_replicas=load.max_replicas,
    )


def _peak(values: Floats, at: int) -> tuple[float, int]:
    """The highest value of the day from a step on, and its step; NaN without any."""
    day = values[at : at + DAY_POINTS]
    if not np.isfinite(day).any():
        return math.nan, at
    place = int(np.nanargmax(day))
    return float(day[place]), at + place


def _widened(low: Floats, median: Floats, high: Floats, safe_error: float) -> tuple[Floats, Floats]:
    """Upper and lower end of the 80% band of load, wider by the error of the limit that it is compared with.

    The ratio of two independent lognormal values has the squares of both spreads.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        up, down = (np.exp(np.hypot(np.log(wide), Z_OF_BAND * safe_error)) for wide in (high / median, median / low))
        return np.where(median > 0, median * up, high), np.where(median > 0, median / down, low)


def _recent(exceeded: Bools) -> int | None:
    """The step of the next day at the time at which load last began to exceed; None without any."""
    days = np.pad(exceeded, (-len(exceeded) % DAY_POINTS, 0)).reshape(-1, DAY_POINTS)
    last = np.flatnonzero(days.any(axis=1))
    return int(days[last[-1]].argmax()) if len(last) else None


def missing_replicas(load: LoadForecast, peak: float) -> int:
    """Replicas to add to those ready so that a peak stays within the safe limit; GPUs to add to a pool. At least 1."""
    replicas, ready = (1.0 if math.isnan(value) else value for value in (load.replicas, load.ready))
    needed = math.ceil(replicas * peak / load.safe - 1e-9)
    return max(1, needed - math.floor(ready))


def hourly_means(values: Floats) -> Floats:
    """Mean of the hour from each step on; shorter at the end."""
    ahead = np.concatenate([values, np.full(HOUR_POINTS - 1, np.nan)])
    windows = np.lib.stride_tricks.sliding_window_view(ahead, HOUR_POINTS)
    known = np.isfinite(windows)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Floats = np.where(known, windows, 0.0).sum(axis=1) / known.sum(axis=1)
    return means


def first_step(exceeds: Bools) -> int | None:
    """First step that exceeds; None without one."""
    places = np.flatnonzero(exceeds)
    return int(places[0]) if len(places) else None
