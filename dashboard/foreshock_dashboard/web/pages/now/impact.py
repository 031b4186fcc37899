"""The requests to a service that an SLO breach or an incident has cost so far. Pure."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.analysis.incidents.cost import latency_quantiles, slowed_requests
from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.state.numbers import Row


class Impact(Row):
    """An estimate: requests to a service in a time range, and those of them that failed or were too slow."""

    service: str
    requests: float
    failed: float
    slow: float


def impact(
    world: World, service: Service, slo: ServiceSlo | None, since: float, until: float = math.inf
) -> Impact | None:
    """Requests from `since` to `until` (Unix seconds), integrated over the request rate; None where that is unknown.

    Failed requests are not counted as slow too. Without an SLO none is slow.
    """
    if service not in world.services:
        return None
    row, red = world.services.index(service), world.red
    columns = slice(*np.searchsorted(world.times, (since, until), side="right").tolist())
    rate = red.rate[row, columns].astype(np.float64)
    if not np.isfinite(rate).any():
        return None
    requests = np.nan_to_num(rate) * world.step
    failed = requests * np.nan_to_num(red.error_rate[row, columns].astype(np.float64))
    limit = math.nan if slo is None else slo.seconds
    slow = slowed_requests(requests, failed, latency_quantiles(red, row, columns), limit)
    return Impact(
        str(service),
        requests=round(float(requests.sum()), 1),
        failed=round(float(failed.sum()), 1),
        slow=round(float(slow.sum()), 1),
    )
