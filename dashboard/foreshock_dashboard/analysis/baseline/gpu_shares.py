"""Shares of GPU time by tenant, now and in the baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.point import SMOOTHING_POINTS, EvaluationPoint
from foreshock_dashboard.common.identity_cache import rows_by_field
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Bools, Floats
from foreshock_dashboard.model.world import Gpu

CONTENDED_BUSY_RATIO = 0.9
"""Busy share at which the services of a GPU contend for it, as in the exporter's contended time."""
MIN_SHARE_CHANGE = 0.02
"""Smallest meaningful change of a share."""
GPU_SHARE = "share of GPU time"
"""The name of a service's share in evidence."""

Rows = NDArray[np.intp]


class GpuShares:
    """Shares of GPU time at one evaluation point; arrays have one row per tenant of the World.

    A share is relative to all tenants of the GPU, scaled by the larger of their normal and current total. So a lost
    scrape, which affects all tenants alike, changes no share. A tenant without a baseline beside tenants with one is
    new: its normal share is 0. NaN where a GPU has no baseline or no current value. Holds no reference to the point.
    """

    def __init__(self, point: EvaluationPoint) -> None:
        self._world, self._at, self._cache = point.world, point.column, point.cache
        tenants = point.world.tenants
        self._gpus, self._gpu = point.cache.get(_numbered, tenants, "gpu")
        self.services: tuple[Service, ...]
        self.services, self._service = point.cache.get(_numbered, tenants, "service")
        level = point["busy"].level
        known = np.bincount(self._gpu, np.isfinite(level), len(self._gpus)) > 0
        self.baseline: Floats = np.where(known[self._gpu], np.nan_to_num(level), np.nan)
        self._total = self._by_gpu(self.baseline)

    def _by_gpu(self, values: Floats) -> Floats:
        return np.bincount(self._gpu, np.nan_to_num(values), len(self._gpus)).astype(np.float64)

    def by_service(self, values: Floats) -> Floats:
        """Sums over the tenants of each service, in the order of `services`; NaN counts as 0."""
        return np.bincount(self._service, np.nan_to_num(values), len(self.services)).astype(np.float64)

    def neighbors(self, selected: Bools) -> Floats:
        """Number of other selected tenants on the GPU of each tenant."""
        counted = selected.astype(np.float64)
        return self._by_gpu(counted)[self._gpu] - counted

    def on(self, gpu: Gpu) -> list[int]:
        """Rows of the tenants of a GPU."""
        return self._cache.get(rows_by_field, self._world.tenants, "gpu")[gpu]

    @cached_property
    def full(self) -> Bools:
        """Tenants on a GPU that was full at one of the newest points; one missing scrape changes nothing."""
        columns = self._world.busy[:, max(0, self._at - SMOOTHING_POINTS + 1) : self._at + 1].T
        totals = np.array([self._by_gpu(column) for column in columns]).reshape(len(columns), len(self._gpus))
        return np.asarray(totals.max(axis=0, initial=0.0)[self._gpu] >= CONTENDED_BUSY_RATIO, dtype=bool)

    @cached_property
    def now(self) -> Floats:
        """Current shares, as of the newest scrape."""
        return self._shares(self._newest_busy(self._at))

    @cached_property
    def newest(self) -> Floats:
        """Estimate of the shares in the newest scrape interval where they deviate more than `now`; else `now`.

        A quick rate r averages two scrape intervals and shows a step in two halves. The newest interval alone is
        x(t) = 2·r(t) − x(t − 1), or 2·(r(t) − r(t − 1)) + r(t − 2) with r(t − 2) for x(t − 2). It is noisy, so the mean
        of both is taken.
        """
        at = self._at
        alone = 2 * (self.now - self._shares(self._newest_busy(at - 1))) + self._shares(self._newest_busy(at - 2))
        a, b = self.now - self.baseline, np.clip(alone, 0.0, 1.0) - self.baseline
        return np.where((a * b > 0) & (np.abs(b) > np.abs(a)), self.baseline + (a + b) / 2, self.now)

    def _newest_busy(self, at: int) -> Floats:
        """Busy shares in the newest of the last `SMOOTHING_POINTS` columns up to `at` with a value, by GPU."""
        window = self._world.busy[:, max(0, at - SMOOTHING_POINTS + 1) : max(0, at + 1)]
        newest = np.full(len(self._gpu), np.nan)
        for column in window.T:
            newest = np.where(self._by_gpu(column)[self._gpu] > 0, column, newest)
        return newest

    def _shares(self, busy: Floats) -> Floats:
        total = self._by_gpu(busy)
        size = np.minimum(np.maximum(total, self._total), 1.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.where(total > 0, size / total, np.nan)
        return np.nan_to_num(busy) * scale[self._gpu]


def pool_of(pool_by_gpu: Mapping[Gpu, str], gpus: Iterable[Gpu]) -> str:
    """Pool of these GPUs; "" where unknown or not unique. pool_by_gpu: of a World, as `gpu_pools`."""
    pools = {pool_by_gpu.get(gpu, "") for gpu in gpus}
    return pools.pop() if len(pools) == 1 else ""


def _numbered(items: Sequence[object], field: str) -> tuple[tuple[Any, ...], Rows]:
    """Distinct values of a field in order of appearance, and the number of each item's value among them."""
    numbers: dict[object, int] = {}
    values = (getattr(item, field) for item in items)
    rows = np.fromiter((numbers.setdefault(value, len(numbers)) for value in values), np.intp, len(items))
    return tuple(numbers), rows
