"""The requests that failed or were slow in SLO breaches or an incident so far. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np

from foreshock_dashboard.analysis.incidents.request_impact import latency_quantiles, slowed_requests
from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.verdict.course import Impact
from foreshock_dashboard.model.world import World


def impact(
    world: World,
    services: Collection[Service],
    slos: Mapping[Service, ServiceSlo],
    since: float,
    until: float = math.inf,
) -> Impact | None:
    """Requests that come in at some services from `since` to before `until` (Unix seconds); None without any.

    They are integrated over the rates. Calls from one of the services to another are left out, so that a request that
    passes through several counts once, where it comes in. Failed requests are not counted as slow too. Without an SLO
    none is slow.
    """
    columns, inner = slice(*np.searchsorted(world.times, (since, until)).tolist()), frozenset(services)
    found: dict[Service, Floats] = {}
    for service in sorted(inner & {*world.services}):
        row = world.services.index(service)
        calls = [(edge.client, at) for at, edge in enumerate(world.edges) if edge.server == service != edge.client]
        used = [(client, at) for client, at in calls if np.nansum(world.calls.rate[at, columns]) > 0]
        outer = [(world.calls, at) for client, at in used if client not in inner]
        rows = outer if len(outer) < len(used) else [(world.red, row)]
        served = latency_quantiles(world.red, row, columns)
        limit = slos[service].seconds if service in slos else math.nan
        for red, counted in rows:
            requests = np.nan_to_num(red.rate[counted, columns].astype(np.float64)) * world.step
            failed = requests * np.nan_to_num(red.error_rate[counted, columns].astype(np.float64))
            slow = slowed_requests(requests, failed, served, limit)
            sums = np.array([requests.sum(), failed.sum(), slow.sum()])
            found[service] = found.get(service, np.zeros(3)) + sums
    known = {service: sums for service, sums in found.items() if sums[0] > 0}
    if not known:
        return None
    asked, lost, late = np.round(sum(known.values(), np.zeros(3)), 1).tolist()
    (service, *others) = sorted(known, key=lambda each: -known[each][1:].sum())
    limit = slos[service].seconds if service in slos and not others else math.nan
    return Impact((service, *others), asked, lost, late, limit, tuple(sorted(inner - known.keys())))
