"""Callers give up calls that are answered as fast as ever: their own time-out is what changed.

Whoever gives up leaves its request at work, and asks again: the model server works on what nobody waits for. Where a
server is slow, calls that fail take as long as the time-out, and longer than usual; here they fail while those that do
not are no slower than before, the server itself fails none, or goes on with them for longer than anybody waits, and no
replica is lost.
"""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.baseline.replicas import LOST_REPLICAS_RATIO, lost
from foreshock_dashboard.analysis.detectors.evidence import EXTREME_Z, WORSE_Z, evidence_of
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.remediation.effect import reduced
from foreshock_dashboard.model.action import Action, Reason
from foreshock_dashboard.model.incident import Culprit, Evidence
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.threshold import Threshold, confidence

ABANDONED_RATIO = Threshold(0.05, 0.015)
"""Share of calls that fail, above the usual, from which it is as likely no accident; width of the doubt."""
UNCHANGED_LATENCY = Threshold(1.15, 0.05)
"""Times the usual duration up to which a server is as likely as fast as ever; width of the doubt."""
SERVER_LATENCY = Threshold(1.5, 0.1)
"""Times the client's p95 that the server's is, from which its failures are as likely work for nobody; width."""
CONCURRENCY_GROWTH = Threshold(1.3, 0.1)
"""Times as many requests at once as usual from which those that were given up are as likely among them; width."""
MIN_STRENGTH = 0.1
"""Strength below which there is nothing to be said."""
EDGE_EVIDENCE = ("edge_failed", "edge_p95", "attempts")


def client_timeout(scan: Scan) -> tuple[Finding, ...]:
    """Model servers that work in vain, for a caller gives up sooner than it used to."""
    found = []
    failing = {scan.world.edges[row].server for row in np.flatnonzero(scan["edge_failed"].z > WORSE_Z)}
    for service in sorted(failing.intersection(scan.models)):
        strength, edge = max(((_given_up(scan, edge), edge) for edge in _into(scan, service)), default=(0.0, None))
        if edge is None or strength < MIN_STRENGTH:
            continue
        tries = scan.value("attempts", edge)
        found.append(
            Finding(
                service=service,
                cause="retry storm",
                culprit=Culprit(edge.client, edge=edge[:2]),
                strength=strength,
                severity=max(1.0, scan.ratio("running", service)),
                since=scan.since("edge_failed", edge),
                evidence=_evidence(scan, edge),
                action=Action(
                    "restore_timeout",
                    edge.client,
                    callee=service,
                    reason=Reason("abandoned_calls", edge.client, value=tries if math.isfinite(tries) else math.nan),
                    effect=reduced("load", service, 1 / max(tries, 1.0), "without_retries"),
                    alternatives=(Action("cap_retries", edge.client, callee=service),),
                ),
                urgent=True,
            )
        )
    return tuple(found)


def _evidence(scan: Scan, edge: Edge) -> tuple[Evidence, ...]:
    told = (*(evidence_of(scan, name, edge) for name in EDGE_EVIDENCE), evidence_of(scan, "running", edge.server))
    return tuple(each for each in told if math.isfinite(each.value))


def abandoned_work(scan: Scan, service: Service) -> float:
    """How sure it is that a service's model servers work on requests that were given up too soon, 0…1."""
    return max((_given_up(scan, edge) for edge in _into(scan, service)), default=0.0)


def _into(scan: Scan, service: Service) -> list[Edge]:
    edges = (scan.world.edges[row] for row in scan.into.get(service, ()))
    return [edge for edge in edges if edge.connection != "virtual_node"]


def _given_up(scan: Scan, edge: Edge) -> float:
    failed, slow = scan.value("edge_failed", edge), scan.ratio("edge_p95", edge)
    if not failed > 0 or math.isnan(slow):
        return 0.0
    waited = scan.value("edge_p95", edge)
    served = scan.value("edge_server", edge) / waited if waited > 0 else math.nan
    return min(
        confidence(scan.z("edge_failed", edge), EXTREME_Z, 0.7),
        ABANDONED_RATIO.confidence(failed - scan.level("edge_failed", edge)),
        1 - UNCHANGED_LATENCY.confidence(slow),
        max(SERVER_LATENCY.confidence(served), 1 - confidence(scan.z("failed", edge.server), EXTREME_Z, 0.7)),
        CONCURRENCY_GROWTH.confidence(scan.ratio("running", edge.server)),
        1 - LOST_REPLICAS_RATIO.confidence(lost(scan, edge.server)),
    )
