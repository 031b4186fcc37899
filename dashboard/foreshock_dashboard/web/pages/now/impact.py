"""The requests to a service that an SLO breach or an incident has cost so far. Pure."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
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
    failed = np.nan_to_num(red.error_rate[row, columns].astype(np.float64))
    slow = np.zeros_like(requests)
    if slo is not None:
        quantiles = (red.p50[row, columns], red.p95[row, columns], red.p99[row, columns])
        slow = share_above(slo.seconds, *(values.astype(np.float64) for values in quantiles))
    return Impact(
        str(service),
        requests=round(float(requests.sum()), 1),
        failed=round(float((requests * failed).sum()), 1),
        slow=round(float((requests * (1.0 - failed) * slow).sum()), 1),
    )


def share_above(limit: float, p50: Floats, p95: Floats, p99: Floats) -> Floats:
    """Share of requests, 0 to 1, that take longer than `limit` seconds; 0 where the quantiles are unknown.

    Linear between the quantiles, which are arrays of one shape, in seconds: all requests take longer than 0 s, half
    longer than p50, a twentieth longer than p95, and a hundredth longer than p99. Above p99 none is counted.
    """
    edges, shares = (np.zeros_like(p50), p50, p95, p99), (1.0, 0.5, 0.05, 0.01)
    found = np.zeros_like(p50)
    with np.errstate(invalid="ignore", divide="ignore"):
        for low, high, above_low, above_high in zip(edges, edges[1:], shares, shares[1:], strict=False):
            within = (low <= limit) & (limit < high)
            share = above_low + (limit - low) / (high - low) * (above_high - above_low)
            found = np.where(within, share, found)
    return found
