"""How many replicas more a service needs for what is asked of it, as text for a next step."""

from __future__ import annotations

import math

from foreshock_dashboard.analysis.crowding import CARRIED
from foreshock_dashboard.analysis.scan import Scan
from foreshock_dashboard.analysis.sharing import pool_of
from foreshock_dashboard.analysis.signals import inference
from foreshock_dashboard.model.service import Service

MOST = 10.0
"""Times its usual load beyond which nobody knows how much of what waits is a backlog: no number is told."""


def further(scan: Scan, service: Service, growth: float = math.nan) -> str:
    """`add 2 replicas of llm to pool chat (it has 4)`; without a number where load, growth or replicas are not known.

    So many that each of them has no more than model servers carry with bursts (`crowding.CARRIED`, the longest mean) of
    what is asked: the usual load, grown so many times. What waits by now is no measure, for it goes once there is room.
    """
    pool = pool_of(scan.world, [scan.world.tenants[row].gpu for row in scan.tenancies.get(service, ())])
    where = f"{service} to pool {pool}" if pool else str(service)
    there = _replicas(scan, service)
    strain = scan.strains.get(service)
    if strain is None or not there or not 0 < strain.usual < MOST or not 1 <= growth <= MOST:
        return f"add replicas of {where}"
    more = max(1, math.ceil(there * strain.usual * growth / CARRIED[-1]) - there)
    return f"add {more} replica{'s' if more > 1 else ''} of {where} (it has {there})"


def _replicas(scan: Scan, service: Service) -> int:
    """Those that tell of themselves now."""
    row = scan.models.get(service)
    found = float(inference(scan.world).telling(slice(scan.at, scan.at + 1))[row, 0]) if row is not None else math.nan
    return round(found) if math.isfinite(found) else 0
