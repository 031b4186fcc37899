"""Requests that saturated model servers cannot keep up with: what arrives, what is served, and what waits."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence, Set
from typing import NamedTuple, TypedDict

import numpy as np

from foreshock_dashboard.analysis.baseline.point import SMOOTHING_POINTS, EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.analysis.remediation.effect import improvement
from foreshock_dashboard.analysis.saturation.safe_limits import safe_limit, safe_limits
from foreshock_dashboard.model.action import ARRIVING_LOAD, Action, ActionKind, Effect, Reason
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.stats.robust import median, nan_mean

RESTORING: Set[ActionKind] = {"pause", "cap_gpu_share", "move_off_gpus", "drain_gpus", "drain_host"}
"""Actions that give servers the capacity back that they lost."""
ARRIVAL_SECONDS = 120.0
"""Seconds over which arrivals are counted."""


class Backlog(NamedTuple):
    """Arrivals and queue of saturated model servers.

    served_load: arrivals over what is served now, above 1 while the queue grows. load: arrivals over the capacity of
    healthy servers. arrivals: requests per second, retries included. queued: waiting requests.
    """

    served_load: float
    load: float
    arrivals: float
    queued: float

    def drain_seconds(self, load: float) -> float:
        """Seconds until healthy servers have served the queue while requests arrive at `load`; infinite from 1 on."""
        return self.queued * self.load / self.arrivals / (1 - load) if load < 1 else math.inf


MIN_MORE_TOKENS = 1.1
"""Tokens of arriving requests over their baseline from which they are why restored capacity does not suffice."""


class _Outcome(TypedDict, total=False):
    outcome: Effect
    drain_seconds: float


def backlog(point: EvaluationPoint, service: Service) -> Backlog | None:
    """The backlog of a service; None unless its model servers are full and its requests wait, or where it is unknown.

    By flow conservation, what arrives is what finishes and what the requests in the system grow by. Load follows from
    tokens: their ratio to the baseline, at which the load is known by the batching law.
    """
    utilization = point.utilizations.get(service)
    if utilization is None or not utilization.load > 1:
        return None
    servers, row, window = model_servers(point.world), point.models[service], point.window(ARRIVAL_SECONDS)
    waiting = np.nan_to_num(servers.waiting[row, window])
    inside = servers.running[row, window] + waiting
    finished = float(nan_mean(servers.finished[row, window][None])[0])
    growth = float(median(inside[None, -SMOOTHING_POINTS:])[0] - median(inside[None, :SMOOTHING_POINTS])[0])
    seconds = (len(inside) - SMOOTHING_POINTS) * point.world.step
    queued = float(median(waiting[None, -SMOOTHING_POINTS:])[0])
    served_load = 1 + growth / seconds / finished if seconds > 0 and finished > 0 else math.nan
    load = served_load * utilization.baseline * point.ratio("tokens", service)
    if not (queued > 0 and load > 0):
        return None
    return Backlog(served_load, load, served_load * finished, queued)


def relieved(
    point: EvaluationPoint, service: Service, actions: Sequence[Action], queue: Backlog, *, at_once: Collection[str]
) -> tuple[tuple[Action, ...], tuple[Action, ...]]:
    """The actions with their effect on arrivals, and the shedding that they leave necessary.

    Actions that give capacity back bring the load to that of healthy servers; p95 follows once the queue is drained.
    at_once: kinds of actions that take effect as soon as shedding does, so that it is what they leave.
    """
    utilization, limit = point.utilizations[service], safe_limit(point.utilizations[service])
    restored = improvement(ARRIVING_LOAD, service, "ratio", queue.served_load, queue.load, limit, "safe_limit")
    changed = [
        action._replace(effect=restored)
        if action.kind in RESTORING and action.effect is not None and action.effect.subject == service
        else action
        for action in actions
    ]
    is_restored = restored is not None and any(
        action.effect is restored and action.kind in at_once for action in changed
    )
    load = queue.load if is_restored else queue.served_load
    kept = min(load, safe_limits(utilization)[-1])
    if is_restored and load <= limit:
        end = _outcome(point, service, queue, load)
        return tuple(action._replace(**end) if action.effect is restored else action for action in changed), ()
    if not 0 < kept < load:
        return tuple(changed), ()
    effect = improvement(ARRIVING_LOAD, service, "ratio", load, kept, limit, "safe_limit")
    end = _outcome(point, service, queue, kept) if is_restored else {}
    tokens = point.ratio("tokens", service)
    more = Reason("more_tokens", service, value=tokens) if is_restored and tokens >= MIN_MORE_TOKENS else None
    return tuple(changed), (Action("shed_load", service, amount=1 - kept / load, effect=effect, reason=more, **end),)


def _outcome(point: EvaluationPoint, service: Service, queue: Backlog, load: float) -> _Outcome:
    """p95 once the queue is drained and requests arrive at `load`: that of the baseline, longer by the time per token.

    The batching law has the time per token of both loads.
    """
    utilization = point.utilizations[service]
    if utilization.law is None or load >= 1:
        return {}
    loads = max(load, utilization.baseline), utilization.baseline
    longer, normal = (utilization.law.seconds_at(value, utilization.max_sequences) for value in loads)
    projected = point.level("p95", service) * longer / normal
    effect = improvement("p95", service, "s", point.value("p95", service), projected)
    return {"outcome": effect, "drain_seconds": queue.drain_seconds(load)} if effect else {}
