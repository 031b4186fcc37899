"""The content of an incident: from an incident candidate to its fields, and how these change while it is open."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

from foreshock_dashboard.analysis.baseline.outages import is_outage_observed, outages
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import RESOURCE_SIGNALS, SIGNAL_BY_NAME
from foreshock_dashboard.analysis.detectors.finding import Finding, entity, evidence_of
from foreshock_dashboard.analysis.forecast.propagation import MEDIAN_INDEX, PropagatedRisk, RiskPropagation
from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.analysis.incidents.change_cause import ReportedCause, with_change
from foreshock_dashboard.analysis.incidents.stage import incident_stage
from foreshock_dashboard.analysis.incidents.triage import (
    AFFECTED_Z,
    FINDING_STRENGTH,
    IncidentCandidate,
    best_finding,
    lacks_baseline,
)
from foreshock_dashboard.analysis.remediation.actions import against_growth, limited_rate, roll_back
from foreshock_dashboard.analysis.remediation.effect import LOAD, at_baseline, caller_effect, with_slo
from foreshock_dashboard.analysis.remediation.ranking import MAX_ACTIONS, durable, ranked, with_relief
from foreshock_dashboard.analysis.root_cause.graph_walk import GraphWalk
from foreshock_dashboard.analysis.root_cause.rank import CauseRanker
from foreshock_dashboard.analysis.saturation.safe_limits import exceeds_safe_limit, safe_limit
from foreshock_dashboard.model.action import Action, ActionKind, Reason, ReasonKind
from foreshock_dashboard.model.incident import (
    AtRisk,
    Candidate,
    Cause,
    Evidence,
    Incident,
    Summary,
    SuspectedCause,
    Symptom,
)
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge, Operation

SYMPTOM_SIGNALS = ("p95", "error_rate", "flight")
SYMPTOM_ERROR_RATE = 0.02
"""Error rate from which it is the symptom of an incident, instead of p95."""
EVIDENCE_SIGNALS = (*SYMPTOM_SIGNALS, "cache", "waiting", "per_token", "first_token", *RESOURCE_SIGNALS)
EVIDENCE_Z = 2.0
"""Scales above the baseline from which a signal is evidence."""
MAX_SLOW_CALLERS = 3
"""Affected callers whose p95 is evidence, nearest first; the errors of all that breach their SLO are."""
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
CHECKED_FIRST = 3
"""Candidates to check where no cause is stated."""
INSPECTING: Set[ActionKind] = {"inspect_deploys", "inspect_gpus", "inspect_links", "inspect_replicas"}
"""Actions that change nothing, so that they hit no bystander if the suspected cause is wrong."""
LATENT_SUFFIX = "-weak"
"""End of the IDs of early warnings of latent risks: one may stand beside an incident of its service."""
MAX_RANKED_CALLERS = 8
"""Affected callers that the ranking of suspected causes takes into account, nearest first."""
RANKING_SECONDS = 60.0
"""Seconds between two rankings of suspected causes."""
MIN_REQUEST_GROWTH = 1.1
"""Request rate over its baseline below which other load than requests grew: tokens."""
REASON_SIGNALS: Mapping[str, str] = {
    "cache_ratio": "cache",
    "error_ratio": "error_rate",
    "p95_seconds": "p95",
    "per_token_seconds": "per_token",
    "preempted": "preempted",
}
"""Signals that evidence has as well, by the name of the metric in a reason of the ranking."""
FIGURES: Mapping[ReasonKind, Callable[[float, float], float]] = {
    "failures_grew": lambda value, baseline: value - baseline,
    "metric": lambda value, _: value,
    "slower": lambda value, baseline: value / baseline if baseline > 0 else math.nan,
}
"""The value of a reason, from that of a signal and its baseline, by kind."""
MAX_LONE_CONFIDENCE = 0.7
"""Largest confidence in the cause of an incident with fewer than two signals, a change included, as its evidence."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: signals at a grid point, the risk of each service, and all findings."""

    point: EvaluationPoint
    own: Mapping[Service, ServiceRisk]
    findings: Sequence[Finding]

    @cached_property
    def ranker(self) -> CauseRanker:
        """Ranking of suspected causes, for all incidents."""
        return CauseRanker(GraphWalk(self.point, self.findings))

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
    incident: Incident, candidate: IncidentCandidate, evaluation: Evaluation, *, page: bool
) -> Incident:
    """The incident as of this evaluation. Its severity never decreases, and an empty ranking changes nothing."""
    point, origin = evaluation.point, candidate.origin
    cascading = incident.cascading or (page and bool({*candidate.breaching} - {origin}))
    paged = point.time if page and incident.paged is None else incident.paged
    previous = point.time - point.world.step
    is_ranking_due = (
        not incident.candidates
        or paged != incident.paged
        or point.time // RANKING_SECONDS != previous // RANKING_SECONDS
    )
    callers = candidate.affected_callers
    affected = (origin, *callers[:MAX_RANKED_CALLERS])
    ranking = evaluation.ranker.candidates(affected, incident.opened) if is_ranking_due else ()
    known = ranking or incident.candidates
    suspect = ranking[0].service if ranking else None
    finding = _reported_finding(incident, candidate, suspect, evaluation.findings)
    if finding is not None:
        cause, suspected, confidence, actions = finding.cause, finding.suspect, finding.strength, finding.actions
    else:
        cause = "overload" if candidate.origin_overloaded else "dependency"
        is_own = origin in evaluation.own and bool(evaluation.own[origin].resource)
        suspected = SuspectedCause(known[0].service if known and not is_own else origin)
        if incident.suspect.change is not None and suspected.service == origin:
            suspected = SuspectedCause(incident.suspect.service)  # a changed callee may fail and recover in turns
        confidence, actions = candidate.probability, fallback_actions(point, cause, origin, suspected.service)
    began = _began(incident, finding, point.time if paged is None else paged)
    reported = with_change(point, origin, began, ReportedCause(cause, suspected, confidence, actions))
    cause, suspected, confidence, actions = reported
    evidence = _lasting(_evidence(finding, candidate, point), incident.evidence)
    suspect_service = suspected.service or origin
    signaling: list[Service | Edge] = [origin, *callers, suspect_service, *point.calls_to(suspect_service)]
    evidence = _since_first_excess(evidence, signaling, point, incident.since)
    if len(evidence) + (suspected.change is not None) < 2:
        confidence = min(confidence, MAX_LONE_CONFIDENCE)
    evidence = _with_first_sign(evidence, incident, point)
    confidence = _lasting_confidence(incident, (origin, cause, suspected.service), confidence)
    onsets = [item.since for item in evidence if math.isfinite(item.since)]
    since = min([*onsets, *([incident.since] if incident.evidence else ())], default=incident.since)
    known = tuple(_as_in_evidence(_with_present_growth(item, point), evidence, since) for item in known)
    is_changed = bool(ranking) or not known or (is_ranking_due and known[0].service != suspected.service)
    updated = replace(
        incident,
        severity="critical" if page else incident.severity,
        cascading=cascading,
        paged=paged,
        paged_service=origin if page and incident.paged is None else incident.paged_service,
        cause=cause,
        service=origin,
        suspect=suspected,
        affected=tuple(dict.fromkeys((origin, *callers))),
        at_risk=_at_risk(candidate, evaluation),
        candidates=_candidates(suspected.service, finding, candidate.probability, known) if is_changed else known,
        since=since,
        evidence=evidence,
        evidence_at=point.time if evidence else None,
        confidence=confidence,
        quality="sampled",
    )
    return with_summary(with_actions(updated, actions, evaluation), evaluation)


