"""How load usually grows at a time of the week: what yesterday and last week were like at this hour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.query import Floats
from foreshock_dashboard.model.service import Service

DAY = 86_400.0
BIN = 900.0
"""Seconds of a bin; bins begin at multiples of it since the epoch."""


class Season(NamedTuple):
    """How many times as much each service is asked in a bin as in the two hours before it, going by earlier weeks.

    rows: of services. times: when bins begin, Unix seconds, ascending. growth: shape (services, bins), 1 or more; NaN
    where too little is known.
    """

    rows: Mapping[Service, int]
    times: Floats
    growth: Floats

    def of(self, service: Service, time: float) -> float:
        """The growth that a service is used to at a time (Unix seconds); 1 where that is not known."""
        row = self.rows.get(service)
        column = int(np.searchsorted(self.times, time, side="right")) - 1
        if row is None or column < 0 or time >= self.times[column] + BIN:
            return 1.0
        found = self.growth.item(row, column)
        return found if found == found else 1.0


UNKNOWN = Season({}, np.empty(0), np.empty((0, 0)))
"""Nothing is known of earlier weeks."""
