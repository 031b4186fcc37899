"""Baseline rankings of root causes, as pure functions of the World at the time of our first page.

A service with a higher score is a more likely root cause.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.stats.robust import median, robust_baseline
from foreshock_evaluation.scores.ranking import Calls, Scores, random_walk, traverse

BASELINE_SECONDS, GUARD_SECONDS, PRESENT_SECONDS = 1800.0, 180.0, 30.0
"""Length of the baseline, of the pause after it, and of the present."""
MIN_SCALE = 0.03
"""Least scale of a logarithm or a share, for nearly constant series."""
CORRELATION_SECONDS, MIN_CORRELATION = 600.0, 0.35
"""Window of the correlation with an antagonist's usage, and the least score to suspect it (CPI2, EuroSys 2013)."""


def robust_z(values: Floats, world: World, point: int, log: bool) -> Floats:
    """(now − median) / MAD of each row against the half hour before; NaN where unknown."""
    with np.errstate(invalid="ignore", divide="ignore"):
        compared = np.log(np.where(values > 0, values, np.nan)) if log else values
    guard, past, now = (
        max(1, round(seconds / world.step)) for seconds in (GUARD_SECONDS, BASELINE_SECONDS, PRESENT_SECONDS)
    )
    base = robust_baseline(compared[:, max(0, point - guard - past) : max(0, point - guard)], MIN_SCALE)
    return np.asarray((median(compared[:, max(0, point + 1 - now) : point + 1]) - base.level) / base.scale)


def max_z(world: World, point: int, _: Service) -> Scores:
    """Largest robust z of a service's rate, p95, error rate, and GPU time (BARO's RobustScorer, FSE 2024)."""
    scores: dict[Service, float] = {}
    tenants = tuple(tenant.service for tenant in world.tenants)
    for services, values, log in (
        (world.services, world.red.rate, True),
        (world.services, world.red.p95, True),
        (world.services, world.red.error_rate, False),
        (tenants, world.busy, False),
    ):
        for service, z in zip(services, robust_z(values, world, point, log).tolist(), strict=True):
            scores[service] = max(scores.get(service, 0.0), np.nan_to_num(z))
    return scores


def page_rank(world: World, point: int, victim: Service) -> Scores:
    """Random walk from the victim along calls, weighted by anomaly (MonitorRank, SIGMETRICS 2013)."""
    z = dict.fromkeys(world.services, 0.0) | dict(max_z(world, point, victim))
    known = {service: z[service] for service in world.services}
    return random_walk(known, _calls(world), frozenset({victim} & known.keys()))


def traversal(world: World, point: int, victim: Service) -> Scores:
    """Traversal from the victim to anomalous callees; see `traverse`."""
    return traverse(max_z(world, point, victim), _calls(world), frozenset({victim}))


def _calls(world: World) -> Calls:
    """Callees by caller, without virtual nodes."""
    calls: dict[Service, list[Service]] = {}
    for edge in world.edges:
        if edge.connection != "virtual_node":
            calls.setdefault(edge.client, []).append(edge.server)
    return calls


def cpi2(world: World, point: int, victim: Service) -> Scores:
    """Antagonist correlation of neighbors on the victim's GPUs, with p95 in place of CPI (CPI2, 2013).

    With u the usage normalized to sum 1, c the victim's p95, and c* its baseline mean plus two deviations: the sum of
    u·(1 − c*/c) where c > c*, else of u·(c/c* − 1). Scores below 0.35 do not count.
    """
    if victim not in world.services:
        return {}
    row = world.red.p95[world.services.index(victim)]
    begin = max(0, point + 1 - max(1, round(CORRELATION_SECONDS / world.step)))
    past = row[max(0, begin - round(BASELINE_SECONDS / world.step)) : begin]
    if np.isfinite(past).sum() < 2:
        return {}
    limit = float(np.nanmean(past) + 2 * np.nanstd(past))
    now = row[begin : point + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.nan_to_num(np.where(now > limit, 1 - limit / now, now / limit - 1))
    shared = {tenant.gpu for tenant in world.tenants if tenant.service == victim}
    usage: dict[Service, Floats] = {}
    for tenant, busy in zip(world.tenants, world.busy, strict=True):
        if tenant.gpu in shared and tenant.service != victim:
            usage[tenant.service] = usage.get(tenant.service, 0.0) + np.nan_to_num(busy[begin : point + 1])
    scores = {
        service: float((used / used.sum() * correlation).sum()) for service, used in usage.items() if used.sum() > 0
    }
    return {service: score for service, score in scores.items() if score >= MIN_CORRELATION}


def uniform(world: World, _point: int, _victim: Service) -> Scores:
    """Equal scores: the ranking of chance."""
    return dict.fromkeys(world.services, 1.0)


RANKERS: Mapping[str, Callable[[World, int, Service], Scores]] = {
    "max z": max_z,
    "PageRank": page_rank,
    "traversal": traversal,
    "CPI2": cpi2,
    "chance": uniform,
}
