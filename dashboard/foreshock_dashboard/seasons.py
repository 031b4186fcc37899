"""What is usual at a time of the week, read from what a source holds of earlier weeks."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from foreshock_dashboard.analysis.rows import service_of
from foreshock_dashboard.analysis.season import AROUND, BEFORE, DAYS, WEEKS, Past, begins, season
from foreshock_dashboard.model.query import Floats, MetricSource, SourceError
from foreshock_dashboard.model.reading import Reading
from foreshock_dashboard.model.season import BIN, DAY, UNKNOWN
from foreshock_dashboard.model.world import World
from foreshock_dashboard.sources.observer import answer

log = logging.getLogger(__name__)

LAGS = tuple(sorted({*WEEKS, *DAYS}))
"""Days ago that are read."""
WINDOW = BIN - 1.0
"""Seconds over which requests of a bin are counted, off multiples of scrape intervals."""


class Seasons:
    """Tells a World what was usual at its times. Not thread-safe.

    The bin after the World's last is read as well: so when it begins it is known already, and a source that takes long
    to find what is old holds nobody up.

    catalogue: what is asked for at grid points so many seconds apart. begin: Unix seconds before which the source holds
    nothing, where that is known. patient: ask for one day at each call, but for times that have come already.
    """

    def __init__(
        self,
        source: MetricSource,
        catalogue: Callable[[float], Mapping[str, Reading]],
        begin: float = -math.inf,
        *,
        patient: bool = False,
    ) -> None:
        self._source = source
        self._served = catalogue(WINDOW)["served"]
        self._begin = begin
        self._patient = patient
        self._known = UNKNOWN
        self._times: Floats = np.empty(0)
        self._until = -math.inf
        self._reading: Iterator[None] = iter(())
        self._silent = False

    def told(self, world: World) -> World:
        """The World with what is usual at its times. A source that cannot tell of earlier weeks costs only that."""
        if not len(world.times):
            return world
        times = begins(float(world.times[0]), world.time + BIN)
        if not np.array_equal(times, self._times):
            self._times, self._reading = times, self._read(times)
        for _ in self._reading:
            if self._patient and world.time < self._until:
                break
        return replace(world, season=self._known)

    def _read(self, times: Floats) -> Iterator[None]:
        """Read what was asked in earlier weeks, one day at each step; what is usual is known at the end."""
        first, last = float(times[0]) - (BEFORE - 1) * BIN, float(times[-1]) + (1 + AROUND) * BIN
        pasts: dict[int, Past] = {}
        for ago in LAGS:
            if last - ago * DAY > self._begin:
                pasts[ago] = self._past(first - ago * DAY, last - ago * DAY)
                yield
        self._known = season(times, {ago: past for ago, past in pasts.items() if past})
        self._until = float(times[-1]) + BIN

    def _past(self, first: float, last: float) -> Past:
        """What services were asked in bins that end at `first`, … `last`, Unix seconds."""
        try:
            found = answer(self._source, self._served, first, last, BIN)
        except SourceError as error:
            if not self._silent:
                log.warning("what is usual at this time of the week is not known: %s", error)
            self._silent = True
            return {}
        named = ((service_of(dict(labels)), values) for labels, values in zip(found.labels, found.values, strict=True))
        return {service: values for service, values in named if service is not None}
