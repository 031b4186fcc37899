"""Seasonal baseline: the load of earlier days and weeks, read from the metrics source."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from foreshock_dashboard.analysis.baseline.seasonality import (
    DAY_LAGS_DAYS,
    LEVEL_BINS,
    NEIGHBOR_BINS,
    WEEK_LAGS_DAYS,
    RatesByService,
    bin_starts,
    seasonality,
)
from foreshock_dashboard.model.query import MetricSource, SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import BIN_SECONDS, DAY_SECONDS, UNKNOWN_SEASONALITY
from foreshock_dashboard.world.observer import fetch_catalog
from foreshock_dashboard.world.row import CatalogRow
from foreshock_dashboard.world.row_math import service_of

log = logging.getLogger(__name__)

LAGS = tuple(sorted({*WEEK_LAGS_DAYS, *DAY_LAGS_DAYS}))
"""Days ago that are read."""
WINDOW_SECONDS = BIN_SECONDS - 1.0
"""Rate window of a bin, which is no multiple of a scrape interval."""

Rates = Mapping[Service, float]
"""Requests per second of services in one bin."""


class SeasonalHistory:
    """The load of earlier days and weeks at the times passed to `load`. One thread loads while others attach.

    catalog: the catalog for a grid spacing in seconds.
    """

    def __init__(self, source: MetricSource, catalog: Callable[[float], Mapping[str, CatalogRow]]) -> None:
        self._source = source
        self._served = {"served": catalog(WINDOW_SECONDS)["served"]}
        self._seasonality = UNKNOWN_SEASONALITY
        self._bins: dict[int, dict[float, Rates]] = {days: {} for days in LAGS}
        self._times: Floats = np.empty(0)
        self._failed: frozenset[int] = frozenset()

    def attach(self, world: World) -> World:
        """The World with the seasonality of its times, as far as it is loaded."""
        return replace(world, season=self._seasonality)

    def load(self, start: float, end: float) -> bool:
        """Read the load of earlier days at the times from `start` to `end` (Unix seconds); cached bins are reused.

        Returns whether all of it could be read. A failed read costs only the days of that read.
        """
        times = bin_starts(start, end)
        if np.array_equal(times, self._times) and not self._failed:
            return True
        bins = np.concatenate(
            [times[0] - BIN_SECONDS * np.arange(LEVEL_BINS, 0, -1), times, times[-1:] + BIN_SECONDS * NEIGHBOR_BINS]
        )
        failed = frozenset(days for days in LAGS if not self._read(days, (bins - days * DAY_SECONDS).tolist()))
        pasts = {days: self._past(days, (bins - days * DAY_SECONDS).tolist()) for days in LAGS if days not in failed}
        self._seasonality = seasonality(times, {days: past for days, past in pasts.items() if past})
        if new := failed - self._failed:
            listed = ", ".join(map(str, sorted(new)))
            log.warning("no seasonal baseline from %s days ago", listed)
        self._times, self._failed = times, failed
        return not failed

    def _read(self, days: int, bins: list[float]) -> bool:
        """Read the missing bins and drop all others; whether the source could answer. bins: starts, Unix seconds."""
        cached = self._bins[days]
        self._bins[days] = rates_by_bin = {begin: cached[begin] for begin in bins if begin in cached}
        missing = [begin for begin in bins if begin not in rates_by_bin]
        if missing:
            try:
                answers, _ = fetch_catalog(
                    self._source, self._served, missing[0] + BIN_SECONDS, missing[-1] + BIN_SECONDS, BIN_SECONDS
                )
            except SourceError as error:
                log.debug("%d days ago: %s", days, error)
                return False
            matrix = answers["served"]
            services = [service_of(dict(labels)) for labels in matrix.labels]
            for column, time in enumerate(matrix.times.tolist()):
                rates = zip(services, matrix.values[:, column].tolist(), strict=True)
                rates_by_bin[time - BIN_SECONDS] = {
                    service: rate for service, rate in rates if service is not None and not math.isnan(rate)
                }
        return True

    def _past(self, days: int, bins: list[float]) -> RatesByService:
        """Requests per second of each service by bin, NaN where unknown."""
        rates_by_bin = [self._bins[days].get(begin, {}) for begin in bins]
        services = {service for rates in rates_by_bin for service in rates}
        return {service: np.array([rates.get(service, math.nan) for rates in rates_by_bin]) for service in services}
