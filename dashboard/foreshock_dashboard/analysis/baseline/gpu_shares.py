"""Who has how much of the GPUs that services share, now and as usual."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.point import RECENT, Scan
from foreshock_dashboard.common.identity_cache import rows_by_key
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Gpu, Tenant, World

FULL = 0.9
"""Busy share from which a GPU's services contend for it; as the exporter counts contended time."""
NOISE = 0.02
"""Share of a GPU below which a difference tells nothing."""

Flags = NDArray[np.bool_]
Rows = NDArray[np.intp]
Key = TypeVar("Key", bound=Hashable)


class Sharing:
    """Tenants' parts of GPUs at one grid point of a scan. Arrays have a row per tenant, as the World's tenants.

    A part is a share of what all tenants of a GPU have together, times the more of what they have usually and now: a
    lost scrape takes from all alike and moves no part. A tenant without a baseline on a GPU whose others have one is
    new there: its usual part is nothing. NaN where a GPU has no baseline or tells nothing now. It does not hold the
    scan, which holds it.
    """

    def __init__(self, scan: Scan) -> None:
        self._world, self._at, self._remembered = scan.world, scan.at, scan.remembered
        tenants = scan.world.tenants
        self._places, self._gpu = scan.remembered.get(_gpus, tenants)
        self.services, self._service = scan.remembered.get(_services, tenants)
        level = scan["busy"].level
        known = np.bincount(self._gpu, np.isfinite(level), len(self._places)) > 0
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

    @property
    def rows(self) -> Mapping[Service, Rows]:
        """The rows of each service's tenants."""
        return self._remembered.get(_rows, self._world.tenants)

    def on(self, gpu: Gpu) -> list[int]:
        """The rows of the tenants of a GPU."""
        return self._remembered.get(_on, self._world.tenants)[gpu]

    @cached_property
    def full(self) -> Flags:
        """Tenants whose GPU has no time left at one of the last points: a lost scrape does not free it."""
        columns = self._world.busy[:, max(0, self._at - RECENT + 1) : self._at + 1].T
        totals = np.array([self._by_gpu(column) for column in columns]).reshape(-1, len(self._places))
        return np.asarray(totals.max(axis=0, initial=0.0)[self._gpu] >= FULL, dtype=bool)

    @cached_property
    def now(self) -> Floats:
        """Parts now, as the last scrape told that came."""
        return self._parts(self._last(self._at))

    @cached_property
    def newest(self) -> Floats:
        """Parts since the last scrape but one, half believed, where they are further from usual; else those now.

        A quick rate r is the mean of two intervals between scrapes, and shows a step in two halves. The newest interval
        alone was x(t) = 2·r(t) − x(t − 1), and with r(t − 2) for x(t − 2), 2·(r(t) − r(t − 1)) + r(t − 2).
        """
        at = self._at
        alone = 2 * (self.now - self._parts(self._last(at - 1))) + self._parts(self._last(at - 2))
        a, b = self.now - self.usual, np.clip(alone, 0.0, 1.0) - self.usual
        return np.where((a * b > 0) & (np.abs(b) > np.abs(a)), self.usual + (a + b) / 2, self.now)

    def _last(self, at: int) -> Floats:
        """Each GPU's busy shares in the last of the `RECENT` columns up to `at` in which it tells any."""
        window = self._world.busy[:, max(0, at - RECENT + 1) : max(0, at + 1)]
        found = np.full(len(self._gpu), np.nan)
        for column in window.T:
            found = np.where(self._by_gpu(column)[self._gpu] > 0, column, found)
        return found

    def _parts(self, busy: Floats) -> Floats:
        total = self._by_gpu(busy)
        size = np.minimum(np.maximum(total, self._total), 1.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.where(total > 0, size / total, np.nan)
        return np.nan_to_num(busy) * scale[self._gpu]


def pool_of(world: World, gpus: Sequence[Gpu]) -> str:
    """The pool that all these GPUs are of; "" where nobody says, or where they are of several."""
    named = dict(zip(world.gpus, world.pool, strict=False))
    pools = {named.get(gpu, "") for gpu in gpus}
    return pools.pop() if len(pools) == 1 else ""


def _gpus(tenants: Sequence[Tenant]) -> tuple[tuple[Gpu, ...], Rows]:
    return _numbered([tenant.gpu for tenant in tenants])


def _services(tenants: Sequence[Tenant]) -> tuple[tuple[Service, ...], Rows]:
    return _numbered([tenant.service for tenant in tenants])


def _rows(tenants: Sequence[Tenant]) -> Mapping[Service, Rows]:
    return {service: np.array(rows, np.intp) for service, rows in rows_by_key(each.service for each in tenants).items()}


def _on(tenants: Sequence[Tenant]) -> Mapping[Gpu, list[int]]:
    return rows_by_key(each.gpu for each in tenants)


def _numbered(keys: Sequence[Key]) -> tuple[tuple[Key, ...], Rows]:
    """The distinct keys in order of appearance, and for each key its number among them."""
    numbers: dict[Key, int] = {}
    found = np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.intp, len(keys))
    return tuple(numbers), found
