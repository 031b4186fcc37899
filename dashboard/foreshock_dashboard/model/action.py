"""Recommended actions, their expected effects, and reasons, as values."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu

ActionKind = Literal[
    "add_kv_cache",
    "add_replicas",
    "balance_load",
    "cancel_abandoned",
    "cap_gpu_share",
    "cap_retries",
    "dedicate_pool",
    "dedicate_replicas",
    "degrade",
    "drain_gpus",
    "drain_host",
    "drain_queue",
    "drain_replica",
    "inspect_links",
    "inspect_replicas",
    "limit_callers",
    "limit_calls",
    "limit_length",
    "limit_rate",
    "move_off_gpus",
    "raise_quota",
    "raise_replica_limit",
    "restart",
    "restore_timeout",
    "roll_back",
    "set_retry_budget",
    "shed_load",
]
ReasonKind = Literal[
    # Why an action is recommended.
    "abandoned_calls",
    "gpu_share",
    "idle_gpus",
    "lost_capacity",
    "recurring_load",
    "short_outage",
    "unexplained",
    # Why a service is suspected.
    "calls_grew",
    "cause",
    "failures_grew",
    "metric",
    "nothing_unusual",
    "requests_grew",
    "slower",
]
EffectCondition = Literal[
    "all_replicas",
    "as_before",
    "as_fast_as_others",
    "as_fast_as_server",
    "balanced",
    "callee_as_usual",
    "gpu_share_restored",
    "gpus_restored",
    "healthy_gpus",
    "more_replicas",
    "network_as_usual",
    "one_more_replica",
    "retry_budget",
    "usual_clock",
    "usual_length",
    "without_growth",
    "without_losses",
    "without_retries",
]
Unit = Literal["s", "ratio", ""]


class Reason(NamedTuple):
    """Why a service is suspected, or why an action is recommended.

    The kind says which fields are set. name: a cause or a metric. value, baseline: the figure now and normally, in the
    kind's unit; NaN if unknown. since: Unix seconds.
    """

    kind: ReasonKind
    service: Service | None = None
    name: str = ""
    value: float = math.nan
    baseline: float = math.nan
    since: float = math.nan


class Effect(NamedTuple):
    """What an action would improve.

    signal: name of the figure. subject: what it describes: a service, the calls from a client to a server, a replica.
    now, projected: in `unit`; if `now` is NaN, `projected` is a ratio of the present value. condition: what has to be
    true for it. at_least: `projected` is a lower bound.
    """

    signal: str
    subject: Service | tuple[Service, Service] | str
    unit: Unit
    now: float
    projected: float
    condition: EffectCondition
    at_least: bool = False


class Action(NamedTuple):
    """One recommended action. The kind says which fields are set.

    service: the service to change. callee: the service at the other end of its calls. callers: services that call it.
    target: the pool, tier, host, or replica. requests: the kind of requests. amount: the value to set or the number to
    add; current: the value now; NaN if unknown. at: Unix seconds by which it has to be done. delay_seconds: until it
    takes effect; negative if overdue. alternatives: actions that do instead.
    """

    kind: ActionKind
    service: Service | None = None
    callee: Service | None = None
    callers: tuple[Service, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    target: str = ""
    requests: str = ""
    amount: float = math.nan
    current: float = math.nan
    at: float = math.nan
    delay_seconds: float = math.nan
    reason: Reason | None = None
    effect: Effect | None = None
    alternatives: tuple[Action, ...] = ()
