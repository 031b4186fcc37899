"""What trouble of a service means to its callers: whether they show it, wait longer for it, or would notice it."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.analysis.baseline.operations import symptoms
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.slos import MIN_LEARNED_SLO_SECONDS
from foreshock_dashboard.analysis.detectors.dependency import latency_signals
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge

CALLEE_SHARE = 0.3
"""Share of a callee's extra latency that a caller shows at least if it propagates."""
VISIBLE_FAILED_RATIO = 0.02
"""Ratio of failed requests above the baseline from which a service is failing."""
ORIGIN_SHARE = 0.1
"""Share of a caller's extra latency, or failures, that the origin shows at least."""
RELEVANT_SHARE = 0.05
"""Ratio of a callee's extra latency to the baseline p50 of its callers, from which it is relevant."""
AFFECTED_Z = 3.0
"""Scales above the baseline from which a service is affected."""


def lacks_baseline(point: EvaluationPoint, service: Service) -> bool:
    """Whether the latency baseline of a service is unknown, as of a database that only its clients report."""
    return not math.isfinite(point.level("p95", service))


def explains(point: EvaluationPoint, service: Service, caller: Service) -> bool:
    """Whether a service shows `ORIGIN_SHARE` of the extra latency or failures of a caller.

    Several calls per request add up. A service without signals of its risks is judged by its client edges.
    """
    requests = point.level("rate", caller)
    for name, edge_name in (("p95", "edge_p95"), ("error_rate", "edge_error_rate")):
        largest = max(_excess(point, name, service), 0.0)
        for edge in point.calls_to(service):
            calls = point.level("edge_rate", edge) / requests if edge.client == caller else 1.0
            largest = max(largest, _excess(point, edge_name, edge) * max(1.0, np.nan_to_num(calls, posinf=1.0)))
        excess = _excess(point, name, caller)
        if excess > 0 and ORIGIN_SHARE * excess <= largest:
            return True
    return False


def propagates(point: EvaluationPoint, origin: Service, service: Service) -> bool:
    """Whether a caller's extra latency or failures can come from the origin: they are about as large.

    A caller with a fallback or a cached answer does not propagate it.
    """
    origin_failures, excess_failures = _excess(point, "error_rate", origin), _excess(point, "error_rate", service)
    fails = origin_failures > VISIBLE_FAILED_RATIO
    if fails:
        expected = CALLEE_SHARE * CALLEE_SHARE * origin_failures
        if point.z("error_rate", service) >= AFFECTED_Z:
            expected *= _dependent_request_ratio(point, service, origin)
        if excess_failures >= expected:
            return True
    origin_latency, baseline = _excess(point, "p95", origin), _typical_latency(point, service)
    if not (origin_latency > 0 and (math.isnan(baseline) or origin_latency >= RELEVANT_SHARE * baseline)):
        return not fails  # the origin is not anomalous yet, or it fails and the caller has a fallback
    if excess_failures > VISIBLE_FAILED_RATIO:
        return True
    # p50 shows it where slower requests of another kind decide p95
    return any(_excess(point, name, service) >= CALLEE_SHARE * origin_latency for name in ("p95", "p50"))


def _dependent_request_ratio(point: EvaluationPoint, service: Service, origin: Service) -> float:
    """Upper bound of the ratio of a caller's requests that depend on the origin; a cache may answer the others.

    The larger of the ratios of their request rates at the baseline and now, at most 1; 1 if both are unknown.
    """
    ratios = [
        origin_rate / caller_rate
        for rate in (point.level, point.value)
        if (caller_rate := rate("rate", service)) > 0 and (origin_rate := rate("rate", origin)) > 0
    ]
    return min(1.0, max(ratios, default=1.0))


def is_relevant(point: EvaluationPoint, service: Service) -> bool:
    """Whether extra latency is relevant to the callers, or the service fails.

    Always true of an ingress service, and where no caller has a baseline of latency.
    """
    if _excess(point, "error_rate", service) > VISIBLE_FAILED_RATIO:
        return True
    callers = {edge.client for edge in point.calls_to(service) if edge.connection != "virtual_node"}
    baselines = [level for caller in callers if math.isfinite(level := _typical_latency(point, caller))]
    excess = max(_excess(point, name, service) for name in ("p95", "p50"))
    return not baselines or excess >= RELEVANT_SHARE * min(baselines)


def is_noticeable(point: EvaluationPoint, service: Service) -> bool:
    """Whether a service fails, or users could feel the seconds that its callers wait for it longer per request."""
    edges = point.calls_to(service)
    failing = [_excess(point, "error_rate", service), *(_excess(point, "edge_error_rate", edge) for edge in edges)]
    slower = [_excess(point, "p95", service)]
    for edge in edges:
        calls = point.level("edge_rate", edge) / point.level("rate", edge.client)
        waits = max(_excess(point, name, edge) for name in latency_signals(point, edge))
        slower.append(waits * max(1.0, np.nan_to_num(calls, posinf=1.0)))
    return max(failing) > VISIBLE_FAILED_RATIO or max(slower) >= MIN_LEARNED_SLO_SECONDS


def has_known_callers(point: EvaluationPoint, service: Service) -> bool:
    """Whether a caller of a service counted its calls: without one, none shows that the service is missing."""
    edges = [edge for edge in point.calls_to(service) if edge.connection != "virtual_node"]
    return any(point.level("edge_rate", edge) > 0 for edge in edges)


def _typical_latency(point: EvaluationPoint, service: Service) -> float:
    """Baseline p50 of a service in seconds, else its p95: that may be of a few slow requests of another kind."""
    p50 = point.level("p50", service)
    return p50 if math.isfinite(p50) else point.level("p95", service)


def _excess(point: EvaluationPoint, name: str, key: Service | Edge) -> float:
    """How far a signal is above its baseline, in its unit; that of the worst operation if larger. 0 if unknown."""
    largest = 0.0
    for shown in symptoms(point, name, key) if isinstance(key, Service) else ((name, key),):
        value, level = point.denoised(*shown), point.level(*shown)
        if math.isfinite(value):
            largest = max(largest, value - (level if math.isfinite(level) else 0.0))
    return largest
