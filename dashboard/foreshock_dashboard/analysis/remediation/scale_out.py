"""How many replicas more a service needs for what is asked of it."""

from __future__ import annotations

import math
from typing import NamedTuple

from foreshock_dashboard.analysis.baseline.gpu_shares import pool_of
from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.baseline.signals import inference
from foreshock_dashboard.analysis.saturation.overload import CARRIED
from foreshock_dashboard.model.service import Service

MOST = 10.0
"""Times its usual load beyond which nobody knows how much of what waits is a backlog: no number is told."""


class Short(NamedTuple):
    """Replicas that a service has, those that it needs more, and its load over its capacity with the former."""

    there: int
    more: int
    load: float

    @property
    def then(self) -> float:
        """Its load with those that it needs more."""
        return self.load * self.there / (self.there + self.more)


def further(scan: Scan, service: Service, growth: float = math.nan) -> str:
    """`add 2 replicas of llm to pool chat (it has 4)`; without a number where these are not known."""
    pool = pool_of(scan.world, [scan.world.tenants[row].gpu for row in scan.tenancies.get(service, ())])
    where = f"{service} to pool {pool}" if pool else str(service)
    needed = short(scan, service, growth)
    if needed is None:
        return f"add replicas of {where}"
    return f"add {needed.more} replica{'s' if needed.more > 1 else ''} of {where} (it has {needed.there})"


def short(scan: Scan, service: Service, growth: float) -> Short | None:
    """How many replicas a service is short of at its usual load grown so many times; None where that is not known.

    So many that each of them has no more than model servers carry with bursts (`crowding.CARRIED`, the longest mean) of
    what is asked. What waits by now is no measure, for it goes once there is room.
    """
    strain, there = scan.strains.get(service), _replicas(scan, service)
    if strain is None or not there or not 0 < strain.usual < MOST or not 1 <= growth <= MOST:
        return None
    load = strain.usual * growth
    return Short(there, max(1, math.ceil(there * load / CARRIED[-1]) - there), load)


def _replicas(scan: Scan, service: Service) -> int:
    """Those that tell of themselves now."""
    row = scan.models.get(service)
    found = (
        float(inference(scan.world).reporting_replicas(slice(scan.at, scan.at + 1))[row, 0])
        if row is not None
        else math.nan
    )
    return round(found) if math.isfinite(found) else 0
