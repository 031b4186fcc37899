"""Services that call another several times for each request: their tail shows what that of the calls does not yet.

Of k calls a request, a share f that is slow slows 1 − (1 − f)ᵏ of the requests (Dean, Barroso: The Tail at Scale, 2013,
for calls that are made at once; for those made one after the other it is the same). At k = 2, p95 of the requests shows
what befalls 2.5 % of the calls, whose own p95 is as usual up to 5 %.
"""

from __future__ import annotations

import math

from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.detectors.evidence import WORSE_Z
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.threshold import Threshold, confidence

FANOUT = Threshold(1.5, 0.1)
"""Calls for each request from which they are as likely several as one, and the width of the doubt."""


def fans_out(scan: Scan, edge: Edge) -> float:
    """How sure it is that a client usually makes several calls on an edge for each of its requests, 0…1."""
    asked = scan.level("rate", edge.client)
    return FANOUT.confidence(scan.level("edge_rate", edge) / asked) if asked > 0 else 0.0


def tail_only(scan: Scan, service: Service) -> float:
    """How sure it is that the median of a service is as usual, whatever its p95 is, 0…1."""
    z = scan.z("p50", service)
    return 0.0 if math.isnan(z) else 1 - confidence(z, WORSE_Z, 0.5)


def hidden_by_fanout(scan: Scan, service: Service) -> float:
    """How sure it is that what slows some of its requests is one of those it calls, without its calls' p95 showing it,
    0…1: it calls that one several times a request, and others that call it find it slower than usual."""
    found = 0.0
    for row in scan.out.get(service, ()):
        edge = scan.world.edges[row]
        if (often := fans_out(scan, edge)) > found:
            found = max(found, min(often, slow_for_callers(scan, edge.server)))
    return min(found, tail_only(scan, service)) if found else 0.0


def slow_for_callers(scan: Scan, callee: Service) -> float:
    """How sure it is that a service is slower than usual for any of those that call it, 0…1."""
    rows = scan.into.get(callee, [])
    worst = [float(z) for name in ("edge_p95", "edge_server") for z in scan[name].z[rows] if not math.isnan(z)]
    return confidence(max(worst, default=math.nan), WORSE_Z, 0.5)
