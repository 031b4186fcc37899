"""Recommended actions, their expected effects, and reasons, as values."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu

ActionKind = Literal[
    "add_replicas",
    "balance_load",
    "cancel_abandoned",
    "cap_gpu_share",
    "cap_retries",
    "check_first",
    "dedicate_pool",
    "dedicate_replicas",
    "degrade",
    "drain_gpus",
    "drain_host",
    "drain_replica",
    "inspect_deploys",
    "inspect_gpus",
    "inspect_links",
    "inspect_replicas",
    "limit_batch",
    "limit_calls",
    "limit_length",
    "limit_rate",
    "move_off_gpus",
    "pause",
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
    "more_tokens",
    "recurring_load",
    "short_outage",
    "unexplained",
    "xid",
    # Why a service is suspected.
    "called_in",
    "calls_failed",
    "calls_grew",
    "cause",
    "changed",
    "failures_grew",
    "metric",
    "no_anomaly",
    "requests_grew",
    "slower",
]
LimitKind = Literal["safe_limit", "slo", "baseline", "needed"]
"""`needed`: a lower bound; the others are upper ones."""
Unit = Literal["s", "ratio", ""]
MIN_PER_SECOND = 10.0
"""Rate from which a limit is set per second: a lower one is no whole number for most numbers of proxies."""
ARRIVING_LOAD = "incoming load"
"""Signal of the load of the requests that arrive, without those that wait already."""


class RateLimit(NamedTuple):
    """A rate limit as gateways take it: a whole number of requests, per second or minute."""

    requests: int
    unit: Literal["Second", "Minute"]

    @property
    def per_second(self) -> float:
        """Requests per second."""
        return self.requests / (1.0 if self.unit == "Second" else 60.0)


def rate_limit(per_second: float, *, by_minute: bool = False) -> RateLimit:
    """The largest whole limit within a rate; of 0 requests where the rate is unknown or too low.

    A token bucket of one minute admits the requests of a minute at once, and none for the rest of it. So the unit is
    the second, unless rounding down would take away much. by_minute: the gateway knows minutes alone.
    """
    if not per_second > 0:
        return RateLimit(0, "Second")
    if by_minute or per_second < MIN_PER_SECOND:
        return RateLimit(int(round(per_second * 60.0, 6)), "Minute")
    return RateLimit(int(round(per_second, 6)), "Second")


class Reason(NamedTuple):
    """Why a service is suspected, or why an action is recommended.

    The kind says which fields are set. name: a cause or a metric. value, baseline: the figure now and normally, in the
    kind's unit; NaN if unknown. `slower` has the ratio to the baseline as value; `failures_grew` the difference from
    it, as does `calls_failed`, by what callers of the service measured. `changed` has the new version or value as name,
    `xid` the number of the error as value and the first step against it as name.
    since: Unix seconds.
    """

    kind: ReasonKind
    service: Service | None = None
    name: str = ""
    value: float = math.nan
    baseline: float = math.nan
    since: float = math.nan

    @property
    def now(self) -> float:
        """The present figure in the unit of the baseline; NaN if unknown."""
        if self.kind == "slower":
            return self.baseline * self.value
        return self.baseline + self.value if self.kind in ("failures_grew", "calls_failed") else self.value


class Effect(NamedTuple):
    """What an action would improve.

    signal: name of the figure. subject: what it describes: a service, the calls from a client to a server, a replica.
    now, projected: in `unit`; if `now` is NaN, `projected` is a ratio of the present value. limit: what `projected`
    should not exceed, or reach, by its kind; NaN if unknown. at_least: `projected` is a lower bound.
    """

    signal: str
    subject: Service | tuple[Service, Service] | str
    unit: Unit
    now: float
    projected: float
    limit: float = math.nan
    limit_kind: LimitKind | None = None
    at_least: bool = False

    @property
    def is_enough(self) -> bool | None:
        """Whether the figure would be within its safe limit or SLO, or as much as needed; None if unknown."""
        if self.limit_kind not in ("safe_limit", "slo", "needed") or not math.isfinite(self.now - self.limit):
            return None
        return self.projected >= self.limit if self.limit_kind == "needed" else self.projected <= self.limit


class Action(NamedTuple):
    """One recommended action. The kind says which fields are set.

    service: the service to change. candidates: for the root cause, the likeliest first. callee: the service at the
    other end of its calls. callers: services that call it. target: the pool, tier, host, replica, or version. requests:
    the kind of requests. amount: the value to set, the share to shed, the number to add, or the revision to go back to;
    current: the value now, before a pause; NaN if unknown. ready: those of the current replicas that are ready, where
    not all are. maximum: largest number that the autoscaler allows; NaN without one. needed_gpus: those that it
    assigns beyond the ones that serve, and free_gpus: those that the quota of the pool leaves; NaN if unknown. at:
    Unix seconds by which it has to be done. until_seconds: seconds until it is no longer needed; negative if that
    is overdue. effective_seconds: time to effect; NaN if unknown. too_late: the forecast SLO breach of the service
    that it helps comes before it, else the first one. outcome: what this action and those before it achieve, once
    the queue is drained, `drain_seconds` after they take effect; NaN without a queue.
    """

    kind: ActionKind
    service: Service | None = None
    callee: Service | None = None
    callers: tuple[Service, ...] = ()
    candidates: tuple[Service, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    target: str = ""
    requests: str = ""
    amount: float = math.nan
    current: float = math.nan
    ready: float = math.nan
    maximum: float = math.nan
    needed_gpus: float = math.nan
    free_gpus: float = math.nan
    at: float = math.nan
    until_seconds: float = math.nan
    reason: Reason | None = None
    effect: Effect | None = None
    effective_seconds: float = math.nan
    too_late: bool = False
    outcome: Effect | None = None
    drain_seconds: float = math.nan

    @property
    def total(self) -> float:
        """What there is with the amount added; NaN if unknown."""
        return self.current + self.amount

    @property
    def rate_limit(self) -> RateLimit:
        """The amount of a rate limit as the gateway takes it: LiteLLM, which is the callee, or Envoy Gateway."""
        return rate_limit(self.amount, by_minute=self.callee is not None)

    @property
    def exceeds_maximum(self) -> bool:
        """Whether the autoscaler allows less than the total."""
        return self.total > self.maximum

    @property
    def exceeds_quota(self) -> bool:
        """Whether the GPU quota of the pool leaves less than it needs; False if unknown."""
        return self.needed_gpus > self.free_gpus
