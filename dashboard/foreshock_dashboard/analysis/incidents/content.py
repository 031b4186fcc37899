"""The content of an incident: from an incident candidate to its fields, and how these change while it is open."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.forecast.propagation import PropagatedRisk, RiskPropagation
from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.analysis.incidents.fallback_action import fallback_action
from foreshock_dashboard.analysis.incidents.triage import (
    FINDING_STRENGTH,
    IncidentCandidate,
    best_finding,
    lacks_baseline,
)
from foreshock_dashboard.analysis.root_cause.graph_walk import GraphWalk
from foreshock_dashboard.analysis.root_cause.rank import rank_causes
from foreshock_dashboard.analysis.saturation.overload import exceeds_safe_limit
from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.incident import (
    AtRisk,
    Candidate,
    Cause,
    Evidence,
    Incident,
    Phase,
    Summary,
    SuspectedCause,
    Symptom,
)
from foreshock_dashboard.model.service import Service

SYMPTOM_SIGNALS = ("p95", "failed", "flight")
SYMPTOM_FAILED_RATIO = 0.02
"""Ratio of failed requests from which it is the symptom of an incident, instead of p95."""
SERVER_SIGNALS = ("cache", "waiting", "per_token", "first_token")
EVIDENCE_Z = 2.0
"""Scales above the baseline from which a signal is evidence."""
FIRST_SIGN_Z = 2.5
"""Scales above the baseline from which a signal is the first sign."""
PAGED_TREND_RATIOS = (0.07, 0.1, 0.28, 0.6, 1.2)
"""Time until the origin of a page breaches its SLO, by `level_crossing.QUANTILES`, over the median of its trend: after
a page the breach is nearer than a trend of minutes shows. This and the next two were fitted to pages on the development
seeds of the evaluation (`make evaluate`)."""
SOON_SECONDS = (10.0, 20.0, 70.0, 300.0, 700.0)
"""The same in seconds without a trend, and for model servers that fill up before p95 shows it."""
IMMINENT_SECONDS = (5.0, 10.0, 20.0, 60.0, 200.0)
"""The same for a cause that takes a service down by itself, and for overloaded model servers."""
SUSPECTED_RATIO = 0.5
"""Strength of another finding over that of a fault of the service itself, from which the other one is reported."""
MAX_RANKED_CALLERS = 8
"""Affected callers that the ranking of suspected causes takes into account, nearest first."""
RANKING_SECONDS = 60.0
"""Seconds between two rankings of suspected causes."""
PHASES: Sequence[Phase] = ("advisory", "page", "cascading")
"""Phases of an open incident in the order of escalation."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: signals at a grid point, the risk of each service, and all findings."""

    point: EvaluationPoint
    own: Mapping[Service, ServiceRisk]
    findings: Sequence[Finding]

    @cached_property
    def walk(self) -> GraphWalk:
        """The walk that ranks suspected causes, for all incidents."""
        return GraphWalk(self.point, self.findings)

    @cached_property
    def propagation(self) -> RiskPropagation:
        """Propagation of risk from callee to caller, for all incidents."""
        return RiskPropagation(self.point, self.own)

    @cached_property
    def risks(self) -> Sequence[PropagatedRisk]:
        """Services at risk by their own signals."""
        return self.propagation.risks()


def opened_incident(candidate: IncidentCandidate, point: EvaluationPoint) -> Incident:
    """A new incident of a candidate, without figures."""
    return _blank(candidate.origin, "", _since(candidate, point), point)


def advisory(known: Incident | None, finding: Finding, point: EvaluationPoint) -> Incident:
    """An advisory about a latent risk: no service is affected."""
    updated = replace(
        known or _blank(finding.service, "-weak", point.time, point),
        cause=finding.cause,
        suspect=finding.suspect,
        evidence=finding.evidence,
        confidence=finding.strength,
        quality="inferred",
        action=finding.action,
    )
    return with_summary(updated, point)


def _blank(service: Service, suffix: str, since: float, point: EvaluationPoint) -> Incident:
    name = datetime.fromtimestamp(point.time, UTC).strftime("%Y%m%dT%H%M%SZ")
    return Incident(
        id=f"{name}-{service}{suffix}".replace("/", "."),
        phase="advisory",
        cause="demand",
        service=service,
        suspect=SuspectedCause(),
        victims=(),
        at_risk=(),
        candidates=(),
        since=since,
        opened=point.time,
        paged=None,
        until=None,
        evidence=(),
        confidence=0.0,
        quality="sampled",
        action=None,
        summary=Summary(),
    )


