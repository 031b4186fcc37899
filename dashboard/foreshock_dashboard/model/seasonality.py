"""How load usually grows at a time of the week: what yesterday and last week were like at this hour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

DAY = 86_400.0
BIN = 900.0
"""Seconds of a bin; bins begin at multiples of it since the epoch."""


class Habit(NamedTuple):
    """How many times as much as in the two hours before is usual, 1 or more, and since when: Unix seconds."""

    growth: float
    since: float


class Season(NamedTuple):
    """How many times as much each service is asked in a bin as in the two hours before it, going by earlier weeks.

    rows: of services. times: when bins begin, Unix seconds, ascending. growth: shape (services, bins), 1 or more; NaN
    where too little is known.
    """

    rows: Mapping[Service, int]
    times: Floats
    growth: Floats

    def of(self, service: Service, time: float) -> Habit:
        """What a service is used to at a time (Unix seconds); a growth of 1 where that is not known.

        Growth of the bin before counts as well: a baseline ends some minutes before now.
        """
        row = self.rows.get(service)
        column = int(np.searchsorted(self.times, time, side="right")) - 1
        if row is None or column < 0 or time >= self.times[column] + BIN:
            return Habit(1.0, time)
        grown = np.nan_to_num(self.growth[row, : column + 1], nan=1.0) > 1.0
        calm = np.flatnonzero(~grown[:column]) if grown[column] else np.flatnonzero(~grown[: max(0, column - 1)])
        first = int(calm[-1]) + 1 if len(calm) else 0
        growth = float(np.fmax.reduce(self.growth[row, max(0, column - 1) : column + 1]))
        return Habit(growth, float(self.times[min(first, column)])) if growth > 1.0 else Habit(1.0, time)


UNKNOWN = Season({}, np.empty(0), np.empty((0, 0)))
"""Nothing is known of earlier weeks."""
