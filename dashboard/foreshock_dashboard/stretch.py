"""A stretch of the past as a World, read piece by piece."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from foreshock_dashboard.analysis.condensing import Condenser
from foreshock_dashboard.analysis.world import GrowingWorld
from foreshock_dashboard.model.cut import cut, weight
from foreshock_dashboard.model.query import MetricSource
from foreshock_dashboard.model.reading import Reading
from foreshock_dashboard.model.world import World
from foreshock_dashboard.sources.observer import Observer

Pieces = Callable[[float], Iterator[World]]
"""The World as it grows up to a time, going on where it ended the last time; nothing while the source holds nothing."""


def pieces(
    source: MetricSource, catalogue: Mapping[str, Reading], step: float, start: float, room: float, *, simulated: bool
) -> Pieces:
    """Reads a source from `start` on at grid points `step` seconds apart; the World takes `room` bytes at most."""
    observer = Observer(source, catalogue, step, Condenser(), keep=math.inf, begin=lambda _: start)
    growing, known = GrowingWorld(step, dtype=np.float32, room=room), False

    def read(end: float) -> Iterator[World]:
        nonlocal known
        for piece in observer.pieces(end):
            world = growing.add(piece, observer.missing())
            known = known or any(map(len, piece.values()))
            if known:
                yield replace(world, simulated=True) if simulated else world

    return read


class Stretch:
    """What was read of a stretch; it is read on when more of it is asked for. Thread-safe."""

    def __init__(self, read: Pieces) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._world: World | None = None
        self._shown: tuple[float, float, World | None] | None = None

    def between(self, start: float, end: float) -> World | None:
        """The World from one grid point to another; None where the source holds nothing of it.

        Raises:
            SourceError: the source cannot answer; what was read before is kept.
        """
        with self._lock:
            if self._shown is None or self._shown[:2] != (start, end):
                for world in self._read(end):
                    self._world = world
                self._shown = start, end, part(self._world, start, end)
            return self._shown[2]

    @property
    def weight(self) -> float:
        """Bytes, roughly."""
        return weight(self._world) if self._world else 0.0


def part(world: World | None, start: float, end: float) -> World | None:
    """The World from `start` to `end`; None where it has no grid point there."""
    if world is None or not ((world.times >= start) & (world.times <= end)).any():
        return None
    return cut(world, start, end)
