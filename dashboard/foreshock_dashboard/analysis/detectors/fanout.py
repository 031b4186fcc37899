"""Fan-out: the latency tail of a service that calls another several times per request.

With k calls per request, a ratio f of slow calls makes 1 − (1 − f)ᵏ of the requests slow (Dean and Barroso, The Tail at
Scale, 2013, for parallel calls; sequential calls behave alike). At k = 2, 2.5% of slow
calls raise the p95 of the requests; the p95 of the calls stays at its baseline up to 5%.
"""

from __future__ import annotations

import math

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.evidence import WORSE_Z
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.threshold import Threshold, confidence

FANOUT = Threshold(1.5, 0.1)
"""Calls per request from which a service fans out."""


def fans_out(point: EvaluationPoint, edge: Edge) -> float:
    """Confidence (0 to 1) that a client makes several calls on an edge per request."""
    requests = point.level("rate", edge.client)
    return FANOUT.confidence(point.level("edge_rate", edge) / requests) if requests > 0 else 0.0


def tail_only(point: EvaluationPoint, service: Service) -> float:
    """Confidence (0 to 1) that the median latency of a service is at its baseline, whatever its p95 is."""
    z = point.z("p50", service)
    return 0.0 if math.isnan(z) else 1 - confidence(z, WORSE_Z, 0.5)


def hidden_by_fanout(point: EvaluationPoint, service: Service) -> float:
    """Confidence (0 to 1) that a callee slows some requests of a service, although p95 of the calls does not show it.

    The service fans out to the callee, and other callers find it slower.
    """
    found = 0.0
    for row in point.out.get(service, ()):
        edge = point.world.edges[row]
        if (fanout := fans_out(point, edge)) > found:
            found = max(found, min(fanout, slow_for_callers(point, edge.server)))
    return min(found, tail_only(point, service)) if found else 0.0


def slow_for_callers(point: EvaluationPoint, callee: Service) -> float:
    """Confidence (0 to 1) that a service is slower for any of its callers."""
    rows = point.into.get(callee, [])
    worst = [float(z) for name in ("edge_p95", "edge_server") for z in point[name].z[rows] if not math.isnan(z)]
    return confidence(max(worst, default=math.nan), WORSE_Z, 0.5)
