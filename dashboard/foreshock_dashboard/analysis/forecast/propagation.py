"""Risk propagation from callees to callers, and between services on saturated GPUs.

r ← max(own, MAX_PROPAGATED_SHARE · max over edges of w · r) until nothing changes, which terminates on cycles, because
every step reduces the risk. The time to a breach is the earliest over the paths that carry much of the risk, where each
step adds a delay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.gpu_shares import MIN_SHARE_CHANGE, GpuShares
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.common.identity_cache import row_by_key
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.level_crossing import QUANTILES

MAX_PROPAGATED_SHARE = 0.85
"""Share of risk that a step propagates at most: a caller may have a fallback that no metric shows."""
SUFFICIENT_CALLS_PER_REQUEST = 0.05
"""Calls per request of a caller from which its p95 fully depends on the callee."""
MIN_CALLEE_WEIGHT = 0.5
"""Weight of a callee that takes no part of its caller's time: its errors still fail the caller."""
MIN_PATH_SHARE = 0.5
"""Share of a service's score that a path must carry for its time to count."""
FIRST_DELAY_SECONDS = 40.0
"""Median time from a service's own breach to that of the first service affected by it."""
DELAY_LOG_SPREAD = 1.3
"""Standard deviation of the logarithm of delays: they depend on the size of the first breach."""
DELAY_RATIOS = np.array([math.exp(DELAY_LOG_SPREAD * NormalDist().inv_cdf(share)) for share in QUANTILES])
"""Delay at each of `QUANTILES`, as a multiple of the median."""
MIN_SCORE = 1e-3
"""Score below which a service is not at risk."""
MEDIAN_INDEX = QUANTILES.index(0.5)

Rows = NDArray[np.intp]


class PropagatedRisk(NamedTuple):
    """Score 0 to 1 of a service's SLO breach, as in `ServiceRisk`, and the seconds until then at each of `QUANTILES`.

    through: the service that the risk comes from; None for its own.
    """

    service: Service
    score: float
    seconds: tuple[float, ...]
    through: Service | None = None


class RiskEdges(NamedTuple):
    """Edges along which risk propagates, as arrays of shape (edges,).

    source, target: rows of services. weight: 0 to 1. target_seconds: duration of a request of the target.
    """

    source: Rows
    target: Rows
    weight: Floats
    target_seconds: Floats


class RiskPropagation:
    """Risk propagation at one evaluation, on edges that are computed once."""

    def __init__(self, point: EvaluationPoint, own: Mapping[Service, ServiceRisk]) -> None:
        self._services = point.world.services
        self._rows = point.cache.get(row_by_key, self._services)
        self._edges = RiskEdges(
            *(np.concatenate(arrays) for arrays in zip(call_edges(point), gpu_edges(point), strict=True))
        )
        self._score = np.array([own[service].score if service in own else 0.0 for service in self._services])
        never = (math.inf,) * len(QUANTILES)
        seconds = [own[service].seconds if service in own else never for service in self._services]
        self._seconds = np.array(seconds).reshape(-1, len(QUANTILES))

    def risks(self, known: Mapping[Service, ServiceRisk] | None = None) -> tuple[PropagatedRisk, ...]:
        """All services at risk, the soonest first, then the most likely.

        known: risks of some services that replace their own.
        """
        services, score, when = self._services, self._score.copy(), self._seconds.copy()
        for service, risk in (known or {}).items():
            if (row := self._rows.get(service)) is not None:
                score[row], when[row] = risk.score, risk.seconds
        scores, seconds, through = propagate(np.nan_to_num(score), when, self._edges)
        rows = np.flatnonzero(scores >= MIN_SCORE).tolist()
        risks = [
            PropagatedRisk(services[row], scores.item(row), tuple(times), services[origin] if origin >= 0 else None)
            for row, times, origin in zip(rows, seconds[rows].tolist(), through[rows].tolist(), strict=True)
        ]
        return tuple(sorted(risks, key=lambda risk: (risk.seconds[MEDIAN_INDEX], -risk.score, risk.service)))


def propagate(own: Floats, seconds: Floats, edges: RiskEdges) -> tuple[Floats, Floats, Rows]:
    """Scores (services,), seconds (services, quantiles), and the row each risk comes from, -1 for a service's own."""
    score, through = own.copy(), np.full(len(own), -1, dtype=np.intp)
    weight = MAX_PROPAGATED_SHARE * np.clip(np.nan_to_num(edges.weight), 0.0, 1.0)
    for _ in range(len(own)):
        offered = weight * score[edges.source]
        better = np.flatnonzero(offered > np.maximum(score[edges.target], MIN_SCORE))
        if not len(better):
            break
        order = better[np.argsort(offered[better], kind="stable")]
        score[edges.target[order]] = offered[order]
        through[edges.target[order]] = edges.source[order]
    counts = np.flatnonzero(weight * score[edges.source] >= np.maximum(MIN_PATH_SHARE * score[edges.target], MIN_SCORE))
    when = np.where((own >= MIN_PATH_SHARE * score)[:, None] & ~np.isnan(seconds), seconds, math.inf)
    return score, _earliest(when, through, edges, counts), through


