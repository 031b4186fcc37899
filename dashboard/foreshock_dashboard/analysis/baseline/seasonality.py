"""Seasonal growth of load, learned from the same time of earlier weeks or days.

A baseline of two hours takes every morning for a surge. So the growth over the two hours before is compared with the
growth at the same time of earlier weeks, or of earlier days with less than two weeks of history. The history comes
from the metrics source, so no state is kept and every hub gets the same result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world_sections import BIN_SECONDS, UNKNOWN_SEASONALITY, Seasonality
from foreshock_dashboard.stats.robust import median

WEEK_LAGS_DAYS = (7, 14, 21, 28)
"""Lags of the same time of the week, in days."""
DAY_LAGS_DAYS = (1, 2, 3, 4, 5, 6, 7)
"""Lags of the same time of the day, in days."""
MIN_LAGS = (2, 3)
"""Fewest weekly and daily lags with a known growth."""
LEVEL_BINS = 8
"""Number of bins in the level, the median before a bin: two hours, as for baselines."""
MIN_LEVEL_BINS = 5
"""Fewest known bins of the level."""
NEIGHBOR_BINS = 1
"""Bins on each side that count as well, because peaks move by minutes."""
MIN_GROWTH_RATIO = 1.15
"""Smallest growth that counts as seasonal."""
MAX_GROWTH_RATIO = 10.0
"""Cap of seasonal growth."""

RatesByService = Mapping[Service, Floats]
"""Requests per second by service, shape (bins,), NaN where unknown: consecutive bins, with `LEVEL_BINS` before and
`NEIGHBOR_BINS` after those in question."""


def seasonality(times: Floats, pasts: Mapping[int, RatesByService]) -> Seasonality:
    """Seasonal growth in consecutive bins.

    Args:
        times: start of each bin, Unix seconds.
        pasts: request rates by lag in days (`WEEK_LAGS_DAYS`, `DAY_LAGS_DAYS`).
    """
    services = sorted({service for past in pasts.values() for service in past})
    if not services or not len(times):
        return UNKNOWN_SEASONALITY
    growth = {lag: _growth([past.get(service) for service in services], len(times)) for lag, past in pasts.items()}
    baseline = np.full((len(services), len(times)), np.nan)
    week, day = MIN_LAGS
    for lags, min_lags in ((DAY_LAGS_DAYS, day), (WEEK_LAGS_DAYS, week)):  # weekly replaces daily growth
        known = [growth[lag] for lag in lags if lag in growth]
        if len(known) >= min_lags:
            typical = _typical(np.stack(known), min_lags)
            baseline = np.where(np.isnan(typical), baseline, typical)
    return Seasonality({service: row for row, service in enumerate(services)}, times, baseline)


def _growth(rates: Sequence[Floats | None], bins: int) -> Floats:
    """Rate of each bin, or of the highest neighbor, over the level before it; shape (rows, bins)."""
    nothing = np.full(LEVEL_BINS + bins + NEIGHBOR_BINS, np.nan)
    known = np.stack([nothing if rate is None else rate for rate in rates])
    growth = np.full((len(rates), bins), np.nan)
    for column in range(bins):
        before, at = known[:, column : column + LEVEL_BINS], column + LEVEL_BINS
        level = median(before)
        level[np.isfinite(before).sum(axis=1) < MIN_LEVEL_BINS] = np.nan
        around = known[:, at - NEIGHBOR_BINS : at + NEIGHBOR_BINS + 1]
        now = np.fmax.reduce(around - np.sqrt(around / BIN_SECONDS), axis=1)  # less noise: the largest of three
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            growth[:, column] = np.where(level > 0, now / level, np.nan)
    capped: Floats = np.clip(growth, 1.0, MAX_GROWTH_RATIO)
    return capped


def _typical(growth: Floats, min_lags: int) -> Floats:
    """Lower median over lags of `growth`, shape (lags, rows, bins); NaN with fewer than `min_lags` known."""
    count = np.isfinite(growth).sum(axis=0)
    ranked = np.sort(growth, axis=0)  # NaN last
    middle = np.maximum(count - 1, 0) // 2
    median_growth: Floats = np.take_along_axis(ranked, middle[None], axis=0)[0]
    return np.where(count >= min_lags, np.where(median_growth >= MIN_GROWTH_RATIO, median_growth, 1.0), np.nan)


def bin_starts(start: float, end: float) -> Floats:
    """Starts of the bins that cover `start` to `end` (Unix seconds)."""
    return np.arange(np.floor(start / BIN_SECONDS), np.floor(end / BIN_SECONDS) + 1) * BIN_SECONDS
