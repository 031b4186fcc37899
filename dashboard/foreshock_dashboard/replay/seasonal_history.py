"""What is usual at a time of the week, read from what a source holds of earlier weeks."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from foreshock_dashboard.analysis.baseline.seasonality import AROUND, BEFORE, DAYS, WEEKS, Past, begins, season
from foreshock_dashboard.model.query import MetricSource, SourceError
from foreshock_dashboard.model.seasonality import BIN_SECONDS, DAY_SECONDS, UNKNOWN_SEASONALITY
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.world.catalogue.row import CatalogueRow
from foreshock_dashboard.world.observer import fetch_reading
from foreshock_dashboard.world.row_math import service_of

log = logging.getLogger(__name__)

LAGS = tuple(sorted({*WEEKS, *DAYS}))
"""Days ago that are read."""
WINDOW = BIN_SECONDS - 1.0
"""Seconds over which requests of a bin are counted, off multiples of scrape intervals."""

Rates = Mapping[Service, float]
"""Requests per second of services in one bin."""


class SeasonalHistory:
    """Knows what is usual at the times that it was told to `cover`. One thread may cover while others ask.

    catalogue: what is asked for at grid points so many seconds apart.
    """

    def __init__(self, source: MetricSource, catalogue: Callable[[float], Mapping[str, CatalogueRow]]) -> None:
        self._source = source
        self._served = catalogue(WINDOW)["served"]
        self._known = UNKNOWN_SEASONALITY
        self._bins: dict[int, dict[float, Rates]] = {ago: {} for ago in LAGS}
        self._times: Floats = np.empty(0)
        self._failed: frozenset[int] = frozenset()

    def attach(self, world: World) -> World:
        """The World with what is usual at its times, as far as that is known."""
        return replace(world, season=self._known)

    def load(self, start: float, end: float) -> bool:
        """Read what was asked in earlier weeks at the times from `start` to `end`, Unix seconds; what was read before
        is not asked for again. Whether all of it could be read: a source that cannot tell costs only that.
        """
        times = begins(start, end)
        if np.array_equal(times, self._times) and not self._failed:
            return True
        wanted = np.concatenate(
            [times[0] - BIN_SECONDS * np.arange(BEFORE, 0, -1), times, times[-1:] + BIN_SECONDS * AROUND]
        )
        failed = frozenset(ago for ago in LAGS if not self._have(ago, (wanted - ago * DAY_SECONDS).tolist()))
        known = {ago: self._past(ago, (wanted - ago * DAY_SECONDS).tolist()) for ago in LAGS if ago not in failed}
        self._known = season(times, {ago: past for ago, past in known.items() if past})
        if new := failed - self._failed:
            log.warning("what is usual at this time of the week is not known of %s days ago", _listed(new))
        self._times, self._failed = times, failed
        return not failed

    def _have(self, ago: int, bins: list[float]) -> bool:
        """Read those of some bins that are missing, and forget others; whether the source could tell."""
        kept = self._bins[ago]
        self._bins[ago] = have = {begin: kept[begin] for begin in bins if begin in kept}
        missing = [begin for begin in bins if begin not in have]
        if missing:
            try:
                found = fetch_reading(
                    self._source, self._served, missing[0] + BIN_SECONDS, missing[-1] + BIN_SECONDS, BIN_SECONDS
                )
            except SourceError as error:
                log.debug("%d days ago: %s", ago, error)
                return False
            who = [service_of(dict(labels)) for labels in found.labels]
            for column, time in enumerate(found.times.tolist()):
                rates = zip(who, found.values[:, column].tolist(), strict=True)
                have[time - BIN_SECONDS] = {
                    service: rate for service, rate in rates if service is not None and rate == rate
                }
        return True

    def _past(self, ago: int, bins: list[float]) -> Past:
        have = [self._bins[ago].get(begin, {}) for begin in bins]
        services = {service for rates in have for service in rates}
        return {service: _row([rates.get(service, math.nan) for rates in have]) for service in services}


def _row(rates: list[float]) -> Floats:
    return np.array(rates, np.float64)


def _listed(days: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(days)))