def _earliest(when: Floats, through: Rows, edges: RiskEdges, counts: Rows) -> Floats:
    """Earliest times over the edges `counts`; shortest paths by relaxation (Bellman, 1958)."""
    order = counts[np.argsort(edges.target[counts], kind="stable")]
    source, (target, first) = edges.source[order], np.unique(edges.target[order], return_index=True)
    first_delay = np.where(through[source] < 0, FIRST_DELAY_SECONDS, 0.0)
    delay = np.outer(edges.target_seconds[order] + first_delay, DELAY_RATIOS)
    times = when.copy()
    for _ in range(len(when) if len(order) else 0):
        earliest = np.minimum(times[target], np.minimum.reduceat(times[source] + delay, first))
        if np.array_equal(earliest, times[target]):
            break
        times[target] = earliest
    return times


def call_edges(point: EvaluationPoint) -> RiskEdges:
    """Edges from callee to caller, weighted by how much the caller's p95 depends on the callee.

    Callers without requests of their own, such as batch jobs, are left out: they have no SLO to breach.
    """
    rows, calls = {service: row for row, service in enumerate(point.world.services)}, point.world.edges
    has_rate = np.isfinite(_baseline(point, "rate"))
    called = {edge.server for edge in calls}
    serving = {service for service, row in rows.items() if has_rate[row] or service in called or not has_rate.any()}
    inside = [edge.connection != "virtual_node" and edge.client in serving and edge.server in rows for edge in calls]
    chosen = np.flatnonzero(inside)
    source = np.array([rows[calls[i].server] for i in chosen], dtype=np.intp)
    target = np.array([rows[calls[i].client] for i in chosen], dtype=np.intp)
    caller_rate, caller_p95 = _baseline(point, "rate")[target], _baseline_p95(point)[target]
    call_rate, call_p95 = _baseline(point, "edge_rate")[chosen], _baseline(point, "edge_p95")[chosen]
    with np.errstate(invalid="ignore", divide="ignore"):
        calls_per_request = np.where(caller_rate > 0, call_rate / caller_rate, 1.0)
        time_share = np.where(caller_p95 > 0, np.minimum(call_p95 / caller_p95, 1.0), 0.0)
    dependence = np.minimum(np.nan_to_num(calls_per_request, nan=1.0) / SUFFICIENT_CALLS_PER_REQUEST, 1.0)
    weight = dependence * (MIN_CALLEE_WEIGHT + (1 - MIN_CALLEE_WEIGHT) * np.nan_to_num(time_share))
    return RiskEdges(source, target, weight, np.nan_to_num(caller_p95))


def gpu_edges(point: EvaluationPoint) -> RiskEdges:
    """Edges from a service that takes more time of saturated GPUs to those on them, by the share of theirs it took."""
    world = point.world
    rows = {service: row for row, service in enumerate(world.services) if math.isfinite(point.level("rate", service))}
    sharing = point.memo(GpuShares)
    growth = np.nan_to_num(sharing.now - sharing.baseline)
    weights: dict[tuple[int, int], float] = {}
    for grown in np.flatnonzero(sharing.full & (growth > MIN_SHARE_CHANGE)).tolist():
        source = world.tenants[grown]
        for other in sharing.on(source.gpu):
            target, baseline = world.tenants[other].service, sharing.baseline[other]
            if other != grown and source.service in rows and target in rows and baseline > MIN_SHARE_CHANGE:
                pair = rows[source.service], rows[target]
                weights[pair] = max(weights.get(pair, 0.0), min(1.0, float(growth[grown] / baseline)))
    pairs = np.array(list(weights), dtype=np.intp).reshape(-1, 2)
    target_seconds = np.nan_to_num(_baseline_p95(point)[pairs[:, 1]])
    return RiskEdges(pairs[:, 0], pairs[:, 1], np.array(list(weights.values())), target_seconds)


def _baseline_p95(point: EvaluationPoint) -> Floats:
    """Baseline p95 of every service (seconds); the slowest of its clients' where it reports none."""
    p95 = _baseline(point, "p95").copy()
    unknown = np.isnan(p95)
    if unknown.any():
        rows = {service: row for row, service in enumerate(point.world.services)}
        for edge, edge_p95 in zip(point.world.edges, _baseline(point, "edge_p95"), strict=True):
            row = rows.get(edge.server)
            if row is not None and unknown[row]:
                p95[row] = np.fmax(p95[row], edge_p95)
    return p95


def _baseline(point: EvaluationPoint, name: str) -> Floats:
    """Baseline of a signal; its present value where no baseline is known."""
    return np.where(np.isfinite(point[name].level), point[name].level, point[name].value)
