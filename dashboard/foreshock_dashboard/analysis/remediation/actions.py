"""Recommended actions against load, and against a service that is worse by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.gpu_shares import pool_of
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.replicas import gpus_per_replica, max_replicas, pool_quota, wanted_replicas
from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.analysis.remediation.effect import LOAD, improvement, of_load, reduced
from foreshock_dashboard.analysis.saturation.safe_limits import is_overloading, predicted_load, safe_limit, safe_limits
from foreshock_dashboard.model.action import Action, Effect, Reason
from foreshock_dashboard.model.forecast import Utilization
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world_sections import SeasonalGrowth

MIN_GROWTH_SHARE = 0.3
"""Share of the growth that a caller's own rate has to show for a rate to be recommended as its limit."""
BUDGET_RATIO = 0.1
"""Retries per call of the recommended retry budget."""
REPORTED_SECONDS = 60.0
"""Seconds within which a replica has to have reported to count: one lost scrape is no lost replica."""
LITELLM = "litellm"
"""Part of the name of a LiteLLM proxy, which calls itself so in its spans."""
MAX_LOAD_RATIO = 10.0
"""Growth, and load over capacity, beyond which the share of the backlog is unknown and no number is recommended."""


def roll_back(service: Service, callers: Sequence[Service], effect: Effect | None) -> tuple[Action, ...]:
    """Let callers do without a service that is worse by itself, and roll it back."""
    instead = Action("degrade", service, callers=tuple(callers)) if callers else Action("restart", service)
    both = Action("roll_back", service), instead
    return tuple(action._replace(effect=effect) for action in both)


def ahead_of_recurring_load(point: EvaluationPoint, service: Service, season: SeasonalGrowth) -> tuple[Action, ...]:
    """Add replicas before load that recurs at this time of the day or week."""
    reason, utilization = Reason("recurring_load", service, value=season.growth), point.utilizations.get(service)
    action = Action("add_replicas", service, at=season.since, reason=reason)
    if utilization is None or not 0 < utilization.baseline * season.growth < MAX_LOAD_RATIO:
        return (action,)
    load = utilization.baseline * season.growth
    action = add_replicas(point, service, OfferedLoad(load, _keep(utilization, load)))
    serving = action.ready if math.isfinite(action.ready) else action.current
    ratio = serving / action.total
    effect = improvement(LOAD, service, "ratio", load, load * ratio, safe_limit(utilization), "safe_limit")
    return (action._replace(at=season.since, reason=reason, effect=effect),)


def against_growth(point: EvaluationPoint, service: Service, origin: Service, growth: float) -> tuple[Action, ...]:
    """What to do about unexpected load of a service, `growth` times its baseline, most of it from `origin`.

    `origin` is limited; where that is not enough, load is shed; then replicas are added. More replicas of a service in
    front of an overloaded model server would only send it more requests, so the fullest such server gets them.
    """
    behind = [model for model in point.utilizations if service in point.upstream[model]]
    overloaded = [model for model in behind if service not in point.models and is_overloading(point, model)]
    short = max(overloaded, key=lambda model: point.utilizations[model].load, default=service)
    load = offered_load(point, short, growth)
    limit = _limit_rate(point, origin, short, load, growth)
    is_enough = limit.effect is not None and limit.effect.is_enough is not False
    shed = () if is_enough else shed_load(point, short, load)
    return (limit, *shed, add_replicas(point, short, load))


class OfferedLoad(NamedTuple):
    """Load of a service over capacity. now: without the backlog. keep: share of it within the safe limit, up to 1."""

    now: float
    keep: float


def offered_load(point: EvaluationPoint, service: Service, growth: float = math.nan) -> OfferedLoad | None:
    """The load of a service; None if unknown.

    A queue adds to the load beyond 1, but is gone once there is capacity. `growth` times the baseline then bounds what
    is offered. Growing load is kept within the limit as of the time to which overload is predicted. The limit is that
    of the longest mean, because an action has to last.
    """
    utilization = point.utilizations.get(service)
    if utilization is None or not 0 < utilization.load < math.inf:
        return None
    load = utilization.load
    if load > 1:
        load = float(np.fmin(load, np.maximum(1.0, utilization.baseline * growth)))
        expected = load
    else:
        expected = float(np.fmax(load, min(1.0, predicted_load(utilization))))
    if load > MAX_LOAD_RATIO or math.isnan(keep := _keep(utilization, expected)):
        return None
    return OfferedLoad(load, keep)


def _keep(utilization: Utilization, load: float) -> float:
    return min(1.0, safe_limits(utilization)[-1] / load)


def _limit_rate(
    point: EvaluationPoint, origin: Service, service: Service, load: OfferedLoad | None, growth: float
) -> Action:
    """Limit the rate of `origin` such that the load of `service` is within its safe limit, at its baseline at least.

    The rate is rounded to one that gateways take, down unless that is below the baseline, and the effect is that of
    the rounded rate.

    The callee is the LiteLLM proxy through which its calls reach `service`, if any; the rate is then that of these
    calls, because the proxy counts them. Without a rate where that of `origin` does not explain the
    growth: its requests became longer, or pass through it.
    """
    now, baseline = point.value("rate", origin), point.level("rate", origin)
    gateway = _gateway(point, origin, service)
    limit = Action("limit_rate", origin, callee=gateway)
    load_now = load.now if load else math.nan
    if not (baseline > 0 and now / baseline - 1 >= MIN_GROWTH_SHARE * (growth - 1) > 0):
        return limit._replace(effect=of_load(point, service, load_now, 1 / growth))
    calls = limited_rate(point, limit) / now
    amount, ratio = whole_rate(limit, baseline, calls, baseline), 1 / growth
    if load is not None and (grown := load.now - point.utilizations[service].baseline) > 0:
        per_request = min(grown / (now - baseline), load.now / now)  # at most all load comes from it
        if load.keep < 1:
            wanted = max(baseline, now - (1 - load.keep) * load.now / per_request)
            amount = whole_rate(limit, wanted, calls, baseline)
        ratio = 1 - per_request * (now - amount) / load.now
    return limit._replace(amount=amount * calls, current=now * calls, effect=of_load(point, service, load_now, ratio))


