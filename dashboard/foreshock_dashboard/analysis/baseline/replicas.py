"""Replicas of a service: those lost, which were ready before and are still wanted, and the bounds of their number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.gpu_shares import pool_of
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint, gpu_pools
from foreshock_dashboard.analysis.baseline.signals import capacity
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.stats.threshold import Threshold

LOOKBACK_SECONDS = 3600.0
"""How far back a replica may have been ready to count as lost now."""
LOST_REPLICAS_RATIO = Threshold(0.1, 0.03)
"""Share of replicas lost at which an effect on the service is 50% likely, and the width of the transition."""


def lost(point: EvaluationPoint, service: Service) -> float:
    """Share of the service's highest ready count, capped by what stayed wanted since, that is not ready now; 0 to 1.

    0 where unknown. Replicas removed by scaling down are not lost.
    """
    capacity, row = point.world.capacity, point["ready"].keys.get(service)
    if capacity is None or row is None:
        return 0.0
    window = slice(max(0, point.column - point.world.points(LOOKBACK_SECONDS)), point.column + 1)
    wanted, ready = capacity.wanted[row, window], capacity.ready[row, window]
    known = np.isfinite(wanted) & np.isfinite(ready)
    wanted, ready = wanted[known], ready[known]
    still_wanted = np.minimum(ready, np.minimum.accumulate(wanted[::-1])[::-1])
    highest = float(still_wanted.max(initial=0.0))
    return max(0.0, 1 - float(ready[-1]) / highest) if highest > 0 else 0.0


def wanted_replicas(point: EvaluationPoint, service: Service) -> float:
    """The newest number of wanted replicas above zero, which is the one before a pause; NaN if unknown."""
    return _newest_positive(point, service, capacity(point.world).wanted)


def max_replicas(point: EvaluationPoint, service: Service) -> float:
    """The newest maximum of the autoscaler; NaN without one."""
    return _newest_positive(point, service, capacity(point.world).max_replicas)


class PoolQuota(NamedTuple):
    """GPUs of the quota of a pool: assigned ones, and their limit."""

    pool: str
    used: float
    limit: float


def pool_of_service(world: World, service: Service, pool_by_gpu: Mapping[Gpu, str], gpus: Iterable[Gpu]) -> str:
    """The pool of the GPUs of a service; without pools of GPUs, that with a quota in its name. "" if unknown."""
    if pool := pool_of(pool_by_gpu, gpus):
        return pool
    named = [name for name in capacity(world).pools if name and name in service.name]
    return named[0] if len(named) == 1 else ""


def pool_quota(world: World, service: Service, column: int = -1) -> PoolQuota | None:
    """The GPU quota of the pool of a service; None where it is unknown."""
    state = capacity(world)
    gpus = [tenant.gpu for tenant in world.tenants if tenant.service == service]
    pool = pool_of_service(world, service, gpu_pools(world.gpus, world.pool), gpus)
    if pool not in state.pools:
        return None
    row = state.pools.index(pool)
    used, limit = float(state.used[row, column]), float(state.quota[row, column])
    return PoolQuota(pool, used, limit) if math.isfinite(used) and limit > 0 else None


def gpus_per_replica(gpus: int, replicas: float) -> int:
    """GPUs that one more replica takes: as many as those that run, at least one. replicas: above 0."""
    return max(1, round(gpus / replicas))


def _newest_positive(point: EvaluationPoint, service: Service, rows: Floats) -> float:
    """The newest value above zero within `LOOKBACK_SECONDS`; NaN without one. rows: shape (services, times)."""
    services = capacity(point.world).services
    if service not in services:
        return math.nan
    values = rows[services.index(service), point.window(LOOKBACK_SECONDS)]
    known = values[values > 0]
    return float(known[-1]) if len(known) else math.nan
