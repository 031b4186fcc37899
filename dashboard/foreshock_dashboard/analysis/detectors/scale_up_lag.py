"""Scale-up lag: requested replicas are late, because pods wait for a node or a quota is used up.

The expected delay is measured on earlier scale-ups of the service, if there were any.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.retry_amplification import request_rates
from foreshock_dashboard.analysis.baseline.scale_up import scale_up_seconds
from foreshock_dashboard.analysis.baseline.signals import capacity
from foreshock_dashboard.analysis.detectors.client_timeout import abandoned_work
from foreshock_dashboard.analysis.detectors.finding import (
    MIN_STRENGTH,
    Finding,
    evidence_of,
    longer_requests,
    lost_capacity,
    slowdown_confidence,
)
from foreshock_dashboard.analysis.detectors.overload import (
    OVERLOAD_REQUEST_GROWTH,
    edge_growth,
    load_origin,
    near_capacity,
)
from foreshock_dashboard.analysis.remediation.actions import fewer_requests, offered_load, shed_load
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.incident import Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service, split_cluster
from foreshock_dashboard.model.types import Bools, Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import Capacity
from foreshock_dashboard.stats.threshold import Threshold

MOSTLY_RETRIES_RATIO = Threshold(1.0, 0.15)
"""Retries per first attempt."""
MISSING_REPLICAS_RATIO = Threshold(0.12, 0.05)
"""Missing over wanted replicas."""
STATE_SECONDS = 60.0
"""Age up to which a value of the cluster's state counts as current."""
TOGETHER_SECONDS = 60.0
"""Seconds between two changes within which one goes with the other."""


class ReplicaLag(NamedTuple):
    """The missing replicas of a service.

    wanted, ready, pending: replicas. since: Unix seconds. delay: seconds from the request to the readiness of a
    replica, the measured median or the default. pool: the pool with a used-up quota, "" if none. blocked: replicas that
    the quota blocks. at_limit: the autoscaler's limit is reached.
    """

    service: Service
    wanted: float
    ready: float
    pending: float
    since: float
    delay: float
    pool: str
    blocked: float
    at_limit: bool

    @property
    def missing(self) -> float:
        """Wanted replicas that are not ready."""
        return max(self.wanted - self.ready, self.pending, 0.0)


def scale_up_lag(point: EvaluationPoint) -> Iterator[Finding]:
    """Findings for services that are slow or near capacity while replicas are missing."""
    wanted, ready, pending, limit = point.memo(_newest_replicas)
    rows = np.flatnonzero((wanted > ready) | (pending > 0) | (wanted >= limit)).tolist()
    for lag in (lag for row in rows if (lag := replica_lag(point, row))):
        impact = max(slowdown_confidence(point, lag.service), near_capacity(point, lag.service))
        missing_ratio = 1.0 if lag.at_limit and not lag.missing else lag.missing / max(lag.wanted, 1.0)
        missing = MISSING_REPLICAS_RATIO.confidence(missing_ratio)
        strength = min(missing, impact, 1 - other_reason(point, lag.service))
        if strength < MIN_STRENGTH:
            continue
        yield Finding(
            service=lag.service,
            cause="scale_up_lag",
            suspect=SuspectedCause(load_origin(point, lag.service, point.memo(edge_growth)), pool=lag.pool),
            strength=strength,
            severity=max(1.0, lag.wanted / max(lag.ready, 1.0)),
            since=lag.since,
            evidence=_evidence(point, lag),
            actions=_actions(point, lag),
        )


def other_reason(point: EvaluationPoint, service: Service) -> float:
    """Confidence (0 to 1) that the demand for replicas has another cause than more requests."""
    rows, load = point.incoming.get(service, []), point.memo(request_rates)
    mostly_retries = MOSTLY_RETRIES_RATIO.confidence(load.retried(rows))
    return max(
        min(mostly_retries, 1 - OVERLOAD_REQUEST_GROWTH.confidence(load.growth(rows))),
        lost_capacity(point, service),
        longer_requests(point, service),
        abandoned_work(point, service),
    )


def _newest_replicas(point: EvaluationPoint) -> Floats:
    """Newest wanted, ready, pending, and largest allowed replicas of each service; shape (4, services)."""
    state = capacity(point.world)
    rows = state.wanted, state.ready, state.pending, state.max_replicas
    return np.stack([_newest(point.world, values, point.column) for values in rows])


def _newest(world: World, rows: Floats, at: int) -> Floats:
    """Newest value of the last `STATE_SECONDS` per row: cluster state is exported less often than it is read."""
    newest_first = rows[:, max(0, at + 1 - world.points(STATE_SECONDS)) : at + 1][:, ::-1]
    newest: Floats = newest_first[np.arange(len(rows)), np.isfinite(newest_first).argmax(axis=1)]
    return newest


def replica_lag(point: EvaluationPoint, row: int) -> ReplicaLag | None:
    """The missing replicas of the service in this row; None if there are none."""
    state, history = capacity(point.world), slice(0, point.column + 1)
    wanted, ready, pending, limit = point.memo(_newest_replicas)[:, row].tolist()
    at_limit = wanted >= limit and wanted > 0
    is_short = wanted > ready or pending > 0
    if not (is_short or at_limit) or math.isnan(wanted) or math.isnan(ready):
        return None
    past_wanted, past_ready = state.wanted[row, history], state.ready[row, history]
    is_missing = (past_wanted > past_ready) | (state.pending[row, history] > 0)
    condition = is_missing if is_short else past_wanted >= state.max_replicas[row, history]
    since = _since(point, condition, np.isfinite(past_wanted + past_ready))
    pool = _blocking_pool(point, state, row) if is_short else ""
    blocked = 0.0
    if pool:
        missing = max(wanted - ready, np.nan_to_num(pending))
        blocked = missing - _admitted_replicas(point, state, row, pool, since)
    return ReplicaLag(
        service=state.services[row],
        wanted=wanted,
        ready=ready,
        pending=pending if math.isfinite(pending) else 0.0,
        since=since,
        delay=scale_up_seconds(point, state.services[row]),
        pool=pool if blocked > 0 else "",
        blocked=blocked,
        at_limit=at_limit,
    )


