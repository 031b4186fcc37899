"""The summary of an incident: its symptom, load, requests, and stage."""

from __future__ import annotations

import math
from dataclasses import replace

from foreshock_dashboard.analysis.baseline.counts import MIN_REQUESTS, count_seconds
from foreshock_dashboard.analysis.baseline.outages import is_outage_observed, outages
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.analysis.incidents.evaluation import Evaluation
from foreshock_dashboard.analysis.saturation.safe_limits import safe_limit
from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.incident import Incident, Summary, Symptom
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Stage
from foreshock_dashboard.model.world import Operation

SYMPTOM_ERROR_RATE = 0.02
"""Error rate from which it is the symptom of an incident, instead of p95."""
MIN_OUTAGE_RATIO = 0.995
"""Error rate from which a service fails all requests: shown as 100%."""
DEGRADED_SCALES = 3.0
"""Scales from which a service is degraded: ordinary variation does not reach it."""
DEGRADED_ERROR_RATIO = 0.01
"""Share of failed requests beyond the baseline from which a service is degraded."""
DEGRADED_FOR_SECONDS = 30.0
"""Duration for which a service must be worse to be degraded."""


def with_summary(incident: Incident, evaluation: Evaluation) -> Incident:
    """The incident with its summary as of this evaluation; an unknown symptom stays as it was."""
    risk = evaluation.service_risks.get(incident.service)
    utilization = risk.utilization if risk else None
    symptom = _symptom(incident.service, evaluation.point, risk)
    summary = Summary(
        symptom=symptom or incident.summary.symptom,
        load=utilization.load if utilization else math.nan,
        safe_load=safe_limit(utilization) if utilization else math.nan,
        latent=incident.cause == "retry_storm" and not incident.affected,
        requests=_requests(incident, evaluation.point),
        down=is_outage_observed(evaluation.point, incident.service),
        failing=_failing(incident, symptom, evaluation),
    )
    summarized = replace(incident, summary=summary, slos=_slos(incident, evaluation))
    return replace(summarized, stage=incident_stage(summarized, evaluation.point, risk))


def _failing(incident: Incident, symptom: Symptom | None, evaluation: Evaluation) -> Service | None:
    """The affected caller with the most requests of those that fail all of them; None if the service does itself."""
    point, risks = evaluation.point, evaluation.service_risks

    def fails(service: Service) -> bool:
        is_breached = service in risks and risks[service].breached
        return is_breached and point.value("error_rate", service) >= MIN_OUTAGE_RATIO

    if symptom is not None and symptom.signal == "error_rate" and symptom.value >= MIN_OUTAGE_RATIO:
        return None
    failing = filter(fails, incident.other_affected)
    return max(failing, key=lambda service: point.value("rate", service), default=None)


def _slos(incident: Incident, evaluation: Evaluation) -> tuple[ServiceSlo, ...]:
    """The SLOs that the incident has, and those of services that it names for the first time."""
    known = {slo.service for slo in incident.slos}
    risks = {service: evaluation.service_risks.get(service) for service in sorted(incident.services - known)}
    return (*incident.slos, *(ServiceSlo(service, *risk.slo) for service, risk in risks.items() if risk and risk.slo))


def _symptom(service: Service, point: EvaluationPoint, risk: ServiceRisk | None) -> Symptom | None:
    """The symptom of a service, or of the operation of which the risk is."""
    key: Service | Operation = service
    slo, prefix, name = risk.slo if risk else None, "", ""
    if risk is not None and risk.operation is not None and not is_outage_observed(point, service):
        key, slo = risk.operation
        prefix, name = "operation_", key.name
    failed, p95 = point.value(f"{prefix}error_rate", key), point.value(f"{prefix}p95", key)
    counts = not point.value(f"{prefix}rate", key) * count_seconds(point) < MIN_REQUESTS
    if is_outage_observed(point, service):
        failed = point.memo(outages)[service].error_rate  # a service that is down reports no failures itself
    if failed >= SYMPTOM_ERROR_RATE:
        level = point.level(f"{prefix}error_rate", key)
        return Symptom("error_rate", failed, level, slo.error_rate if slo else math.nan, name, counts)
    if not math.isfinite(p95):
        return None
    return Symptom("p95", p95, point.level(f"{prefix}p95", key), slo.seconds if slo else math.nan, name, counts)


def _requests(incident: Incident, point: EvaluationPoint) -> str | None:
    """The kind of requests that make others wait, "" if unknown; None if their client runs on the contended GPUs."""
    client, gpus = incident.suspect.service, incident.suspect.gpus
    if incident.cause != "gpu_contention" or client in (None, incident.service) or not gpus:
        return None
    if any(point.world.tenants[row].gpu in gpus for row in point.tenant_rows.get(client, ())):
        return None
    return next((action.requests for action in incident.actions if action.requests), "")


def incident_stage(incident: Incident, point: EvaluationPoint, risk: ServiceRisk | None) -> Stage | None:
    """The stage of the service of an incident as of this evaluation; None unless it fires and affects the service."""
    if incident.state != "firing" or not incident.affected:
        return None
    symptom = incident.summary.symptom
    if (risk is not None and risk.breached) or (symptom is not None and symptom.counts and symptom.value > symptom.slo):
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
