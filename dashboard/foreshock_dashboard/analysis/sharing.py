"""Who has how much of the GPUs that services share, now and as usual."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.signals import RECENT, Scan
from foreshock_dashboard.model.query import Floats
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu, World

FULL = 0.9
"""Busy share from which a GPU's services contend for it; as the exporter counts contended time."""
WINDOW = 59.0
"""Seconds that a rate looks back where samples are close together."""
NOISE = 0.02
"""Share of a GPU below which a difference tells nothing."""
FEWEST = 3
"""Intervals between samples that a rate spans at least."""

Flags = NDArray[np.bool_]
Rows = NDArray[np.intp]
Key = TypeVar("Key", bound=Hashable)


class Sharing:
    """Tenants' parts of GPUs at one grid point of a scan. Arrays have a row per tenant, as the World's tenants.

    A part is a share of what all tenants of a GPU have together, times the more of what they have usually and now: a
    lost scrape takes from all alike and moves no part. A tenant without a baseline on a GPU whose others have one is
    new there: its usual part is nothing. NaN where a GPU has no baseline or tells nothing now.
    """

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        tenants = scan.world.tenants
        gpus, self._gpu = _numbered([tenant.gpu for tenant in tenants])
        self._places: Mapping[Gpu, int] = {gpu: place for place, gpu in enumerate(gpus)}
        services, self._service = _numbered([tenant.service for tenant in tenants])
        self.services: tuple[Service, ...] = services
        level = scan["busy"].level
        known = np.bincount(self._gpu, np.isfinite(level), len(gpus)) > 0
        self.usual: Floats = np.where(known[self._gpu], np.nan_to_num(level), np.nan)
        self._total = self._by_gpu(self.usual)

    def _by_gpu(self, values: Floats) -> Floats:
        return np.bincount(self._gpu, np.nan_to_num(values), len(self._places)).astype(np.float64)

    def by_service(self, values: Floats) -> Floats:
        """Sums over each service's tenants, in the order of `services`; NaN counts as nothing."""
        return np.bincount(self._service, np.nan_to_num(values), len(self.services)).astype(np.float64)

    def beside(self, some: Flags) -> Floats:
        """How many others of its GPU are among some tenants, for each tenant."""
        counted = some.astype(np.float64)
        return self._by_gpu(counted)[self._gpu] - counted

    @cached_property
    def rows(self) -> Mapping[Service, Rows]:
        """The rows of each service's tenants."""
        order = np.argsort(self._service, kind="stable")
        return dict(zip(self.services, np.split(order, _cuts(self._service, len(self.services))), strict=True))

    @cached_property
    def _on(self) -> Sequence[Rows]:
        order = np.argsort(self._gpu, kind="stable")
        return np.split(order, _cuts(self._gpu, len(self._places)))

    def on(self, gpu: Gpu) -> Rows:
        """The rows of the tenants of a GPU."""
        return self._on[self._places[gpu]]

    @cached_property
    def full(self) -> Flags:
        """Tenants whose GPU has no time left at one of the last points: a lost scrape does not free it."""
        columns = self.scan.world.busy[:, max(0, self.scan.at - RECENT + 1) : self.scan.at + 1].T
        totals = np.array([self._by_gpu(column) for column in columns]).reshape(-1, len(self._places))
        return np.asarray(totals.max(axis=0, initial=0.0)[self._gpu] >= FULL, dtype=bool)

    @cached_property
    def settled(self) -> Floats:
        """Parts over the window of the rates, as the last scrape told that came."""
        window = self.scan.world.busy[:, max(0, self.scan.at - RECENT + 1) : self.scan.at + 1]
        last = window[:, :1].copy()
        for column in window.T[1:]:
            last[:, 0] = np.where(self._by_gpu(column)[self._gpu] > 0, column, last[:, 0])
        return self._parts(last[:, 0]) if window.size else np.full(len(self._gpu), np.nan)

    @cached_property
    def now(self) -> Floats:
        """Parts now: those settled, or what the last two scrapes agree on where that is further from usual."""
        quick = self._nearer(self._newest(0), self._newest(1))
        a, b = self.settled - self.usual, quick - self.usual
        return np.where((a * b > 0) & (np.abs(b) > np.abs(a)), quick, self.settled)

    def _newest(self, back: int) -> Floats:
        """Parts in the last interval between two scrapes alone, `back` grid points ago.

        A rate r over a window of n intervals is their mean. So the newest is x(t) = x(t − n) + n·(r(t) − r(t − 1)),
        with r(t − n) for x(t − n): what changes in one step is seen in full at once, not after the window.
        """
        world, at = self.scan.world, self.scan.at - back
        if at < 1:
            return np.full(len(self._gpu), np.nan)
        intervals = max(FEWEST, math.floor(WINDOW / world.step))
        last, before, start = (self._parts(world.busy[:, max(0, i)]) for i in (at, at - 1, at - intervals))
        return np.asarray(np.clip(start + intervals * (last - before), 0.0, 1.0))

    def _parts(self, busy: Floats) -> Floats:
        total = self._by_gpu(busy)
        size = np.minimum(np.maximum(total, self._total), 1.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.where(total > 0, size / total, np.nan)
        return np.nan_to_num(busy) * scale[self._gpu]

    def _nearer(self, one: Floats, other: Floats) -> Floats:
        """The one nearer to what is usual; what is usual where they lie on different sides of it."""
        a, b = one - self.usual, other - self.usual
        return np.where(a * b > 0, self.usual + np.where(np.abs(a) < np.abs(b), a, b), self.usual)


def pool_of(world: World, gpus: Sequence[Gpu]) -> str:
    """The pool that all these GPUs are of; "" where nobody says, or where they are of several."""
    named = dict(zip(world.gpus, world.pool, strict=False))
    pools = {named.get(gpu, "") for gpu in gpus}
    return pools.pop() if len(pools) == 1 else ""


def _numbered(keys: Sequence[Key]) -> tuple[tuple[Key, ...], Rows]:
    """The distinct keys in order of appearance, and for each key its number among them."""
    numbers: dict[Key, int] = {}
    found = np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.intp, len(keys))
    return tuple(numbers), found


def _cuts(numbers: Rows, count: int) -> Rows:
    """Where the runs of 0, 1, … end in the sorted numbers; for `numpy.split`."""
    return np.cumsum(np.bincount(numbers, minlength=count))[:-1]