def whole_rate(limit: Action, rate: float, calls: float, least: float = 0.0) -> float:
    """A rate of requests, rounded down such that the rate of their calls is one that the gateway takes.

    calls: per request. least: requests per second below which it is rounded up instead. A rate below the smallest
    limit stays as it is.
    """
    whole = limit._replace(amount=rate * calls).rate_limit
    if not whole.requests:
        return rate
    if round(least * calls - whole.per_second, 6) > 0:
        whole = whole._replace(requests=whole.requests + 1)
    return whole.per_second / calls


def _gateway(point: EvaluationPoint, origin: Service, service: Service) -> Service | None:
    """The LiteLLM proxy that `origin` calls and that is `service`, or calls it, directly or not."""
    for edge in point.calls_from(origin):
        is_on_path = edge.server == service or edge.server in point.upstream[service]
        if LITELLM in edge.server.name.lower() and is_on_path and point.value("edge_rate", edge) > 0:
            return edge.server
    return None


def limited_rate(point: EvaluationPoint, action: Action) -> float:
    """Requests per second now that a limit counts: of its service, or its calls of the LiteLLM proxy."""
    if action.callee is None:
        return point.value("rate", action.service) if action.service else math.nan
    edges = (
        [edge for edge in point.calls_from(action.service) if edge.server == action.callee] if action.service else []
    )
    return sum(point.value("edge_rate", edge) for edge in edges) if edges else math.nan


def shed_load(point: EvaluationPoint, service: Service, load: OfferedLoad | None) -> tuple[Action, ...]:
    """Shed the load beyond the safe limit; nothing if there is none, without an amount if the load is unknown."""
    if load is None:
        return (Action("shed_load", service),)
    if load.keep >= 1:
        return ()
    return (Action("shed_load", service, amount=1 - load.keep, effect=of_load(point, service, load.now, load.keep)),)


def add_replicas(point: EvaluationPoint, service: Service, load: OfferedLoad | None) -> Action:
    """Add the replicas with which the load is within the safe limit; without a number where that is unknown.

    They are added to the desired ones. Where these suffice once all are ready, the question is why they are not.
    """
    pool = pool_of(point.pool_by_gpu, (point.world.tenants[row].gpu for row in point.tenant_rows.get(service, ())))
    action = Action("add_replicas", service, target=pool, maximum=max_replicas(point, service))
    replicas = reporting_replicas(point, service)
    if load is None or not replicas:
        return action
    needed = max(replicas + 1, math.ceil(replicas / load.keep - 1e-9))
    effect = of_load(point, service, load.now, replicas / needed)
    desired = wanted_replicas(point, service)
    if not desired > replicas:
        return action._replace(amount=needed - replicas, current=replicas, effect=effect)
    if desired >= needed:
        return Action("inspect_replicas", service)
    return action._replace(amount=needed - desired, current=desired, ready=replicas, effect=effect)


def with_quota(point: EvaluationPoint, action: Action) -> Action:
    """Replicas to add with the GPUs that they need, and those that the quota of the pool leaves, where both are known.

    A replica takes as many GPUs as those that report, at least one.
    """
    service = action.service
    quota = pool_quota(point.world, service, point.column) if service else None
    if (
        service is None
        or quota is None
        or not (replicas := reporting_replicas(point, service))
        or not action.amount > 0
    ):
        return action._replace(needed_gpus=math.nan, free_gpus=math.nan)
    rows, window = point.tenant_rows.get(service, ()), point.window(REPORTED_SECONDS)
    gpus = {point.world.tenants[row].gpu for row in rows if np.isfinite(point.world.busy[row, window]).any()}
    needed = (action.total - replicas) * gpus_per_replica(len(gpus), replicas)
    return action._replace(target=quota.pool, needed_gpus=needed, free_gpus=max(0.0, quota.limit - quota.used))


def cap_retries(point: EvaluationPoint, client: Service, service: Service, ratio: float) -> Action:
    """Cap the retries of a client; without any, the load of the service would fall to `ratio`."""
    load = offered_load(point, service, point.ratio("rate", service))
    effect = of_load(point, service, load.now if load else math.nan, ratio)
    return Action("cap_retries", client, callee=service, amount=BUDGET_RATIO, effect=effect)


def reporting_replicas(point: EvaluationPoint, service: Service) -> int:
    """The number of replicas of a model server that reported in the last minute; 0 if unknown."""
    if (row := point.models.get(service)) is None:
        return 0
    live = model_servers(point.world).reporting_replicas(point.window(REPORTED_SECONDS))[row]
    return round(float(live[np.isfinite(live)].max(initial=0.0)))


def fewer_requests(point: EvaluationPoint, service: Service, ratio: float) -> Effect | None:
    """The effect on the load of a service whose requests, or whose load per replica, fall to a ratio."""
    load = offered_load(point, service, point.ratio("rate", service))
    return of_load(point, service, load.now, ratio) if load else reduced(LOAD, service, ratio)
