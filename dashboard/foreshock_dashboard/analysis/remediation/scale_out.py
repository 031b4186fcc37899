"""The replicas that a service needs in addition for its load."""

from __future__ import annotations

import math
from typing import NamedTuple

from foreshock_dashboard.analysis.baseline.gpu_shares import pool_of
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.analysis.saturation.overload import SAFE_LIMITS
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.service import Service

MAX_LOAD_RATIO = 10.0
"""Growth, and load over capacity, beyond which the share of the backlog is unknown and no number is recommended."""


class Shortfall(NamedTuple):
    """The replicas of a service, those missing, and its load over the capacity of the former."""

    replicas: int
    missing: int
    load: float

    @property
    def load_after(self) -> float:
        """Its load over its capacity with the missing replicas."""
        return self.load * self.replicas / (self.replicas + self.missing)


def add_replicas(point: EvaluationPoint, service: Service, growth: float = math.nan) -> Action:
    """Recommend to add replicas; without a number where the shortfall is unknown."""
    pool = pool_of(point.world, [point.world.tenants[row].gpu for row in point.tenant_rows.get(service, ())])
    needed = shortfall(point, service, growth)
    if needed is None:
        return Action("add_replicas", service, target=pool)
    return Action("add_replicas", service, target=pool, amount=needed.missing, current=needed.replicas)


def shortfall(point: EvaluationPoint, service: Service, growth: float) -> Shortfall | None:
    """The replicas that a service lacks at `growth` times its baseline load; None if unknown.

    With them, the load per replica is at most the safe limit of the longest mean (`overload.SAFE_LIMITS`). The queue is
    ignored: it empties once there is capacity.
    """
    utilization, replicas = point.utilizations.get(service), _live_replicas(point, service)
    if (
        utilization is None
        or not replicas
        or not 0 < utilization.baseline < MAX_LOAD_RATIO
        or not 1 <= growth <= MAX_LOAD_RATIO
    ):
        return None
    load = utilization.baseline * growth
    return Shortfall(replicas, max(1, math.ceil(replicas * load / SAFE_LIMITS[-1]) - replicas), load)


def _live_replicas(point: EvaluationPoint, service: Service) -> int:
    """The number of replicas that report now."""
    row = point.models.get(service)
    count = (
        float(model_servers(point.world).reporting_replicas(slice(point.at, point.at + 1))[row, 0])
        if row is not None
        else math.nan
    )
    return round(count) if math.isfinite(count) else 0
