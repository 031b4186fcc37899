"""What to do about load above the baseline: limit a service, or add replicas."""

from __future__ import annotations

import math

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.remediation.effect import improvement
from foreshock_dashboard.analysis.remediation.scale_out import add_replicas, shortfall
from foreshock_dashboard.analysis.saturation.overload import is_overloading
from foreshock_dashboard.model.action import Action, Effect, Reason
from foreshock_dashboard.model.seasonality import SeasonalGrowth
from foreshock_dashboard.model.service import Service

MIN_GROWTH_SHARE = 0.3
"""Share of the growth that a caller's own rate has to show for its baseline rate to be recommended as the limit."""


def ahead_of_recurring_load(point: EvaluationPoint, service: Service, season: SeasonalGrowth) -> Action:
    """What to do about load that recurs at this time of the day or week."""
    needed = shortfall(point, service, season.growth)
    effect = improvement("load", service, "ratio", needed.load, needed.load_after, "more_replicas") if needed else None
    reason = Reason("recurring_load", service, value=season.growth)
    return add_replicas(point, service, season.growth)._replace(at=season.since, reason=reason, effect=effect)


def against_growth(point: EvaluationPoint, service: Service, origin: Service, growth: float) -> Action:
    """What to do about unexpected load of a service, `growth` times its baseline, most of it from `origin`."""
    return _limit(point, origin, growth)._replace(
        effect=Effect("load", service, "ratio", math.nan, 1 / growth, "without_growth"),
        alternatives=(add_replicas(point, _short_of_replicas(point, service), growth),),
    )


def _short_of_replicas(point: EvaluationPoint, service: Service) -> Service:
    """The service that needs replicas: the fullest overloaded model server behind a service; else the service itself.

    More replicas of a service in front of an overloaded model server would only send it more requests.
    """
    if service in point.models:
        return service
    behind = [
        model for model in point.utilizations if service in point.upstream[model] and is_overloading(point, model)
    ]
    return max(behind, key=lambda model: point.utilizations[model].load, default=service)


def _limit(point: EvaluationPoint, service: Service, growth: float) -> Action:
    """Recommend to limit a service; to its baseline rate where its rate explains enough of the growth."""
    now, baseline = point.value("rate", service), point.level("rate", service)
    if not (baseline > 0 and now / baseline - 1 >= MIN_GROWTH_SHARE * (growth - 1) > 0):
        return Action("limit_rate", service)
    return Action("limit_rate", service, amount=baseline, current=now)
