"""How many replicas more a service needs for what is asked of it, as text for a next step."""

from __future__ import annotations

import math

from foreshock_dashboard.analysis.batching import replicas
from foreshock_dashboard.analysis.crowding import CARRIED
from foreshock_dashboard.analysis.scan import Scan
from foreshock_dashboard.analysis.sharing import pool_of
from foreshock_dashboard.model.service import Service


def further(scan: Scan, service: Service) -> str:
    """`add 2 replicas of llm to pool chat (it has 4)`; without a number where load or replicas are not known.

    So many that each of them has no more than model servers carry with bursts (`crowding.CARRIED`, the longest mean).
    """
    pool = pool_of(scan.world, [scan.world.tenants[row].gpu for row in scan.tenancies.get(service, ())])
    where = f"{service} to pool {pool}" if pool else str(service)
    there = _replicas(scan, service)
    strain = scan.strains.get(service)
    if strain is None or not math.isfinite(strain.load) or not there:
        return f"add replicas of {where}"
    more = max(1, math.ceil(there * strain.load / CARRIED[-1]) - there)
    return f"add {more} replica{'s' if more > 1 else ''} of {where} (it has {there})"


def _replicas(scan: Scan, service: Service) -> int:
    """Those that tell of themselves now."""
    row = scan.models.get(service)
    found = float(replicas(scan.world, slice(scan.at, scan.at + 1))[row, 0]) if row is not None else math.nan
    return round(found) if math.isfinite(found) else 0
