"""A stretch of the past as a World, read piece by piece."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from foreshock_dashboard.model.query import MetricSource
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_slice import nbytes, slice_world
from foreshock_dashboard.world.builder import WorldBuilder
from foreshock_dashboard.world.catalogue.row import CatalogueRow
from foreshock_dashboard.world.histogram_quantiles import QuantileReducer
from foreshock_dashboard.world.observer import Observer


class WorldRange:
    """The World from `start` on, at grid points `step` seconds apart, as far as it was read. Not thread-safe.

    room: bytes that it may take; where it would take more, its beginning is forgotten. tiers: of services, over what is
    told.
    """

    def __init__(
        self,
        source: MetricSource,
        catalogue: Mapping[str, CatalogueRow],
        step: float,
        start: float,
        room: float,
        *,
        simulated: bool,
        tiers: Mapping[Service, str],
    ) -> None:
        self.until = -math.inf
        self.world: World | None = None
        self._observer = Observer(source, catalogue, step, QuantileReducer(), keep=math.inf, begin=lambda _: start)
        self._growing = WorldBuilder(step, dtype=np.float32, max_bytes=room, tiers=tiers)
        self._simulated = simulated
        self._known = False
        self._first = -math.inf

    def pieces(self, end: float) -> Iterator[World]:
        """The World as it grows up to a time, from where it ended; nothing while the source holds nothing.

        Raises:
            SourceError: the source cannot answer; what was read before is kept.
        """
        for piece in self._observer.pieces(end):
            world = self._growing.add(piece, self._observer.missing())
            self._known = self._known or any(map(len, piece.values()))
            if self._known:
                self.world = replace(world, simulated=True) if self._simulated else world
                yield self.world
        if self.until == -math.inf and self.world:
            self._first = float(self.world.times[0])
        self.until = max(self.until, end)

    def covers(self, start: float, end: float) -> bool:
        """Whether it was read up to `end`, and is known from `start` on, if it ever was."""
        return self.until >= end and (self.world is None or float(self.world.times[0]) <= max(start, self._first))

    @property
    def weight(self) -> float:
        """Bytes, roughly."""
        return nbytes(self.world) if self.world else 0.0


def world_between(world: World | None, start: float, end: float) -> World | None:
    """The World from `start` to `end`; None where it has no grid point there."""
    if world is None or not ((world.times >= start) & (world.times <= end)).any():
        return None
    return slice_world(world, start, end)
