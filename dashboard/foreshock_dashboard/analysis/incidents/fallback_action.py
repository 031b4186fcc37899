"""The recommended action for an incident that no finding explains."""

from __future__ import annotations

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.remediation.actions import add_replicas, roll_back
from foreshock_dashboard.analysis.remediation.effect import at_baseline, caller_effect, reduced
from foreshock_dashboard.model.action import Action, Effect, Reason
from foreshock_dashboard.model.incident import Cause
from foreshock_dashboard.model.service import Service


def fallback_action(point: EvaluationPoint, cause: Cause, origin: Service, suspect: Service | None) -> Action:
    """What to do about `origin`, of which `suspect` is the suspected cause, if any is."""
    other = suspect if suspect != origin else None
    if cause == "demand":
        limit = Action("limit_callers", origin, callers=(other,) if other else ())
        return add_replicas(point, origin)._replace(effect=_baseline_load(point, origin), alternatives=(limit,))
    if other:
        effect = caller_effect(point, (origin,), other) or at_baseline(point, origin, "callee_as_usual")
        return roll_back(other, (origin,))._replace(effect=effect)
    return roll_back(origin, ())._replace(
        reason=Reason("unexplained", origin), effect=at_baseline(point, origin, "as_before")
    )


def _baseline_load(point: EvaluationPoint, service: Service) -> Effect | None:
    """The effect of the baseline load of model servers."""
    utilization = point.utilizations.get(service)
    if utilization is None or not utilization.load > 0:
        return None
    return reduced("load", service, utilization.baseline / utilization.load, "without_growth")