def _since(point: EvaluationPoint, condition: Bools, known: Bools) -> float:
    """Unix seconds of the start of the newest uninterrupted period in which a condition holds or is unknown."""
    unmet = np.flatnonzero(known & ~condition)
    first = int(unmet[-1]) + 1 if len(unmet) else int(known.argmax())
    return float(point.world.times[min(first, point.column)])


def _blocking_pool(point: EvaluationPoint, state: Capacity, row: int) -> str:
    """The pool with a used-up quota that blocks the replicas; "" if none or several.

    Candidates are the pools of the service's GPUs. If these are unknown: pools with quota use that changed together
    with the replicas, or pools with a name that is part of the service's name.
    """
    world, at, service = point.world, point.column, state.services[row]
    quota, used = _newest(world, state.quota, at), _newest(world, state.used, at)
    full = [
        i
        for i, pool in enumerate(state.pools)
        if quota[i] > 0 and used[i] >= quota[i] and split_cluster(pool)[0] == service.cluster
    ]
    own = {point.pool_by_gpu.get(world.tenants[tenant].gpu, "") for tenant in point.tenant_rows.get(service, ())} - {""}
    if own:
        full = [i for i in full if state.pools[i] in own]
    else:
        wanted = state.wanted[row, : at + 1]
        moved = [i for i in full if _change_together(wanted, state.used[i, : at + 1], world.step)]
        full = moved or [i for i in full if split_cluster(state.pools[i])[1] in service.name]
    return state.pools[full[0]] if len(full) == 1 else ""


def _admitted_replicas(point: EvaluationPoint, state: Capacity, row: int, pool: str, since: float) -> float:
    """Replicas that the quota of a pool admitted since `since` and that are not ready, because their nodes start.

    Their GPUs count as used quota; a higher quota would not speed them up.
    """
    world = point.world
    before = max(0, int(np.searchsorted(world.times, since)) - 1)
    used, ready = state.used[[state.pools.index(pool)]], state.ready[[row]]
    gpus_added, became_ready = (
        float((_newest(world, rows, point.column) - _newest(world, rows, before))[0]) for rows in (used, ready)
    )
    if not math.isfinite(gpus_added - became_ready):
        return 0.0
    ready_replicas = float(_newest(world, ready, point.column)[0])
    tenants = (world.tenants[tenant] for tenant in point.tenant_rows.get(state.services[row], ()))
    gpu_count = sum(math.isfinite(point.value("busy", tenant)) for tenant in tenants)
    gpus = max(1, round(gpu_count / ready_replicas)) if ready_replicas > 0 else 1
    return max(0.0, math.floor(gpus_added / gpus) - became_ready)


def change_points(values: Floats) -> NDArray[np.intp]:
    """Indices of the changes of a series, shape (times,), ignoring NaN."""
    known = np.flatnonzero(np.isfinite(values))
    changed: NDArray[np.intp] = known[1:][np.diff(values[known]) != 0]
    return changed


def _change_together(first: Floats, second: Floats, step: float) -> bool:
    """Whether most changes of the second series lie within `TOGETHER_SECONDS` of a change of the first."""
    first_changes, second_changes = change_points(first), change_points(second)
    if not len(first_changes) or not len(second_changes):
        return False
    points_between = np.abs(second_changes[:, None] - first_changes[None, :]).min(axis=1)
    return bool((points_between * step <= TOGETHER_SECONDS).mean() > 0.5)


def _evidence(point: EvaluationPoint, lag: ReplicaLag) -> tuple[Evidence, ...]:
    name = str(lag.service)
    evidence = [
        Evidence("desired replicas", lag.wanted, lag.ready, "", lag.since, name),
        Evidence("time below desired replicas", point.time - lag.since, lag.delay, "s", lag.since, name),
    ]
    if lag.pending:
        evidence.append(Evidence("pending pods", lag.pending, 0.0, "", lag.since, name))
    z = {signal: point.z(signal, lag.service) for signal in ("waiting", "p95", "error_rate")}
    worst = max(z, key=lambda signal: np.nan_to_num(z[signal], nan=-np.inf))
    if math.isfinite(z[worst]):
        evidence.append(evidence_of(point, worst, lag.service))
    return tuple(evidence)


def _actions(point: EvaluationPoint, lag: ReplicaLag) -> tuple[Action, ...]:
    """Shed load until the missing replicas are ready, and raise the limit that blocks them."""
    added = lag.missing or 1.0
    ratio = lag.ready / (lag.ready + added)
    effect = fewer_requests(point, lag.service, ratio)
    if lag.at_limit and not lag.missing:
        return (Action("raise_replica_limit", lag.service, current=lag.wanted, effect=effect),)
    load = offered_load(point, lag.service, point.ratio("rate", lag.service))
    if load is None and effect:
        shed: tuple[Action, ...] = (Action("shed_load", lag.service, amount=1 - ratio, effect=effect),)
    else:
        shed = shed_load(point, lag.service, load)
    if lag.pool:
        blocked = math.ceil(lag.blocked)
        return (*shed, Action("raise_quota", lag.service, target=lag.pool, amount=blocked, effect=effect))
    until_seconds = lag.since + lag.delay - point.time
    return tuple(action._replace(until_seconds=until_seconds) for action in shed)
