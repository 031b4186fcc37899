"""Baseline rankings of root causes, as pure functions of the World at the time of our first page.

A service with a higher score is a more likely root cause; `hit_probability` breaks ties at random.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.stats.robust import robust_baseline

BASELINE_SECONDS, GUARD_SECONDS, PRESENT_SECONDS = 1800.0, 180.0, 30.0
"""Length of the baseline, of the pause after it, and of the present."""
MIN_SCALE = 0.03
"""Least scale of a logarithm or a share, for nearly constant series."""
ANOMALOUS_Z = 3.0
"""z from which a traversal continues to a callee."""
DAMPING = 0.85
CORRELATION_SECONDS, MIN_CORRELATION = 600.0, 0.35
"""Window of the correlation with an antagonist's usage, and the least score to suspect it (CPI2, EuroSys 2013)."""

Scores = Mapping[Service, float]


def hit_probability(scores: Scores, right: frozenset[Service], k: int) -> float:
    """Probability that one of the right services is among the first k, ties broken at random.

    Services with a score of 0 or less do not count.
    """
    named = {service: score for service, score in scores.items() if score > 0}
    best = max((score for service, score in named.items() if service in right), default=None)
    if best is None:
        return 0.0
    above = sum(score > best for score in named.values())
    tied = [service for service, score in named.items() if score == best]
    places, good = k - above, sum(service in right for service in tied)
    return 0.0 if places <= 0 else 1.0 - _none_drawn(len(tied), good, min(places, len(tied)))


def _none_drawn(of: int, good: int, draws: int) -> float:
    """Probability of no success in `draws` draws without replacement, with `good` successes among `of`."""
    chance = 1.0
    for drawn in range(draws):
        chance *= max(0, of - good - drawn) / (of - drawn)
    return chance


def robust_z(values: Floats, world: World, at: int, log: bool) -> Floats:
    """(now − median) / MAD of each row against the half hour before; NaN where unknown."""
    with np.errstate(invalid="ignore", divide="ignore"):
        compared = np.log(np.where(values > 0, values, np.nan)) if log else values
    guard, past, now = (
        max(1, round(seconds / world.step)) for seconds in (GUARD_SECONDS, BASELINE_SECONDS, PRESENT_SECONDS)
    )
    base = robust_baseline(compared[:, max(0, at - guard - past) : max(0, at - guard)], MIN_SCALE)
    window = compared[:, max(0, at + 1 - now) : at + 1]
    current = np.full(len(values), np.nan)
    known = ~np.isnan(window).all(axis=1)
    current[known] = np.nanmedian(window[known], axis=1)
    return np.asarray((current - base.level) / base.scale)


def max_z(world: World, at: int, _: Service) -> Scores:
    """Largest robust z of a service's rate, p95, error rate, and GPU time (BARO's RobustScorer, FSE 2024)."""
    found: dict[Service, float] = {}
    per_service = [(world.red.rate, True), (world.red.p95, True), (world.red.failed, False)]
    for values, log in per_service:
        for service, z in zip(world.services, robust_z(values, world, at, log).tolist(), strict=True):
            found[service] = max(found.get(service, 0.0), np.nan_to_num(z))
    for tenant, z in zip(world.tenants, robust_z(world.busy, world, at, log=False).tolist(), strict=True):
        found[tenant.service] = max(found.get(tenant.service, 0.0), np.nan_to_num(z))
    return found


def page_rank(world: World, at: int, victim: Service) -> Scores:
    """Random walk from the victim along calls, weighted by anomaly (MonitorRank, SIGMETRICS 2013)."""
    z = max_z(world, at, victim)
    place = {service: i for i, service in enumerate(world.services)}
    walk = np.zeros((len(place), len(place)))
    for edge in world.edges:
        if edge.connection != "virtual_node" and edge.client in place and edge.server in place:
            walk[place[edge.client], place[edge.server]] = 1.0 + z.get(edge.server, 0.0)
    for service, i in place.items():
        walk[i, i] += max(z.get(service, 0.0), 1e-9)  # a service more anomalous than its callees keeps the walk
    walk /= walk.sum(axis=1, keepdims=True)
    start = np.array([service == victim for service in world.services], np.float64)
    if not start.any():
        return {}
    rank = start
    for _ in range(100):
        rank = (1 - DAMPING) * start + DAMPING * rank @ walk
    return dict(zip(world.services, rank.tolist(), strict=True))


def traversal(world: World, at: int, victim: Service) -> Scores:
    """Traversal from the victim to anomalous callees; those without an anomalous callee score their z."""
    z = max_z(world, at, victim)
    calls: dict[Service, list[Service]] = {}
    for edge in world.edges:
        if edge.connection != "virtual_node":
            calls.setdefault(edge.client, []).append(edge.server)
    found: dict[Service, float] = {}
    seen, frontier = {victim}, [victim]
    while frontier:
        service = frontier.pop()
        below = [callee for callee in calls.get(service, ()) if z.get(callee, 0.0) >= ANOMALOUS_Z]
        if not below:
            found[service] = max(z.get(service, 0.0), 1e-9)
        frontier += [callee for callee in below if callee not in seen]
        seen.update(below)
    return found


def cpi2(world: World, at: int, victim: Service) -> Scores:
    """Antagonist correlation of neighbors on the victim's GPUs, with p95 in place of CPI (CPI2, 2013).

    With u the usage normalized to sum 1, c the victim's p95, and c* its baseline mean plus two deviations: the sum of
    u·(1 − c*/c) where c > c*, else of u·(c/c* − 1). Scores below 0.35 do not count.
    """
    if victim not in world.services:
        return {}
    row = world.red.p95[world.services.index(victim)]
    window = max(1, round(CORRELATION_SECONDS / world.step))
    past = row[max(0, at + 1 - window - round(BASELINE_SECONDS / world.step)) : max(0, at + 1 - window)]
    if np.isfinite(past).sum() < 2:
        return {}
    limit = float(np.nanmean(past) + 2 * np.nanstd(past))
    now = row[max(0, at + 1 - window) : at + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.nan_to_num(np.where(now > limit, 1 - limit / now, now / limit - 1))
    shared = {tenant.gpu for tenant in world.tenants if tenant.service == victim}
    usage: dict[Service, Floats] = {}
    for tenant, busy in zip(world.tenants, world.busy, strict=True):
        if tenant.gpu in shared and tenant.service != victim:
            usage[tenant.service] = usage.get(tenant.service, 0.0) + np.nan_to_num(
                busy[max(0, at + 1 - window) : at + 1]
            )
    scores = {each: float((used / used.sum() * correlation).sum()) for each, used in usage.items() if used.sum() > 0}
    return {each: score for each, score in scores.items() if score >= MIN_CORRELATION}


def uniform(world: World, _at: int, _victim: Service) -> Scores:
    """Equal scores: the ranking of chance."""
    return dict.fromkeys(world.services, 1.0)


RANKERS: Mapping[str, Callable[[World, int, Service], Scores]] = {
    "max z": max_z,
    "PageRank": page_rank,
    "traversal": traversal,
    "CPI2": cpi2,
    "chance": uniform,
}