def _lasting_confidence(
    incident: Incident, reported: tuple[Service, Cause, Service | None], confidence: float
) -> float:
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


def with_actions(incident: Incident, actions: Sequence[Action], evaluation: Evaluation) -> Incident:
    """The incident with these actions and those that relieve its service, in order of their time to effect.

    Without a stated cause, the candidates are to be checked first, and nothing is done against one: that may hit a
    bystander.
    """
    own, point = evaluation.own, evaluation.point
    checks: tuple[Action, ...] = ()
    if not incident.is_cause_stated:
        actions = [action for action in actions if action.kind in INSPECTING]
        candidates = tuple(candidate.service for candidate in incident.candidates[:CHECKED_FIRST])
        checks = (Action("check_first", incident.service, candidates=candidates or (incident.service,)),)
    breaches = {} if _breached(incident.service, own) else {risk.service: risk.p50 for risk in incident.at_risk}
    limited = []
    for action in with_relief(point, incident.service, [as_of_now(action, point) for action in actions]):
        subject = action.effect.subject if action.effect else None
        risk = own.get(subject) if isinstance(subject, Service) else None
        effect, outcome = ((with_slo(each, risk.slo) if risk else each) for each in (action.effect, action.outcome))
        limited.append(action._replace(effect=effect, outcome=outcome))
    fix: ActionKind | None = "roll_back" if incident.cause == "change" else None
    found = (*checks, *ranked(point, limited, breaches, fix))
    return replace(incident, actions=found[:MAX_ACTIONS])


