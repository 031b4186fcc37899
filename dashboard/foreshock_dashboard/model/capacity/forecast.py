"""Everything that is forecast for hours and days, at one instant."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from foreshock_dashboard.model.capacity.load import LoadForecast, LoadKind, Shortage, Subject
from foreshock_dashboard.model.capacity.slow_burn import SlowBurn, SlowBurnKey

MIN_HISTORY_HOURS = 24.0
"""Shortest history of a forecast. Less is too little to know a day."""


@dataclass(frozen=True, slots=True, eq=False)
class CapacityForecast:
    """Everything forecast at one instant; unknown values are left out, never 0. Equal only to itself.

    computed_at: Unix seconds; NaN before the first forecast. history_hours: longest history that any forecast rests
    on. With less than `MIN_HISTORY_HOURS` there are no loads. missing: kinds of load that no service reports.
    error: why the history could not be read when last tried, "" if it could; the forecast then is an older one.
    slow_burns_error: why some slow burns may be missing, or "". measured: what has values now, and so is no slow burn
    unless it is listed.
    loads: by service or pool, then kind. shortages, slow_burns: the earliest first.
    """

    computed_at: float = math.nan
    history_hours: float = 0.0
    missing: tuple[LoadKind, ...] = ()
    error: str = ""
    loads: tuple[LoadForecast, ...] = ()
    shortages: tuple[Shortage, ...] = ()
    slow_burns: tuple[SlowBurn, ...] = ()
    slow_burns_error: str = ""
    measured: frozenset[SlowBurnKey] = field(default=frozenset(), repr=False)

    @property
    def is_known(self) -> bool:
        """Whether there was enough history for forecasts."""
        return self.history_hours >= MIN_HISTORY_HOURS

    def load(self, subject: Subject, kind: LoadKind) -> LoadForecast | None:
        """The forecast of one kind of load; None if unknown."""
        return next((load for load in self.loads if (load.subject, load.kind) == (subject, kind)), None)
