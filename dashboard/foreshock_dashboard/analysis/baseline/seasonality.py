"""Growth that comes at this time every week or every day is nobody's doing.

A baseline of the last two hours takes every morning for a surge. So of the same time of earlier weeks, or of earlier
days while there are no two weeks, it is asked by how much load had grown then over the two hours before. Seasonal
baselines keep bins of median and MAD for each hour of the week; here their medians are taken from what the source still
holds, so that nothing has to be kept and every hub gets the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from foreshock_dashboard.model.seasonality import BIN_SECONDS, UNKNOWN_SEASONALITY, Seasonality
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.robust import median

WEEKS = (7, 14, 21, 28)
"""How many days ago the same time of the week was."""
DAYS = (1, 2, 3, 4, 5, 6, 7)
"""The same of the same time of the day."""
ENOUGH = (2, 3)
"""Of how many of the weeks, and of the days, growth has to be known: what happened once is no habit."""
BEFORE = 8
"""Bins before a bin that its growth is over: two hours, as baselines are."""
LEAST = 5
"""How many of these have to be known."""
AROUND = 1
"""Bins before and after that count as well: who comes at nine may come at ten to."""
HABIT = 1.15
"""Growth from which it is a habit; less is none."""
MOST = 10.0
"""Growth that is believed at most."""

Past = Mapping[Service, Floats]
"""Requests per second of services, shape (bins,), NaN where nothing is known: of bins in a row that are asked about,
`BEFORE` before them, and `AROUND` behind."""


def season(times: Floats, pasts: Mapping[int, Past]) -> Seasonality:
    """What is usual in some bins in a row.

    Args:
        times: when they begin, Unix seconds.
        pasts: by how many days ago (`WEEKS` and `DAYS`), what services were asked then.
    """
    services = sorted({service for past in pasts.values() for service in past})
    if not services or not len(times):
        return UNKNOWN_SEASONALITY
    grown = {ago: _growth([past.get(who) for who in services], len(times)) for ago, past in pasts.items()}
    usual = np.full((len(services), len(times)), np.nan)
    for lags, enough in zip((DAYS, WEEKS), reversed(ENOUGH), strict=True):  # weeks take the place of days
        seen = [grown[ago] for ago in lags if ago in grown]
        if len(seen) >= enough:
            usual = np.where(np.isnan(found := _habit(np.stack(seen), enough)), usual, found)
    return Seasonality({who: row for row, who in enumerate(services)}, times, usual)


def _growth(rates: Sequence[Floats | None], bins: int) -> Floats:
    """How many times as much as in the bins before was asked in each bin, or in one beside it; shape (rows, bins)."""
    nothing = np.full(BEFORE + bins + AROUND, np.nan)
    known = np.stack([nothing if each is None else each for each in rates])
    found = np.full((len(rates), bins), np.nan)
    for column in range(bins):
        before, at = known[:, column : column + BEFORE], column + BEFORE
        level = median(before)
        level[np.isfinite(before).sum(axis=1) < LEAST] = np.nan
        lately = known[:, at - AROUND : at + AROUND + 1]
        now = np.fmax.reduce(lately - np.sqrt(lately / BIN_SECONDS), axis=1)  # the largest of three is high by chance
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            found[:, column] = np.where(level > 0, now / level, np.nan)
    believed: Floats = np.clip(found, 1.0, MOST)
    return believed


def _habit(seen: Floats, enough: int) -> Floats:
    """The lower median of what was seen, shape (lags, rows, bins), where that is often enough."""
    count = np.isfinite(seen).sum(axis=0)
    ranked = np.sort(seen, axis=0)  # NaN behind
    middle = np.maximum(count - 1, 0) // 2
    found: Floats = np.take_along_axis(ranked, middle[None], axis=0)[0]
    return np.where(count >= enough, np.where(found >= HABIT, found, 1.0), np.nan)


def begins(start: float, end: float) -> Floats:
    """When the bins begin in which `start` to `end` (Unix seconds) lie."""
    return np.arange(np.floor(start / BIN_SECONDS), np.floor(end / BIN_SECONDS) + 1) * BIN_SECONDS
