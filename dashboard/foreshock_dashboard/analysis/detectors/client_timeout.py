"""Client timeouts: a caller abandons calls that are answered as fast as ever.

An abandoned request keeps the model server busy, and the client sends it again. If the server is slow, failed calls
take as long as the timeout, and longer than at baseline. Here they fail while the others are no slower, the server
itself fails none or works on them longer than the client waits, and no replica is lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.replicas import LOST_REPLICAS_RATIO, lost
from foreshock_dashboard.analysis.detectors.finding import (
    EXTREME_Z,
    MIN_STRENGTH,
    WORSE_Z,
    Finding,
    evidence_of,
    known_evidence,
)
from foreshock_dashboard.analysis.remediation.actions import cap_retries
from foreshock_dashboard.model.action import Action, Reason
from foreshock_dashboard.model.incident import SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.threshold import Threshold, confidence

ABANDONED_RATIO = Threshold(0.05, 0.015)
"""Ratio of failed calls above the baseline from which calls are abandoned."""
UNCHANGED_LATENCY = Threshold(1.15, 0.05)
"""Latency over its baseline up to which the server is as fast as ever."""
SERVER_LATENCY = Threshold(1.5, 0.1)
"""Server's p95 over the client's, from which the server works on abandoned requests."""
CONCURRENCY_GROWTH = Threshold(1.3, 0.1)
"""Concurrent requests over their baseline, from which abandoned ones are among them."""
EDGE_EVIDENCE = ("edge_error_rate", "edge_p95", "attempts")


def client_timeout(point: EvaluationPoint) -> Iterator[Finding]:
    """Findings for model servers with a client that times out sooner than before."""
    failing = {point.world.edges[row].server for row in np.flatnonzero(point["edge_error_rate"].z > WORSE_Z)}
    for service in sorted(failing.intersection(point.models)):
        strength, edge = max(_abandoned(point, service), default=(0.0, None))
        if edge is None or strength < MIN_STRENGTH:
            continue
        attempts = point.value("attempts", edge)
        reason = Reason("abandoned_calls", edge.client, value=attempts)
        figures = [evidence_of(point, name, edge) for name in EDGE_EVIDENCE]
        yield Finding(
            service=service,
            cause="retry_storm",
            suspect=SuspectedCause(edge.client, edge=edge[:2]),
            strength=strength,
            severity=max(1.0, point.ratio("running", service)),
            since=point.since("edge_error_rate", edge),
            evidence=known_evidence(*figures, evidence_of(point, "running", service)),
            actions=(
                cap_retries(point, edge.client, service, 1 / max(attempts, 1.0))._replace(reason=reason),
                Action("restore_timeout", edge.client, callee=service),
            ),
            urgent=True,
        )


def abandoned_work(point: EvaluationPoint, service: Service) -> float:
    """Confidence (0 to 1) that model servers of a service work on abandoned requests."""
    return max((strength for strength, _ in _abandoned(point, service)), default=0.0)


def _abandoned(point: EvaluationPoint, service: Service) -> list[tuple[float, Edge]]:
    """Confidence (0 to 1) that a client abandons its calls, with the edge, for each client of a service."""
    return [(_abandons(point, edge), edge) for edge in point.calls_to(service) if edge.connection != "virtual_node"]


def _abandons(point: EvaluationPoint, edge: Edge) -> float:
    failed, slow = point.value("edge_error_rate", edge), point.ratio("edge_p95", edge)
    if not failed > 0 or math.isnan(slow):
        return 0.0
    waited = point.value("edge_p95", edge)
    served = point.value("edge_server", edge) / waited if waited > 0 else math.nan
    return min(
        confidence(point.z("edge_error_rate", edge), EXTREME_Z, 0.7),
        ABANDONED_RATIO.confidence(failed - point.level("edge_error_rate", edge)),
        1 - UNCHANGED_LATENCY.confidence(slow),
        max(SERVER_LATENCY.confidence(served), 1 - confidence(point.z("error_rate", edge.server), EXTREME_Z, 0.7)),
        CONCURRENCY_GROWTH.confidence(point.ratio("running", edge.server)),
        1 - LOST_REPLICAS_RATIO.confidence(lost(point, edge.server)),
    )
