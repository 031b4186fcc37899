"""Recommended actions against load, and against a service that is worse by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from foreshock_dashboard.analysis.baseline.gpu_shares import pool_of
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.analysis.remediation.effect import improvement
from foreshock_dashboard.analysis.saturation.overload import SAFE_LIMITS, is_overloading
from foreshock_dashboard.model.action import Action, Effect, Reason
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world_sections import SeasonalGrowth

MIN_GROWTH_SHARE = 0.3
"""Share of the growth that a caller's own rate has to show for its baseline rate to be recommended as the limit."""
MAX_LOAD_RATIO = 10.0
"""Growth, and load over capacity, beyond which the share of the backlog is unknown and no number is recommended."""


def roll_back(service: Service, callers: Sequence[Service]) -> Action:
    """Roll back a service that is worse by itself, or let its callers do without it."""
    instead = Action("degrade", service, callers=tuple(callers)) if callers else Action("restart", service)
    return Action("roll_back", service, alternatives=(instead,))


def ahead_of_recurring_load(point: EvaluationPoint, service: Service, season: SeasonalGrowth) -> Action:
    """Add replicas before load that recurs at this time of the day or week."""
    short = shortfall(point, service, season.growth)
    effect = improvement("load", service, "ratio", short.load, short.load_after, "more_replicas") if short else None
    reason = Reason("recurring_load", service, value=season.growth)
    return add_replicas(point, service, season.growth)._replace(at=season.since, reason=reason, effect=effect)


def against_growth(point: EvaluationPoint, service: Service, origin: Service, growth: float) -> Action:
    """What to do about unexpected load of a service, `growth` times its baseline, most of it from `origin`.

    `origin` is limited, to its baseline rate if its rate explains enough of the growth. More replicas of a service in
    front of an overloaded model server would only send it more requests, so the fullest such server gets them.
    """
    limit, now, baseline = Action("limit_rate", origin), point.value("rate", origin), point.level("rate", origin)
    if baseline > 0 and now / baseline - 1 >= MIN_GROWTH_SHARE * (growth - 1) > 0:
        limit = limit._replace(amount=baseline, current=now)
    behind = [model for model in point.utilizations if service in point.upstream[model]]
    overloaded = [model for model in behind if service not in point.models and is_overloading(point, model)]
    short = max(overloaded, key=lambda model: point.utilizations[model].load, default=service)
    return limit._replace(
        effect=Effect("load", service, "ratio", math.nan, 1 / growth, "without_growth"),
        alternatives=(add_replicas(point, short, growth),),
    )


class Shortfall(NamedTuple):
    """The replicas of a service, those missing, and its load over capacity, now and with the missing ones."""

    replicas: int
    missing: int
    load: float
    load_after: float


def add_replicas(point: EvaluationPoint, service: Service, growth: float = math.nan) -> Action:
    """Recommend to add replicas; without a number where the shortfall is unknown."""
    pool = pool_of(point.world, [point.world.tenants[row].gpu for row in point.tenant_rows.get(service, ())])
    action, short = Action("add_replicas", service, target=pool), shortfall(point, service, growth)
    return action._replace(amount=short.missing, current=short.replicas) if short else action


def shortfall(point: EvaluationPoint, service: Service, growth: float) -> Shortfall | None:
    """The replicas that a service lacks at `growth` times its baseline load; None if unknown.

    With them, the load per replica is at most the safe limit of the longest mean (`overload.SAFE_LIMITS`). The queue is
    ignored: it empties once there is capacity.
    """
    utilization, row = point.utilizations.get(service), point.models.get(service)
    if utilization is None or row is None:
        return None
    live = model_servers(point.world).reporting_replicas(slice(point.at, point.at + 1))[row, 0]
    replicas = round(float(live)) if math.isfinite(live) else 0
    if not replicas or not 0 < utilization.baseline < MAX_LOAD_RATIO or not 1 <= growth <= MAX_LOAD_RATIO:
        return None
    load = utilization.baseline * growth
    missing = max(1, math.ceil(replicas * load / SAFE_LIMITS[-1]) - replicas)
    return Shortfall(replicas, missing, load, load * replicas / (replicas + missing))
