"""The content of an incident: how its fields follow from an incident candidate and change while it is open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.xids import with_xid_reason
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.incidents.actions import as_of_now, fallback_actions, is_breached, with_actions
from foreshock_dashboard.analysis.incidents.at_risk import near_at_risk, services_at_risk
from foreshock_dashboard.analysis.incidents.cause_candidates import (
    as_in_evidence,
    with_present_growth,
    with_suspect_first,
)
from foreshock_dashboard.analysis.incidents.change_cause import ReportedCause, with_change
from foreshock_dashboard.analysis.incidents.evaluation import Evaluation
from foreshock_dashboard.analysis.incidents.evidence import (
    SYMPTOM_SIGNALS,
    present_evidence,
    with_first_sign,
    with_load,
    with_sent_load,
)
from foreshock_dashboard.analysis.incidents.paging import FINDING_STRENGTH
from foreshock_dashboard.analysis.incidents.summary import with_summary
from foreshock_dashboard.analysis.incidents.triage import IncidentCandidate, best_finding
from foreshock_dashboard.analysis.remediation.ranking import durable, ranked
from foreshock_dashboard.model.incident import Candidate, Cause, Incident, SuspectedCause
from foreshock_dashboard.model.service import Service

FIRST_SIGN_Z = 2.5
"""Scales above the baseline from which a signal is the first sign."""
SUSPECTED_RATIO = 0.5
"""Strength of another finding over that of a fault of the service itself, from which the other one is reported."""
LATENT_SUFFIX = "-weak"
"""End of the IDs of early warnings of latent risks: one may stand beside an incident of its service."""
MAX_LONE_CONFIDENCE = 0.7
"""Largest confidence in the cause of an incident with fewer than two signals, a change included, as its evidence."""


def opened_incident(candidate: IncidentCandidate, point: EvaluationPoint) -> Incident:
    """A new incident of a candidate, without figures."""
    origin = candidate.origin
    first = [point.since(name, origin) for name in SYMPTOM_SIGNALS if point.z(name, origin) >= FIRST_SIGN_Z]
    first += [candidate.cause.since] if candidate.cause else []
    return _blank(origin, "", min(first, default=point.time), point)


def latent_risk_warning(known: Incident | None, finding: Finding, evaluation: Evaluation) -> Incident:
    """An early warning of a latent risk: no service is affected."""
    reported = known or _blank(finding.service, LATENT_SUFFIX, evaluation.point.time, evaluation.point)
    updated = replace(
        reported,
        cause=finding.cause,
        suspect=finding.suspect,
        evidence=tuple(item._replace(since=reported.since) for item in finding.evidence),
        evidence_at=evaluation.point.time,
        confidence=finding.strength,
        quality="inferred",
        actions=ranked(evaluation.point, finding.actions, {}),
    )
    return with_summary(updated, evaluation)


def _blank(service: Service, suffix: str, since: float, point: EvaluationPoint) -> Incident:
    name = datetime.fromtimestamp(point.time, UTC).strftime("%Y%m%dT%H%M%SZ")
    incident_id = f"{name}-{service}{suffix}".replace("/", ".")
    return Incident(
        incident_id, "warning", "firing", "overload", service, since, opened=point.time, first_service=service
    )


def updated_incident(
    incident: Incident, candidate: IncidentCandidate, evaluation: Evaluation, *, page: bool, is_ranked: bool = True
) -> Incident:
    """The incident as of this evaluation. Its severity never decreases, and an empty ranking changes nothing.

    is_ranked: whether its suspected causes are ranked again.
    """
    point, origin = evaluation.point, candidate.origin
    cascading = incident.cascading or (page and bool({*candidate.breaching} - {origin}))
    paged = point.time if page and incident.paged is None else incident.paged
    ranking = evaluation.ranker.candidates(candidate.ranked_from, incident.opened) if is_ranked else ()
    known = ranking or incident.candidates
    suspect = ranking[0].service if ranking else None
    finding = _reported_finding(incident, candidate, suspect, evaluation.findings)
    if finding is not None:
        cause, suspected, confidence, actions = finding.cause, finding.suspect, finding.strength, finding.actions
    else:
        is_own = origin in evaluation.service_risks and bool(evaluation.service_risks[origin].resource)
        suspected = SuspectedCause(known[0].service if known and not is_own else origin)
        is_load = not is_own and bool(known) and _sends_more(known[0], origin, point)
        cause = "overload" if candidate.origin_overloaded or is_load else "dependency"
        if incident.suspect.change is not None and suspected.service == origin:
            suspected = SuspectedCause(incident.suspect.service)  # a changed callee may fail and recover in turns
        confidence, actions = candidate.score, fallback_actions(point, cause, origin, suspected.service)
    began = _began(incident, finding, point.time if paged is None else paged)
    reported = with_change(point, origin, began, ReportedCause(cause, suspected, confidence, actions))
    cause, suspected, confidence, actions = reported
    evidence = present_evidence(incident, candidate, finding, suspected.service, point)
    if len(evidence) + (suspected.change is not None) < 2:
        confidence = min(confidence, MAX_LONE_CONFIDENCE)
    evidence = with_first_sign(evidence, incident, point)
    confidence = lasting_confidence(incident, (origin, cause, suspected.service), confidence)
    onsets = [item.since for item in evidence if math.isfinite(item.since)]
    since = min([*onsets, *([incident.since] if incident.evidence else ())], default=incident.since)
    evidence = with_load(evidence, cause, incident, origin, point)
    evidence = with_sent_load(evidence, cause, incident, origin, suspected.service, point)
    known = tuple(as_in_evidence(with_present_growth(item, point), evidence, since) for item in known)
    is_changed = bool(ranking) or not known or (is_ranked and known[0].service != suspected.service)
    updated = replace(
        incident,
        severity="critical" if page else incident.severity,
        cascading=cascading,
        paged=paged,
        paged_service=origin if page and incident.paged is None else incident.paged_service,
        cause=cause,
        service=origin,
        suspect=suspected,
        affected=tuple(dict.fromkeys((origin, *candidate.affected_callers))),
        at_risk=services_at_risk(candidate, evaluation, 0.0 if paged is None else point.time - paged),
        candidates=with_suspect_first(suspected.service, finding, candidate.score, known) if is_changed else known,
        ranked_at=point.time if is_ranked else incident.ranked_at,
        since=since,
        evidence=evidence,
        evidence_at=point.time if evidence else None,
        confidence=confidence,
        quality="sampled",
    )
    return with_summary(with_actions(updated, with_xid_reason(actions, evidence), evaluation), evaluation)


def _sends_more(suspect: Candidate, origin: Service, point: EvaluationPoint) -> bool:
    """Whether a suspected service is a caller of the origin, direct or not, whose requests grew: no dependency."""
    grew = any(reason.kind in ("requests_grew", "calls_grew") for reason in suspect.reasons)
    return grew and suspect.service in point.upstream[origin] and origin not in point.upstream[suspect.service]


def lasting_confidence(incident: Incident, reported: tuple[Service, Cause, Service | None], confidence: float) -> float:
    """The confidence in a service's cause and suspected cause: after the page it never falls while they stay the same.

    The end of a cause is no evidence against it.
    """
    is_same = reported == (incident.service, incident.cause, incident.suspect.service)
    return max(confidence, incident.confidence) if is_same and incident.paged is not None else confidence


def _began(incident: Incident, finding: Finding | None, latest: float) -> float:
    """Unix seconds of the first sign of the cause: its own, where the service had another trouble before.

    latest: of the page, which no later change explains.
    """
    if finding is None:
        return incident.since
    signs = [item.since for item in finding.evidence if math.isfinite(item.since)]
    return min([*signs, latest] if signs else [finding.since, latest])


def with_forecast(incident: Incident, evaluation: Evaluation) -> Incident:
    """The incident as before, with its actions and the services at risk as of this evaluation."""
    at_risk = tuple(risk for risk in near_at_risk(incident.service, evaluation, {}) if math.isfinite(risk.p50))
    actions = tuple(as_of_now(action, evaluation.point) for action in incident.actions)
    if is_breached(incident.service, evaluation.service_risks):
        actions = tuple(action._replace(too_late=False) for action in actions)
    return with_summary(replace(incident, at_risk=at_risk, actions=actions), evaluation)


def recovering_incident(incident: Incident, since: float, evaluation: Evaluation) -> Incident:
    """The incident while it recovers, since Unix seconds: no service is at risk."""
    recovering = replace(
        incident,
        state="recovering",
        recovering_since=since,
        at_risk=(),
        quality="sampled",
        actions=tuple(durable(incident.actions, evaluation.point)),
    )
    return with_summary(recovering, evaluation)


def _reported_finding(
    incident: Incident, candidate: IncidentCandidate, suspect: Service | None, findings: Sequence[Finding]
) -> Finding | None:
    """The finding to report: a fault of the service itself only where no other cause is possible.

    Other causes are findings about the origin, or, without a firm one, about the network of the suspect. Without a new
    ranking the reported cause stays as long as it is found. Paging does not depend on it.
    """
    cause = candidate.cause
    if cause is not None and not cause.by_itself:
        return cause
    min_strength = SUSPECTED_RATIO * max(FINDING_STRENGTH, cause.strength if cause else 0.0)
    likely = [finding for finding in findings if finding.strength >= min_strength and not finding.by_itself]
    services = {candidate.origin, cause.service if cause else candidate.origin}
    others = [finding for finding in likely if finding.service in services]
    if not others and (cause is None or cause.strength < FINDING_STRENGTH):
        others = [finding for finding in likely if finding.cause == "network"]
        if suspect is not None:
            others = [finding for finding in others if finding.service == suspect]
        else:
            reported = incident.cause, incident.suspect.service
            others = [finding for finding in others if (finding.cause, finding.suspect.service) == reported]
    return best_finding(others) or cause
