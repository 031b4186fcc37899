"""The headroom of each service and GPU pool over the forecast: its limiting kind of load, peak, and first shortage."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.capacity.shortage import LIMITED_KINDS, hourly_means
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import FORECAST_STEP_SECONDS, LoadForecast, LoadKind, Shortage, Subject
from foreshock_dashboard.model.types import Floats


class Peak(NamedTuple):
    """Highest hourly mean of each quantile's path within a time, in the unit of the load; NaN if unknown.

    at: Unix seconds at which the highest hour of the median begins. A single step exceeds the path of `p90` one time in
    ten; the peak of many steps exceeds its highest value more often.
    """

    p10: float
    p50: float
    p90: float
    at: float


@dataclass(frozen=True, slots=True)
class Headroom:
    """A service or pool. load: the kind that decides, by `LIMITED_KINDS`. now: its newest measured value.

    peak: that of the whole forecast. shortage: the first one of any kind; None without one.
    """

    subject: Subject
    load: LoadForecast
    now: float
    peak: Peak
    shortage: Shortage | None

    @property
    def urgency(self) -> tuple[float, float]:
        """Sort key: what has no capacity, the first shortage, then the highest peak; unknown limits come last."""
        if self.load.safe == 0:
            return -math.inf, 0.0
        ratio = -self.peak.p50 / self.load.safe
        return self.shortage.at if self.shortage else math.inf, math.inf if math.isnan(ratio) else ratio


def headrooms(forecast: CapacityForecast, now: float) -> tuple[Headroom, ...]:
    """Every service and pool with a forecast, the most urgent first. now: Unix seconds from which peaks count."""
    by_subject: dict[Subject, list[LoadForecast]] = {}
    for load in forecast.loads:
        by_subject.setdefault(load.subject, []).append(load)
    shortages: dict[Subject, Shortage] = {}
    for item in forecast.shortages:
        shortages.setdefault(item.subject, item)
    rows = []
    for subject, loads in by_subject.items():
        limiting = _limiting(loads)
        if limiting is not None:
            rows.append(_headroom(subject, limiting, shortages.get(subject), now))
    return tuple(sorted(rows, key=lambda row: row.urgency))


def peak_within(load: LoadForecast, now: float, seconds: float) -> Peak:
    """The peak of the hours that begin within `seconds` from `now` (Unix seconds), which is after the forecast's start.

    Hourly means count, as for shortages: a peak above the safe limit is a shortage, and none without one is above it.
    """
    return peaks_within(load, now, (seconds,))[0]


def peaks_within(load: LoadForecast, now: float, horizons: Iterable[float]) -> list[Peak]:
    """The same for several times, in seconds from `now`."""
    first = max(0, math.floor((now - load.start) / FORECAST_STEP_SECONDS))
    paths = [hourly_means(path)[first:] for path in (load.p10, load.p50, load.p90)]
    return [_peak(paths, seconds, load.start + first * FORECAST_STEP_SECONDS) for seconds in horizons]


def _peak(paths: list[Floats], seconds: float, start: float) -> Peak:
    """paths: hourly means of the three quantiles by step, from `start` (Unix seconds) on."""
    points = None if math.isinf(seconds) else max(1, math.ceil(seconds / FORECAST_STEP_SECONDS))
    p10, p50, p90 = (path[:points] for path in paths)
    if not np.isfinite(p50).any():
        return Peak(math.nan, math.nan, math.nan, math.nan)
    at = start + FORECAST_STEP_SECONDS * int(np.nanargmax(p50))
    return Peak(float(np.fmax.reduce(p10)), float(np.nanmax(p50)), float(np.fmax.reduce(p90)), at)


def hourly_peaks(values: Floats, start: float) -> Floats:
    """Highest hourly mean that begins in each full hour of UTC, from that of `start` (Unix seconds) on; NaN if unknown.

    values: by step.
    """
    peaks: Floats = hourly_means(values)[hourly_peak_steps(values, start)]
    return peaks


def hourly_peak_steps(values: Floats, start: float) -> NDArray[np.intp]:
    """The steps at which these hours begin."""
    per_hour = round(3600.0 / FORECAST_STEP_SECONDS)
    before = round(start % 3600.0 / FORECAST_STEP_SECONDS)
    padded = np.full(-(-(before + len(values)) // per_hour) * per_hour, -math.inf)
    padded[before : before + len(values)] = np.nan_to_num(hourly_means(values), nan=-math.inf)
    hours = padded.reshape(-1, per_hour)
    steps: NDArray[np.intp] = hours.argmax(axis=1) + per_hour * np.arange(len(hours)) - before
    return np.maximum(steps, 0)


def _limiting(loads: list[LoadForecast]) -> LoadForecast | None:
    """The load whose limit decides: the first of `LIMITED_KINDS` with a known one; None for a pool without any."""
    limited = [load for load in loads if load.kind in LIMITED_KINDS and load.safe >= 0]
    if limited:
        return min(limited, key=lambda load: LIMITED_KINDS.index(load.kind))
    if loads[0].subject.service is None:
        return None
    return min(loads, key=lambda load: list(LoadKind).index(load.kind))


def _headroom(subject: Subject, load: LoadForecast, shortage: Shortage | None, at: float) -> Headroom:
    known = load.history[np.isfinite(load.history)]
    now = float(known[-1]) if len(known) else math.nan
    return Headroom(subject, load, now, peak_within(load, at, math.inf), shortage)
