"""The requests that SLO breaches or an incident have cost so far. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.incidents.cost import latency_quantiles, slowed_requests
from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World


class Impact(NamedTuple):
    """An estimate: requests to services in a time range, and those of them that failed or were too slow.

    since, until: Unix seconds; until is infinite while they breach their SLO.
    """

    services: tuple[Service, ...]
    requests: float
    failed: float
    slow: float
    since: float = math.nan
    until: float = math.inf


def entry_services(world: World, services: Collection[Service]) -> tuple[Service, ...]:
    """The services that none of the others calls: a request that passes through several is counted there, once."""
    called = {edge.server for edge in world.edges if {edge.client, edge.server} <= {*services} and len({*edge[:2]}) > 1}
    return tuple(sorted({*services} - called))


def impact(
    world: World,
    services: Collection[Service],
    slos: Mapping[Service, ServiceSlo],
    since: float,
    until: float = math.inf,
) -> Impact | None:
    """Requests from `since` to before `until` (Unix seconds), integrated over the rates; None where all are unknown.

    Failed requests are not counted as slow too. Without an SLO none is slow.
    """
    red, total = world.red, np.zeros(3)
    columns = slice(*np.searchsorted(world.times, (since, until)).tolist())
    known = [
        service
        for service in services
        if service in world.services and np.isfinite(red.rate[world.services.index(service), columns]).any()
    ]
    for service in known:
        row = world.services.index(service)
        requests = np.nan_to_num(red.rate[row, columns].astype(np.float64)) * world.step
        failed = requests * np.nan_to_num(red.error_rate[row, columns].astype(np.float64))
        limit = slos[service].seconds if service in slos else math.nan
        slow = slowed_requests(requests, failed, latency_quantiles(red, row, columns), limit)
        total += requests.sum(), failed.sum(), slow.sum()
    asked, lost, late = np.round(total, 1).tolist()
    return Impact(tuple(known), asked, lost, late, since, until) if known else None