def updated_incident(
    incident: Incident, candidate: IncidentCandidate, evaluation: Evaluation, *, page: bool
) -> Incident:
    """The incident as of this evaluation. Its phase only escalates while it is open."""
    spread = len(candidate.breaching) > 1 or bool(candidate.breaching and candidate.breaching[0] != candidate.origin)
    phase: Phase = "cascading" if page and spread else "page" if page else "advisory"
    paged = incident.paged if incident.paged is not None else evaluation.point.time if page else None
    again = not incident.candidates or paged != incident.paged or _minute(evaluation.point)
    victims = (candidate.origin, *candidate.affected_callers[:MAX_RANKED_CALLERS])
    suspects = rank_causes(evaluation.walk, victims) if again else incident.candidates
    suspect = suspects[0].service if again and suspects else None
    candidate = _suspected(incident, candidate, suspect, evaluation.findings)
    cause, suspected = _cause(candidate, suspects)
    updated = replace(
        incident,
        phase=max(phase, incident.phase, key=PHASES.index),
        paged=paged,
        cause=cause,
        service=candidate.origin,
        suspect=suspected,
        victims=tuple(dict.fromkeys((candidate.origin, *candidate.affected_callers))),
        at_risk=_at_risk(candidate, evaluation),
        candidates=_candidates(suspected, candidate, suspects) if again else incident.candidates,
        evidence=_evidence(candidate, evaluation.point),
        confidence=candidate.cause.strength if candidate.cause else candidate.chance,
        quality="sampled",
        action=candidate.cause.action
        if candidate.cause
        else fallback_action(evaluation.point, cause, candidate.origin, suspected.service),
    )
    return with_summary(updated, evaluation.point)


def with_forecast(incident: Incident, evaluation: Evaluation) -> Incident:
    """The incident as before, with the services at risk as of this evaluation."""
    ahead = tuple(each for each in _near(incident.service, evaluation) if math.isfinite(each.p50))
    return with_summary(replace(incident, at_risk=ahead), evaluation.point)


def recovering_incident(incident: Incident, point: EvaluationPoint) -> Incident:
    """The incident while it recovers: no service is at risk."""
    return with_summary(replace(incident, at_risk=(), quality="sampled"), point, recovering=True)


def with_summary(incident: Incident, point: EvaluationPoint, *, recovering: bool = False) -> Incident:
    """The incident with its summary as of this grid point."""
    summary = Summary(
        symptom=_symptom(incident.service, point),
        recovering=recovering,
        latent=incident.cause == "retry storm" and incident.phase == "advisory",
        requests=_requests(incident, point),
    )
    return replace(incident, summary=summary)


def _symptom(service: Service, point: EvaluationPoint) -> Symptom | None:
    failed = point.value("failed", service)
    if failed >= SYMPTOM_FAILED_RATIO:
        return Symptom("failed", failed)
    p95, baseline = point.value("p95", service), point.level("p95", service)
    return Symptom("p95", p95, baseline) if math.isfinite(p95) and math.isfinite(baseline) else None


def _requests(incident: Incident, point: EvaluationPoint) -> str | None:
    """The kind of requests that make others wait, "" if unknown; None if their client runs on the contended GPUs."""
    client, gpus = incident.suspect.service, incident.suspect.gpus
    if incident.cause != "pool contention" or client in (None, incident.service) or not gpus:
        return None
    if any(point.world.tenants[row].gpu in gpus for row in point.tenant_rows.get(client, ())):
        return None
    return incident.action.requests if incident.action else ""