def _breached(service: Service, own: Mapping[Service, ServiceRisk]) -> bool:
    """Whether a service breaches its SLO: no action is too late for a forecast then."""
    return service in own and own[service].breached


def as_of_now(action: Action, point: EvaluationPoint) -> Action:
    """An earlier action with the present load, p95, and rate; without its effect if that is reached."""
    if action.kind == "limit_rate" and action.service and math.isfinite(action.current):
        action = action._replace(current=limited_rate(point, action))
    effect = action.effect
    if effect is None or not isinstance(effect.subject, Service) or math.isnan(effect.now):
        return action
    if effect.signal == LOAD:
        utilization = point.utilizations.get(effect.subject)
        now = utilization.load if utilization else math.nan
    else:
        now = point.value("p95", effect.subject) if effect.signal == "p95" else effect.now
    if math.isnan(now):
        return action
    return action._replace(effect=effect._replace(now=now) if now > effect.projected else None)


def with_forecast(incident: Incident, evaluation: Evaluation) -> Incident:
    """The incident as before, with its actions and the services at risk as of this evaluation."""
    at_risk = tuple(risk for risk in _near(incident.service, evaluation, {}) if math.isfinite(risk.p50))
    actions = tuple(as_of_now(action, evaluation.point) for action in incident.actions)
    if _breached(incident.service, evaluation.own):
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
        actions=durable(incident.actions),
    )
    return with_summary(recovering, evaluation)


def with_summary(incident: Incident, evaluation: Evaluation) -> Incident:
    """The incident with its summary as of this evaluation; an unknown symptom stays as it was."""
    risk = evaluation.own.get(incident.service)
    utilization = risk.utilization if risk else None
    symptom = _symptom(incident.service, evaluation.point, risk)
    summary = Summary(
        symptom=symptom or incident.summary.symptom,
        load=utilization.load if utilization else math.nan,
        safe_load=safe_limit(utilization) if utilization else math.nan,
        latent=incident.cause == "retry_storm" and not incident.affected,
        requests=_requests(incident, evaluation.point),
        down=is_outage_observed(evaluation.point, incident.service),
    )
    summarized = replace(incident, summary=summary)
    return replace(summarized, stage=incident_stage(summarized, evaluation.point, risk))


def _symptom(service: Service, point: EvaluationPoint, risk: ServiceRisk | None) -> Symptom | None:
    """The symptom of a service, or of the operation of which the risk is."""
    key: Service | Operation = service
    slo, prefix, name = risk.slo if risk else None, "", ""
    if risk is not None and risk.operation is not None and not is_outage_observed(point, service):
        key, slo = risk.operation
        prefix, name = "operation_", key.name
    failed, p95 = point.value(f"{prefix}error_rate", key), point.value(f"{prefix}p95", key)
    if is_outage_observed(point, service):
        failed = point.memo(outages)[service].error_rate  # a service that is down reports no failures itself
    if failed >= SYMPTOM_ERROR_RATE:
        level = point.level(f"{prefix}error_rate", key)
        return Symptom("error_rate", failed, level, slo.error_rate if slo else math.nan, name)
    if not math.isfinite(p95):
        return None
    return Symptom("p95", p95, point.level(f"{prefix}p95", key), slo.seconds if slo else math.nan, name)


def _requests(incident: Incident, point: EvaluationPoint) -> str | None:
    """The kind of requests that make others wait, "" if unknown; None if their client runs on the contended GPUs."""
    client, gpus = incident.suspect.service, incident.suspect.gpus
    if incident.cause != "gpu_contention" or client in (None, incident.service) or not gpus:
        return None
    if any(point.world.tenants[row].gpu in gpus for row in point.tenant_rows.get(client, ())):
        return None
    return next((action.requests for action in incident.actions if action.requests), "")


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


def _at_risk(candidate: IncidentCandidate, evaluation: Evaluation) -> tuple[AtRisk, ...]:
    """The origin and its callers, direct or not, in the order in which they breach their SLOs."""
    origin = evaluation.own.get(candidate.origin)
    if origin is None or origin.breached:
        return _near(candidate.origin, evaluation, {})
    updated = replace(
        origin, probability=max(origin.probability, candidate.probability), seconds=_seconds(candidate, origin)
    )
    return _near(candidate.origin, evaluation, {candidate.origin: updated})


