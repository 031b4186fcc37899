"""First time at which forecast load exceeds its safe limit, and the replicas that prevent it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.capacity.seasonal import DAY_POINTS, HOUR_POINTS
from foreshock_dashboard.model.capacity.load import LoadForecast, LoadKind, Shortage
from foreshock_dashboard.model.types import Floats

LIMITED_KINDS = (LoadKind.TOKENS, LoadKind.REQUESTS, LoadKind.KV_CACHE, LoadKind.GPU_QUOTA)
"""Kinds whose limit is a shortage, the most direct first. Busy GPUs alone are none: a batch job may use them all."""
ANNOUNCED_SHARE = 0.5
"""How far from the median to the upper quantile (of logarithms) load must exceed the limit to be announced: about one
chance in four. Fewer peaks are missed than with the median,
and fewer announcements are false than with that."""


def shortage(load: LoadForecast) -> Shortage | None:
    """The first shortage of a forecast; None without one, or where the limit is unknown.

    Hourly means count, because a peak of minutes is a burst, which safe limits already allow for.
    """
    if load.kind not in LIMITED_KINDS or not load.safe > 0:
        return None
    low, median, high = (hourly_means(values) for values in (load.p10, load.p50, load.p90))
    with np.errstate(invalid="ignore", divide="ignore"):
        likely = median * np.nan_to_num((high / median) ** ANNOUNCED_SHARE, nan=1.0, posinf=1.0)
    first = _first(likely > load.safe)
    if first is None:
        return None
    day = slice(first, first + DAY_POINTS)
    at = _first(median[day] > load.safe)
    latest = _first(low > load.safe)
    peak = first + int(np.nanargmax(likely[day]))
    times = load.times
    return Shortage(
        subject=load.subject,
        kind=load.kind,
        at=float(times[first + (at or 0)]),
        earliest=float(times[min(first, _first(high > load.safe) or 0)]),
        latest=math.inf if latest is None else float(times[max(latest, first)]),
        peak=float(likely[peak]),
        peak_at=float(times[peak]),
        safe=load.safe,
        replicas=missing_replicas(load, float(likely[peak])),
        ready=load.ready,
        room=load.room,
        provisioning_seconds=load.provisioning_seconds,
    )


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


def _first(exceeds: NDArray[np.bool_]) -> int | None:
    """First step that exceeds; None without one."""
    places = np.flatnonzero(exceeds)
    return int(places[0]) if len(places) else None
