"""Outage: a service is down, and its callers fail because of it.

The cause is the hardware where its GPUs are faulty, else a fault of the service itself: it crashes, or cannot start.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from foreshock_dashboard.analysis.baseline.outages import Outage, lost_gpus, outages
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import RESOURCE_SIGNALS
from foreshock_dashboard.analysis.detectors.dependency import affects
from foreshock_dashboard.analysis.detectors.finding import (
    MAX_UNOBSERVED_STRENGTH,
    MIN_STRENGTH,
    WORSE_Z,
    Finding,
    evidence_of,
    known_evidence,
)
from foreshock_dashboard.analysis.detectors.hardware import GPU_SIGNALS, faulty_gpus
from foreshock_dashboard.analysis.detectors.network import lossy_hosts
from foreshock_dashboard.analysis.remediation.actions import roll_back
from foreshock_dashboard.analysis.remediation.effect import caller_effect
from foreshock_dashboard.model.action import Action, Reason
from foreshock_dashboard.model.incident import Cause, Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu, gpu_order

MIN_REMAINING_RATIO = 0.01
"""Smallest share of the capacity that counts as left, which bounds the severity."""


def outage(point: EvaluationPoint) -> Iterator[Finding]:
    """Findings for services that are down, and for their affected callers."""
    down = point.memo(outages)
    network = max(point.memo(lossy_hosts).values(), default=0.0) if down else 0.0
    for service, state in sorted(down.items()):
        observed = min(state.observed, 1 - network)  # calls that a network loses reach no server either
        strength = min(state.gone, max(observed, MAX_UNOBSERVED_STRENGTH))
        if strength < MIN_STRENGTH:
            continue
        callers = sorted({edge.client for edge in point.calls_to(service) if edge.connection != "virtual_node"})
        gpus = _faulty_gpus(point, service)
        cause: Cause = "hardware" if gpus else "dependency"
        evidence = _evidence(point, service, gpus)
        since = min((item.since for item in evidence), default=point.time)
        for affected in (service, *callers):
            calls = [edge for edge in point.calls_to(service) if edge.client == affected]
            share = 1.0 if affected == service else affects(point, affected, calls)
            if min(strength, share) < MIN_STRENGTH:
                continue
            edge = None if affected == service else (affected, service)
            yield Finding(
                service=affected,
                cause=cause,
                suspect=SuspectedCause(service, gpus, edge=edge, host=gpus[0].host if gpus else ""),
                strength=min(strength, share),
                severity=1 / max(1 - state.lost, MIN_REMAINING_RATIO),
                since=since,
                evidence=evidence,
                actions=_actions(point, service, callers, gpus, state),
                urgent=observed > 0.5,
                down=True,
            )


def _faulty_gpus(point: EvaluationPoint, service: Service) -> tuple[Gpu, ...]:
    faults = point.memo(faulty_gpus)
    gpus = {point.world.tenants[row].gpu for row in point.tenant_rows.get(service, ())}
    return tuple(sorted((gpu for gpu in gpus if gpu in faults), key=gpu_order))


def _evidence(point: EvaluationPoint, service: Service, gpus: tuple[Gpu, ...]) -> tuple[Evidence, ...]:
    edges = sorted(point.calls_to(service), key=lambda edge: -_failures(point, edge))
    figures = [evidence_of(point, name, service) for name in RESOURCE_SIGNALS if point.z(name, service) >= WORSE_Z]
    figures += [evidence_of(point, "ready", service), evidence_of(point, "rate", service)]
    figures += [evidence_of(point, name, edge) for edge in edges[:1] for name in ("edge_error_rate", "edge_rate")]
    figures += [evidence_of(point, name, gpu) for gpu in gpus[:2] for name in GPU_SIGNALS]
    known = [item for item in known_evidence(*figures) if item.value != item.baseline]
    if lost := lost_gpus(point, service):
        since = min((item.since for item in known), default=point.time)
        known.insert(0, Evidence("lost GPUs", float(len(lost)), 0.0, "", since, str(service)))
    return tuple(known)


def _failures(point: EvaluationPoint, edge: object) -> float:
    failures = point.value("edge_error_rate", edge) * point.value("edge_rate", edge)
    return failures if math.isfinite(failures) else 0.0


def _actions(
    point: EvaluationPoint, service: Service, callers: list[Service], gpus: tuple[Gpu, ...], state: Outage
) -> tuple[Action, ...]:
    effect = caller_effect(point, callers, service)
    if gpus:
        return Action("drain_gpus", service, gpus=gpus, effect=effect), Action("inspect_gpus", service, gpus=gpus)
    reason = Reason("lost_capacity", service, value=state.lost)
    return (*roll_back(service, callers, effect), Action("inspect_replicas", service, reason=reason, effect=effect))