def _minute(point: EvaluationPoint) -> bool:
    """Whether `RANKING_SECONDS` have passed since a multiple of them at the previous grid point."""
    return bool(point.time // RANKING_SECONDS != (point.time - point.world.step) // RANKING_SECONDS)


def _suspected(
    incident: Incident, candidate: IncidentCandidate, suspect: Service | None, findings: Sequence[Finding]
) -> IncidentCandidate:
    """The candidate with the cause to report: a fault of the service itself only where no other cause is possible.

    Other causes are findings about the origin, or, without a firm one, about the network of the suspect. Without a new
    ranking the reported cause stays as long as it is found. Paging does not depend on it.
    """
    known = candidate.cause
    if known is not None and not known.by_itself:
        return candidate
    least = SUSPECTED_RATIO * max(FINDING_STRENGTH, known.strength if known is not None else 0.0)
    likely = [each for each in findings if each.strength >= least and not each.by_itself]
    services = {candidate.origin, known.service} if known is not None else {candidate.origin}
    about = [each for each in likely if each.service in services]
    if not about and (known is None or known.strength < FINDING_STRENGTH):
        lost = [each for each in likely if each.cause == "network"]
        before = [
            each for each in lost if (each.cause, each.suspect.service) == (incident.cause, incident.suspect.service)
        ]
        about = before if suspect is None else [each for each in lost if each.service == suspect]
    return replace(candidate, cause=best_finding(about)) if about else candidate


def _cause(candidate: IncidentCandidate, ranked: Sequence[Candidate]) -> tuple[Cause, SuspectedCause]:
    """Cause and suspected cause: of the finding, else load of an overloaded origin, else a fault of the suspect."""
    if candidate.cause is not None:
        return candidate.cause.cause, candidate.cause.suspect
    suspect = ranked[0].service if ranked else candidate.origin
    return "demand" if candidate.origin_overloaded else "dependency", SuspectedCause(suspect)


def _at_risk(candidate: IncidentCandidate, evaluation: Evaluation) -> tuple[AtRisk, ...]:
    """The origin and its callers, direct or not, in the order in which they breach their SLOs."""
    first = evaluation.own.get(candidate.origin)
    known: dict[Service, ServiceRisk] = {}
    if first is not None and not first.breached:
        chance = max(first.chance, candidate.chance)
        known[candidate.origin] = replace(first, chance=chance, seconds=_seconds(candidate, first))
    return _near(candidate.origin, evaluation, known)


def _near(
    origin: Service, evaluation: Evaluation, known: Mapping[Service, ServiceRisk] | None = None
) -> tuple[AtRisk, ...]:
    """A service and its callers, direct or not, the soonest breach first. known: risks that replace their own.

    Services without a latency baseline are left out: a breach could not be observed.
    """
    near = {origin, *evaluation.point.upstream[origin]}
    ahead = evaluation.propagation.risks(known) if known else evaluation.risks
    found = [
        _risk(each) for each in ahead if each.service in near and not lacks_baseline(evaluation.point, each.service)
    ]
    return tuple(sorted(found, key=lambda each: (each.p50, each.service)))


def _seconds(candidate: IncidentCandidate, own: ServiceRisk) -> tuple[float, ...]:
    """Seconds until the origin breaches its SLO, by `level_crossing.QUANTILES`. The load of model servers leads p95."""
    if candidate.causes_outage or (
        own.overloaded and own.utilization is not None and exceeds_safe_limit(own.utilization)
    ):
        return IMMINENT_SECONDS
    if own.overloaded or math.isinf(own.seconds[2]):
        return SOON_SECONDS
    return tuple(share * own.seconds[2] for share in PAGED_TREND_RATIOS) if candidate.page else own.seconds


def _risk(each: PropagatedRisk) -> AtRisk:
    p10, p20, p50, p80, p90 = each.seconds
    return AtRisk(each.service, p20, p50, p80, p10, p90)


def _candidates(
    suspected: SuspectedCause, candidate: IncidentCandidate, ranked: Sequence[Candidate]
) -> tuple[Candidate, ...]:
    """The ranked candidates, with the service that the finding suspects first."""
    if suspected.service is None:
        return tuple(ranked)
    rest = [each for each in ranked if each.service != suspected.service]
    own = next((each for each in ranked if each.service == suspected.service), None)
    score = max([own.score if own else 0.0, candidate.chance, *(each.score for each in rest)])
    cause = (Reason("cause", name=candidate.cause.cause),) if candidate.cause else ()
    total = score + sum(each.score for each in rest)
    first = Candidate(suspected.service, score, own.reasons if own else cause)
    return tuple(each._replace(score=each.score / total) if total > 0 else each for each in (first, *rest))


def _evidence(candidate: IncidentCandidate, point: EvaluationPoint) -> tuple[Evidence, ...]:
    found = list(candidate.cause.evidence) if candidate.cause else []
    names = (*SYMPTOM_SIGNALS, *SERVER_SIGNALS)
    found += [_figure(name, candidate.origin, point) for name in names if point.z(name, candidate.origin) >= EVIDENCE_Z]
    found += [
        _figure("p95", caller, point)
        for caller in candidate.affected_callers[:3]
        if math.isfinite(point.value("p95", caller))
    ]
    return tuple({(each.name, each.entity): each for each in found}.values())


def _figure(name: str, service: Service, point: EvaluationPoint) -> Evidence:
    signal = SIGNAL_BY_NAME[name]
    value, level = point.value(name, service), point.level(name, service)
    return Evidence(signal.text, value, level, signal.unit, point.since(name, service), str(service))


def _since(candidate: IncidentCandidate, point: EvaluationPoint) -> float:
    found = [
        point.since(name, candidate.origin)
        for name in SYMPTOM_SIGNALS
        if point.z(name, candidate.origin) >= FIRST_SIGN_Z
    ]
    if candidate.cause:
        found.append(candidate.cause.since)
    return min(found, default=point.time)