def _near(origin: Service, evaluation: Evaluation, updated: Mapping[Service, ServiceRisk]) -> tuple[AtRisk, ...]:
    """A service and its callers, direct or not, the soonest breach first. updated: risks that replace their own.

    Services without a latency baseline are left out: a breach could not be observed.
    """
    near = {origin, *evaluation.point.upstream[origin]}
    risks = [
        risk
        for risk in (evaluation.propagation.risks(updated) if updated else evaluation.risks)
        if risk.service in near and not lacks_baseline(evaluation.point, risk.service)
    ]
    at_risk = []
    for risk, seconds in zip(risks, _observed_seconds(risks, evaluation), strict=True):
        p10, p20, p50, p80, p90 = seconds
        at_risk.append(AtRisk(risk.service, p20, p50, p80, p10, p90))
    return tuple(sorted(at_risk, key=lambda risk: (risk.p50, risk.service)))


def _observed_seconds(risks: Sequence[PropagatedRisk], evaluation: Evaluation) -> list[tuple[float, ...]]:
    """Seconds until each breach, by `level_crossing.QUANTILES`, given where a propagated risk is observed.

    A service without a symptom is as far from its breach as its own trend shows, if it has one, and breaches no sooner
    than the services with a symptom.
    """
    point, own = evaluation.point, evaluation.own
    observed = [
        risk.through is None or any(point.z(name, risk.service) >= AFFECTED_Z for name in SYMPTOM_SIGNALS)
        for risk in risks
    ]
    expected = [risk.seconds for risk, seen in zip(risks, observed, strict=True) if seen]
    floor = [max(column) for column in zip(*(row for row in expected if row[MEDIAN_INDEX] < math.inf), strict=True)]
    found = []
    for risk, seen in zip(risks, observed, strict=True):
        seconds = risk.seconds
        if not seen:
            trend = own[risk.service].seconds if risk.service in own else seconds
            seconds = trend if trend[MEDIAN_INDEX] < math.inf else seconds
            seconds = tuple(map(max, seconds, floor)) if floor else seconds
        found.append(seconds)
    return found


def _seconds(candidate: IncidentCandidate, own: ServiceRisk) -> tuple[float, ...]:
    """Seconds until the origin breaches its SLO, by `level_crossing.QUANTILES`. The load of model servers leads p95."""
    is_over_limit = own.overloaded and own.utilization is not None and exceeds_safe_limit(own.utilization)
    if candidate.causes_outage or is_over_limit:
        return IMMINENT_SECONDS
    if own.overloaded or math.isinf(own.seconds[2]):
        return SOON_SECONDS
    return tuple(share * own.seconds[2] for share in PAGED_TREND_RATIOS) if candidate.page else own.seconds


def _candidates(
    suspected: Service | None, finding: Finding | None, probability: float, ranking: Sequence[Candidate]
) -> tuple[Candidate, ...]:
    """The ranked candidates, with the service that the finding suspects first."""
    if suspected is None:
        return tuple(ranking)
    rest = [candidate for candidate in ranking if candidate.service != suspected]
    own = next((candidate for candidate in ranking if candidate.service == suspected), None)
    scores = [candidate.score for candidate in rest]
    score = max([own.score if own else 0.0, probability, *scores])
    cause = (Reason("cause", name=finding.cause),) if finding else ()
    first = Candidate(suspected, score, own.reasons if own else cause)
    total = (score + sum(scores)) or 1.0
    return tuple(candidate._replace(score=candidate.score / total) for candidate in (first, *rest))


def _evidence(finding: Finding | None, candidate: IncidentCandidate, point: EvaluationPoint) -> tuple[Evidence, ...]:
    origin = candidate.origin
    signals = [(name, origin) for name in EVIDENCE_SIGNALS if point.z(name, origin) >= EVIDENCE_Z]
    for place, caller in enumerate(candidate.affected_callers):
        if place < MAX_SLOW_CALLERS and point.z("p95", caller) > 0:
            signals.append(("p95", caller))
        if caller in candidate.breaching and point.z("error_rate", caller) >= EVIDENCE_Z:
            signals.append(("error_rate", caller))
    evidence = [*(finding.evidence if finding else ()), *(evidence_of(point, *signal) for signal in signals)]
    return tuple({(item.name, item.entity): item for item in evidence if not _is_at_baseline(item)}.values())


