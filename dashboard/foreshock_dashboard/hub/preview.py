"""Preview: the newest values of a source while the first evaluation reads its history, which may take minutes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from foreshock_dashboard.model.query import LimitError, MetricSource, SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.world.builder import WorldBuilder
from foreshock_dashboard.world.histogram_quantiles import QuantileReducer
from foreshock_dashboard.world.observer import Observer, align_down
from foreshock_dashboard.world.row import Catalog

PREVIEW_POINTS = 12
"""Grid points of a preview: two minutes of most platforms."""


class Preview:
    """Grows with each new grid point until the first evaluation ends.

    Args:
        catalog, step: those of the evaluations.
        tiers: tiers of services, over those in the samples.
        now: Unix seconds up to which the samples have arrived.
    """

    def __init__(
        self,
        source: MetricSource,
        catalog: Catalog,
        step: float,
        tiers: Mapping[Service, str],
        now: Callable[[], float],
    ) -> None:
        seconds = (PREVIEW_POINTS - 1) * step
        self._observer = Observer(source, catalog, step, QuantileReducer(), begin=lambda end: end - seconds)
        self._builder = WorldBuilder(step, dtype=np.float32, tiers=tiers)
        self._step, self._now = step, now
        self._world: World | None = None
        self._failed = False

    def newer(self) -> World | None:
        """The World with the newest grid point; None if there is no newer one, or the source fails.

        After a failure there is none: the evaluation reports it.

        Raises:
            SourceError: the source is overloaded or broken: it gets no more requests.
        """
        now = self._now()
        if self._failed or (self._world and align_down(now, self._step) <= self._world.time):
            return None
        try:
            for readings in self._observer.pieces(now):
                self._world = self._builder.add(readings, self._observer.missing())
        except SourceError as error:
            self._failed = True
            if error.is_transient and not isinstance(error, LimitError):
                raise
            return None
        return self._world
