"""The headroom of each service and GPU pool over the forecast: its limiting kind of load, peak, and first shortage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.capacity.shortage import LIMITED_KINDS
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import FORECAST_STEP_SECONDS, LoadForecast, LoadKind, Shortage, Subject
from foreshock_dashboard.model.types import Floats


class Peak(NamedTuple):
    """The highest median load within a time: quantiles in the unit of the load, at Unix seconds; NaN if unknown."""

    p10: float
    p50: float
    p90: float
    at: float


@dataclass(frozen=True, slots=True)
class Headroom:
    """A service or pool. load: the kind that comes closest to its safe limit. now: its newest measured value.

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


def headrooms(forecast: CapacityForecast) -> tuple[Headroom, ...]:
    """Every service and pool with a forecast, the most urgent first."""
    by_subject: dict[Subject, list[LoadForecast]] = {}
    for load in forecast.loads:
        by_subject.setdefault(load.subject, []).append(load)
    shortages: dict[Subject, Shortage] = {}
    for item in forecast.shortages:
        shortages.setdefault(item.subject, item)
    rows = []
    for subject, loads in by_subject.items():
        shortage = shortages.get(subject)
        limiting = _limiting(loads, shortage)
        if limiting is not None:
            rows.append(_headroom(subject, limiting, shortage))
    return tuple(sorted(rows, key=lambda row: row.urgency))


def peak_within(load: LoadForecast, seconds: float) -> Peak:
    """The peak within a time from the start of the forecast."""
    points = len(load.p50) if math.isinf(seconds) else max(1, math.ceil(seconds / FORECAST_STEP_SECONDS))
    p50 = load.p50[:points]
    if not np.isfinite(p50).any():
        return Peak(math.nan, math.nan, math.nan, math.nan)
    place = int(np.nanargmax(p50))
    return Peak(float(load.p10[place]), float(p50[place]), float(load.p90[place]), float(load.times[place]))


def hourly_maxima(values: Floats, start: float) -> Floats:
    """Maximum of each hour, aligned to full hours of UTC from that of `start` (Unix seconds) on; NaN if unknown."""
    per_hour = round(3600.0 / FORECAST_STEP_SECONDS)
    before = round(start % 3600.0 / FORECAST_STEP_SECONDS)
    padded = np.full(-(-(before + len(values)) // per_hour) * per_hour, np.nan)
    padded[before : before + len(values)] = values
    maxima: Floats = np.fmax.reduce(padded.reshape(-1, per_hour), axis=1)
    return maxima


def _limiting(loads: list[LoadForecast], shortage: Shortage | None) -> LoadForecast | None:
    """The load of a shortage, else the one that may come closest to its limit; None for a pool without a limit.

    Of the two measures of one load, tokens and requests, tokens decide, as for shortages.
    """
    kinds = {load.kind for load in loads if load.safe >= 0}
    limited = [
        load
        for load in loads
        if load.kind in LIMITED_KINDS
        and load.safe >= 0
        and not (load.kind is LoadKind.REQUESTS and LoadKind.TOKENS in kinds)
    ]
    if limited:
        return max(limited, key=lambda load: (shortage is not None and load.kind == shortage.kind, _usage(load)))
    if loads[0].subject.service is None:
        return None
    return min(loads, key=lambda load: list(LoadKind).index(load.kind))


def _headroom(subject: Subject, load: LoadForecast, shortage: Shortage | None) -> Headroom:
    known = load.history[np.isfinite(load.history)]
    now = float(known[-1]) if len(known) else math.nan
    return Headroom(subject, load, now, peak_within(load, math.inf), shortage)


def _usage(load: LoadForecast) -> float:
    """The highest upper bound over the safe limit; -1 where it is unknown."""
    known = load.p90[np.isfinite(load.p90)]
    return float(known.max()) / load.safe if len(known) and load.safe > 0 else math.inf if len(known) else -1.0
