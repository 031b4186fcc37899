"""Rankings of services by score: hits, random walk, and traversal.

A service with a higher score is a more likely root cause; `hit_probability` breaks ties at random.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from foreshock_dashboard.model.service import Service

ANOMALOUS_Z = 3.0
"""z from which a traversal continues to a callee."""
DAMPING = 0.85

Scores = Mapping[Service, float]
Calls = Mapping[Service, Sequence[Service]]
"""Callees by caller."""


def hit_probability(scores: Scores, right: frozenset[Service], k: int) -> float:
    """Probability that one of the right services is among the first k, ties broken at random.

    Services with a score of 0 or less do not count.
    """
    best = max((scores.get(service, 0.0) for service in right), default=0.0)
    if best <= 0:
        return 0.0
    tied = [service for service, score in scores.items() if score == best]
    draws = min(k - sum(score > best for score in scores.values()), len(tied))
    wrong = len(tied) - sum(service in right for service in tied)
    return 1.0 - math.comb(wrong, draws) / math.comb(len(tied), draws) if draws > 0 else 0.0


def random_walk(z: Scores, calls: Calls, start: frozenset[Service]) -> Scores:
    """Shares of a random walk with restarts, which goes to callees in proportion to their anomaly."""
    services = sorted({*z, *start})
    row = {service: i for i, service in enumerate(services)}
    walk = np.zeros((len(row), len(row)))
    for client, servers in calls.items():
        for server in servers:
            if client in row and server in row:
                walk[row[client], row[server]] = 1.0 + z.get(server, 0.0)
    for service, i in row.items():
        walk[i, i] += max(z.get(service, 0.0), 1e-9)  # a service more anomalous than its callees keeps the walk
    walk /= walk.sum(axis=1, keepdims=True)
    first = np.array([service in start for service in services], np.float64)
    if not first.any():
        return {}
    first /= first.sum()
    rank = first
    for _ in range(100):
        rank = (1 - DAMPING) * first + DAMPING * rank @ walk
    return dict(zip(services, rank.tolist(), strict=True))


def traverse(z: Scores, calls: Calls, start: frozenset[Service]) -> Scores:
    """Traversal along calls to anomalous callees; services without an anomalous callee score their z."""
    scores: dict[Service, float] = {}
    visited, frontier = {*start}, [*start]
    while frontier:
        service = frontier.pop()
        anomalous = [callee for callee in calls.get(service, ()) if z.get(callee, 0.0) >= ANOMALOUS_Z]
        if not anomalous:
            scores[service] = max(z.get(service, 0.0), 1e-9)
        frontier += [callee for callee in anomalous if callee not in visited]
        visited.update(anomalous)
    return scores