def _lasting(evidence: Sequence[Evidence], before: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """The evidence, each signal since it was evidence without a break: a rise within an anomaly is no new onset."""
    known = {(item.name, item.entity): item.since for item in before}
    onsets = (min(item.since, known.get((item.name, item.entity), math.inf)) for item in evidence)
    return tuple(item._replace(since=onset) for item, onset in zip(evidence, onsets, strict=True))


def _since_first_excess(
    evidence: Sequence[Evidence], keys: Iterable[Service | Edge], point: EvaluationPoint, start: float
) -> tuple[Evidence, ...]:
    """The evidence, signals of `keys` since they first left their normal range after `start`.

    A signal may be normal in between: a service breaches its SLO again, or an overload counts requests when they end.
    The last rise alone would place a breach before its signs, and a cause after its effects.
    """
    named: dict[str, Service | Edge] = {entity(key): key for key in keys}
    return tuple(
        item._replace(since=min(item.since, point.first_excess(item.metric, named[item.entity], start)))
        if item.metric in SIGNAL_BY_NAME and item.entity in named
        else item
        for item in evidence
    )


def _with_first_sign(
    evidence: tuple[Evidence, ...], incident: Incident, point: EvaluationPoint
) -> tuple[Evidence, ...]:
    """The evidence, with the signal that was the first sign of the incident, where it is no evidence of the cause now.

    Its value is the present one; NaN where it cannot be read again.
    """
    first = next((item for item in incident.evidence if item.since == incident.since), None)
    if first is None or any(item.since <= incident.since for item in evidence):
        return evidence
    is_first = [(item.name, item.entity) == (first.name, first.entity) for item in evidence]
    if any(is_first):  # evidence again, but with a later or unknown onset
        pairs = zip(evidence, is_first, strict=True)
        return tuple(item._replace(since=first.since) if same else item for item, same in pairs)
    signal = SIGNAL_BY_NAME.get(first.metric)
    key = next((key for key in signal.keys(point.world) if entity(key) == first.entity), None) if signal else None
    now = first._replace(value=math.nan) if key is None else evidence_of(point, first.metric, key)
    return (now._replace(since=first.since), *evidence)


def _as_in_evidence(candidate: Candidate, evidence: Sequence[Evidence], start: float) -> Candidate:
    """The candidate with the figures of its reasons as the evidence has them: a ranking is older.

    A reason that is older than the start of the incident (Unix seconds) is left without its time.
    """
    shown = {(item.name, item.entity): item for item in evidence}
    reasons = []
    for reason in candidate.reasons:
        signal = SIGNAL_BY_NAME.get(REASON_SIGNALS.get(reason.name, ""))
        item = shown.get((signal.text, str(candidate.service))) if signal else None
        if item is not None and reason.kind in FIGURES and reason.service == candidate.service:
            value = FIGURES[reason.kind](item.value, item.baseline)
            reason = reason._replace(value=value, baseline=item.baseline, since=item.since)
        reasons.append(reason._replace(since=math.nan) if reason.since < start else reason)
    return candidate._replace(reasons=tuple(reasons))


def _with_present_growth(candidate: Candidate, point: EvaluationPoint) -> Candidate:
    """The candidate with the present growth of its request rate, as the evidence has it: a ranking is older."""
    growth = point.ratio("rate", candidate.service)
    if not growth >= MIN_REQUEST_GROWTH:
        return candidate
    reasons = (
        reason._replace(value=growth) if reason.kind == "requests_grew" else reason for reason in candidate.reasons
    )
    return candidate._replace(reasons=tuple(reasons))


def _is_at_baseline(item: Evidence) -> bool:
    """Whether value and baseline are equal as they are shown, with three digits."""
    return f"{item.value:.3g}" == f"{item.baseline:.3g}"


def fallback_actions(
    point: EvaluationPoint, cause: Cause, origin: Service, suspect: Service | None
) -> tuple[Action, ...]:
    """What to do about `origin`, of which `suspect` is the suspected cause, if any is."""
    other = suspect if suspect != origin else None
    if cause == "overload":
        utilization = point.utilizations.get(origin)
        is_known = utilization is not None and utilization.load > 0 and utilization.baseline > 0
        growth = utilization.load / utilization.baseline if utilization is not None and is_known else math.nan
        return against_growth(point, origin, other or origin, growth)
    if other:
        effect = caller_effect(point, (origin,), other) or at_baseline(point, origin)
        return roll_back(other, (origin,), effect)
    reason = Reason("unexplained", origin)
    return tuple(action._replace(reason=reason) for action in roll_back(origin, (), at_baseline(point, origin)))
