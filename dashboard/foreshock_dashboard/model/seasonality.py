"""Seasonal growth of load, by time of the week."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

DAY_SECONDS = 86_400.0
BIN_SECONDS = 900.0
"""Width of a bin; bins are aligned to the epoch."""


class SeasonalGrowth(NamedTuple):
    """Normal load over the load of the two hours before, at least 1, and since when (Unix seconds)."""

    growth: float
    since: float


class Seasonality(NamedTuple):
    """Load of each service in a bin over its load of the two hours before, learned from earlier weeks.

    rows: row of each service. times: start of each bin, Unix seconds, ascending. growth: shape (services, bins), at
    least 1; NaN with too little history.
    """

    rows: Mapping[Service, int]
    times: Floats
    growth: Floats

    def of(self, service: Service, time: float) -> SeasonalGrowth:
        """Seasonal growth of a service at a time (Unix seconds); 1 where unknown.

        The bin before counts as well, because a baseline ends some minutes before now.
        """
        row = self.rows.get(service)
        column = int(np.searchsorted(self.times, time, side="right")) - 1
        if row is None or column < 0 or time >= self.times[column] + BIN_SECONDS:
            return SeasonalGrowth(1.0, time)
        growth = float(np.fmax.reduce(self.growth[row, max(0, column - 1) : column + 1]))
        if not growth > 1.0:
            return SeasonalGrowth(1.0, time)
        has_grown = np.nan_to_num(self.growth[row, : column + 1], nan=1.0) > 1.0
        flat = np.flatnonzero(~has_grown[: column if has_grown[column] else max(0, column - 1)])
        first = int(flat[-1]) + 1 if len(flat) else 0
        return SeasonalGrowth(growth, float(self.times[min(first, column)]))


UNKNOWN_SEASONALITY = Seasonality({}, np.empty(0), np.empty((0, 0)))
"""Without history of earlier weeks."""
