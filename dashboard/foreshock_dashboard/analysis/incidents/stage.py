"""The stage of an incident's service: early warning, degraded, or in breach of its SLO."""

from __future__ import annotations

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.model.incident import Incident, Symptom
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Stage

DEGRADED_SCALES = 3.0
"""Scales from which a service is degraded: ordinary variation does not reach it."""
DEGRADED_ERROR_RATIO = 0.01
"""Share of failed requests beyond the baseline from which a service is degraded."""
DEGRADED_FOR_SECONDS = 30.0
"""Duration for which a service must be worse to be degraded."""


def incident_stage(incident: Incident, point: EvaluationPoint, risk: ServiceRisk | None) -> Stage | None:
    """The stage of the service of an incident as of this evaluation; None unless it fires and affects the service."""
    if incident.state != "firing" or not incident.affected:
        return None
    symptom = incident.summary.symptom
    if (risk is not None and risk.breached) or (symptom is not None and symptom.value > symptom.slo):
        return "breached"
    was_degraded = incident.stage in ("degraded", "breached")
    return "degraded" if _is_degraded(incident.service, point, symptom, was_degraded=was_degraded) else "early_warning"


def _is_degraded(service: Service, point: EvaluationPoint, symptom: Symptom | None, *, was_degraded: bool) -> bool:
    """Whether p95 is beyond its normal range for long enough, or more requests fail than at the baseline."""
    if symptom is not None and symptom.signal == "error_rate":
        return not symptom.value <= symptom.baseline + DEGRADED_ERROR_RATIO
    if not point.z("p95", service) >= DEGRADED_SCALES:
        return False
    return was_degraded or point.time - point.since("p95", service) >= DEGRADED_FOR_SECONDS
