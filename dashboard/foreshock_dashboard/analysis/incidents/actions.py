"""The actions of an incident: those of its cause, those that relieve its service, or checks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.analysis.incidents.evaluation import Evaluation
from foreshock_dashboard.analysis.remediation.actions import against_growth, limited_rate, roll_back, with_quota
from foreshock_dashboard.analysis.remediation.effect import LOAD, at_baseline, caller_effect, with_slo
from foreshock_dashboard.analysis.remediation.ranking import MAX_ACTIONS, ranked, with_relief
from foreshock_dashboard.model.action import Action, ActionKind, Reason
from foreshock_dashboard.model.incident import Cause, Incident
from foreshock_dashboard.model.service import Service

CHECKED_FIRST = 3
"""Candidates to check where no cause is stated."""
INSPECTING: Set[ActionKind] = {"inspect_deploys", "inspect_gpus", "inspect_links", "inspect_replicas"}
"""Actions that change nothing, so that they hit no bystander if the suspected cause is wrong."""


def with_actions(incident: Incident, actions: Sequence[Action], evaluation: Evaluation) -> Incident:
    """The incident with these actions and those that relieve its service, in order of their time to effect.

    Without a stated cause, the candidates are to be checked first, and nothing is done against one: that may hit a
    bystander.
    """
    risks, point = evaluation.service_risks, evaluation.point
    checks: tuple[Action, ...] = ()
    if not incident.is_cause_stated:
        actions = [action for action in actions if action.kind in INSPECTING]
        candidates = tuple(candidate.service for candidate in incident.candidates[:CHECKED_FIRST])
        checks = (Action("check_first", incident.service, candidates=candidates or (incident.service,)),)
    breaches = {} if is_breached(incident.service, risks) else {risk.service: risk.p50 for risk in incident.at_risk}
    limited = []
    for action in with_relief(point, incident.service, [as_of_now(action, point) for action in actions]):
        subject = action.effect.subject if action.effect else None
        risk = risks.get(subject) if isinstance(subject, Service) else None
        effect, outcome = ((with_slo(each, risk.slo) if risk else each) for each in (action.effect, action.outcome))
        limited.append(action._replace(effect=effect, outcome=outcome))
    fix: ActionKind | None = "roll_back" if incident.cause == "change" else None
    found = (*checks, *ranked(point, limited, breaches, fix))
    return replace(incident, actions=found[:MAX_ACTIONS])


def is_breached(service: Service, risks: Mapping[Service, ServiceRisk]) -> bool:
    """Whether a service breaches its SLO: no action is too late for a forecast then."""
    return service in risks and risks[service].breached


def as_of_now(action: Action, point: EvaluationPoint) -> Action:
    """An earlier action with the present load, p95, rate, and quota; without its effect if that is reached."""
    if action.kind == "add_replicas":
        action = with_quota(point, action)
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
