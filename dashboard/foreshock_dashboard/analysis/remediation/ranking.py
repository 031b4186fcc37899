"""The order of recommended actions: relief first, the durable fix after it, by their time to effect."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.replicas import wanted_replicas
from foreshock_dashboard.analysis.baseline.scale_up import DEFAULT_DELAY_SECONDS, scale_up_seconds
from foreshock_dashboard.analysis.remediation.actions import (
    cap_retries,
    offered_load,
    reporting_replicas,
    shed_load,
)
from foreshock_dashboard.analysis.remediation.backlog import backlog, relieved
from foreshock_dashboard.model.action import Action, ActionKind
from foreshock_dashboard.model.service import Service

LIMIT_SECONDS = 60.0
"""Time to effect of limits, shedding, routing, and pausing: applied within seconds, seen in means of up to a minute."""
RESTART_SECONDS = 300.0
"""Time to effect of an action that restarts or moves a workload: scheduling, pulling an image, loading weights."""
MAX_ACTIONS = 4
"""Actions that are recommended at once."""
FAILING_RATIO, RETRYING_ATTEMPTS = 0.2, 1.2
"""Ratio of failed requests, and attempts per call, from which retries make an incident worse."""
TIME_TO_EFFECT_SECONDS: Mapping[ActionKind, float] = {
    "balance_load": LIMIT_SECONDS,
    "cap_retries": LIMIT_SECONDS,
    "degrade": LIMIT_SECONDS,
    "drain_replica": LIMIT_SECONDS,
    "limit_calls": LIMIT_SECONDS,
    "limit_length": LIMIT_SECONDS,
    "limit_rate": LIMIT_SECONDS,
    "pause": LIMIT_SECONDS,
    "set_retry_budget": LIMIT_SECONDS,
    "shed_load": LIMIT_SECONDS,
    "cancel_abandoned": RESTART_SECONDS,
    "cap_gpu_share": RESTART_SECONDS,
    "drain_gpus": RESTART_SECONDS,
    "drain_host": RESTART_SECONDS,
    "limit_batch": RESTART_SECONDS,
    "move_off_gpus": RESTART_SECONDS,
    "restart": RESTART_SECONDS,
    "restore_timeout": RESTART_SECONDS,
    "roll_back": RESTART_SECONDS,
}
"""Time to effect by kind. What only finds something out has none."""
AT_ONCE: Set[ActionKind] = {kind for kind, seconds in TIME_TO_EFFECT_SECONDS.items() if seconds == LIMIT_SECONDS}
"""Kinds of the actions that relieve within `LIMIT_SECONDS`."""
REPLICA_KINDS: Set[ActionKind] = {
    "add_replicas",
    "dedicate_pool",
    "dedicate_replicas",
    "raise_quota",
    "raise_replica_limit",
}
"""Actions that need further replicas, which take `scale_up_seconds`."""


def ranked(
    point: EvaluationPoint, actions: Iterable[Action], breaches: Mapping[Service, float], fix: ActionKind | None = None
) -> tuple[Action, ...]:
    """Actions by their time to effect, with those that come after the forecast SLO breach marked.

    breaches: median seconds to the breach by service; 0 during a breach. fix: the kind that undoes a known cause, which
    comes second at the latest, as pages show two.
    """
    timed = (action._replace(effective_seconds=_seconds(point, action)) for action in actions)
    found = sorted(timed, key=lambda action: _last_if_unknown(action.effective_seconds))
    place = next((number for number, action in enumerate(found) if action.kind == fix), 0)
    if place > 1:
        found.insert(1, found.pop(place))
    return tuple(
        action._replace(too_late=0 < _breach_seconds(action, breaches) < action.effective_seconds)
        for action in found[:MAX_ACTIONS]
    )


def _breach_seconds(action: Action, breaches: Mapping[Service, float]) -> float:
    """Seconds to the breach of the service whose figure an action improves; else to the first breach."""
    subject = action.effect.subject if action.effect else None
    if isinstance(subject, Service) and subject in breaches:
        return breaches[subject]
    return min(breaches.values(), default=math.inf)


def _seconds(point: EvaluationPoint, action: Action) -> float:
    if action.kind in REPLICA_KINDS:
        service = action.callee or action.service
        return scale_up_seconds(point, service) if service else DEFAULT_DELAY_SECONDS
    return TIME_TO_EFFECT_SECONDS.get(action.kind, math.nan)


def _last_if_unknown(seconds: float) -> float:
    return math.inf if math.isnan(seconds) else seconds


def durable(actions: Iterable[Action], point: EvaluationPoint) -> Iterator[Action]:
    """What is left to do after the symptoms have ended: no relief, no effect on them, and nothing that is done."""
    for action in actions:
        left = _replicas_left(action, point) if action.kind == "add_replicas" and action.amount > 0 else action
        if left is not None and not action.effective_seconds <= LIMIT_SECONDS:
            yield left._replace(effect=None, too_late=False, outcome=None, drain_seconds=math.nan)


def _replicas_left(action: Action, point: EvaluationPoint) -> Action | None:
    """The replicas that are still to be added to those of now; None without any."""
    if action.service is None:
        return action
    replicas = max(reporting_replicas(point, action.service), np.nan_to_num(wanted_replicas(point, action.service)))
    left = action.total - (replicas or action.current)
    return action._replace(current=action.total - left, amount=left, ready=math.nan) if left > 0 else None


def with_relief(point: EvaluationPoint, service: Service, actions: Sequence[Action]) -> tuple[Action, ...]:
    """The actions, with those that relieve a service that fails, or that is full, whatever the cause is.

    Retries are capped and load is shed before the cause is removed: without that, retries may keep the service down
    after it is. Load of a full service is not shed if another limit is enough.
    """
    failed = point.value("error_rate", service) >= FAILING_RATIO
    calls = [edge for edge in point.calls_to(service) if edge.connection != "virtual_node"]
    worst = max(calls, key=lambda edge: np.nan_to_num(point.value("attempts", edge)), default=None)
    cap: tuple[Action, ...] = ()
    if failed and worst is not None and (attempts := point.value("attempts", worst)) >= RETRYING_ATTEMPTS:
        cap = (cap_retries(point, worst.client, service, 1 / attempts),)
    shed: tuple[Action, ...]
    if queue := backlog(point, service):
        actions, shed = relieved(point, service, actions, queue, at_once=AT_ONCE)
        full = True
    else:
        load = offered_load(point, service, point.ratio("rate", service))
        shed, full = shed_load(point, service, load), load is not None and load.now >= 1
    limits = [action.effect for action in actions if action.kind in AT_ONCE]
    is_limited = any(effect is not None and effect.is_enough for effect in limits)
    known = {action.kind for action in actions}
    needed = shed if failed or (full and not is_limited) else ()
    first, last = ([action for action in relief if action.kind not in known] for relief in (cap, needed))
    return (*first, *actions, *last)
