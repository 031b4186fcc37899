"""Provisioning lag: requested replicas are late, because pods wait for a node or a quota is used up.

The expected delay is measured on earlier scale-ups of the service, if there were any.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.replicas import LOST_REPLICAS_RATIO, lost
from foreshock_dashboard.analysis.baseline.retry_amplification import RequestRates, request_rates
from foreshock_dashboard.analysis.baseline.signals import capacity
from foreshock_dashboard.analysis.detectors.client_timeout import abandoned_work
from foreshock_dashboard.analysis.detectors.demand import (
    OVERLOAD_REQUEST_GROWTH,
    edge_growth,
    load_origin,
    near_capacity,
)
from foreshock_dashboard.analysis.detectors.evidence import (
    EXTREME_Z,
    evidence_of,
    lost_gpu_time,
    slow_tokens,
    slowdown_confidence,
)
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.remediation.effect import improvement, reduced
from foreshock_dashboard.analysis.remediation.scale_out import MAX_LOAD_RATIO
from foreshock_dashboard.model.action import Action, Effect, EffectCondition
from foreshock_dashboard.model.capacity import Capacity
from foreshock_dashboard.model.incident import Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.threshold import Threshold, confidence

DEFAULT_DELAY_SECONDS = 420.0
"""Assumed delay of a replica without measured scale-ups: cluster autoscalers take 4 to 10 minutes."""
MOSTLY_RETRIES_RATIO = Threshold(1.0, 0.15)
"""Retries per first attempt."""
MISSING_REPLICAS_RATIO = Threshold(0.12, 0.05)
"""Missing over wanted replicas."""


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
    measured: bool
    pool: str
    blocked: float
    at_limit: bool

    @property
    def missing(self) -> float:
        """Wanted replicas that are not ready."""
        return max(self.wanted - self.ready, self.pending, 0.0)


def provisioning_lag(point: EvaluationPoint) -> tuple[Finding, ...]:
    """Findings for services that are slow or near capacity while replicas are missing."""
    lags = [lag for row in _scaling_rows(point) if (lag := replica_lag(point, row)) is not None]
    if not lags:
        return ()
    load = request_rates(point)
    weights = edge_growth(point, load)
    findings = []
    for lag in lags:
        impact = max(slowdown_confidence(point, lag.service), near_capacity(point, lag.service))
        missing_ratio = 1.0 if lag.at_limit and not lag.missing else lag.missing / max(lag.wanted, 1.0)
        strength = min(
            MISSING_REPLICAS_RATIO.confidence(missing_ratio), impact, 1 - other_reason(point, lag.service, load)
        )
        if strength < 0.1:
            continue
        findings.append(
            Finding(
                service=lag.service,
                cause="provisioning lag",
                suspect=SuspectedCause(load_origin(point, lag.service, weights).service, pool=lag.pool),
                strength=strength,
                severity=max(1.0, lag.wanted / max(lag.ready, 1.0)),
                since=lag.since,
                evidence=_evidence(point, lag),
                action=_action(lag, point.time)._replace(effect=_effect(point, lag)),
            )
        )
    return tuple(findings)


def other_reason(point: EvaluationPoint, service: Service, load: RequestRates) -> float:
    """Confidence (0 to 1) that the demand for replicas has another cause than more requests."""
    rows = list(point.into.get(service, ()))
    retries = (
        min(
            MOSTLY_RETRIES_RATIO.confidence(load.retried(rows)),
            1 - OVERLOAD_REQUEST_GROWTH.confidence(load.growth(rows)),
        )
        if rows
        else 0.0
    )
    return max(
        retries,
        lost_gpu_time(point, service),
        confidence(point.z("held", service), EXTREME_Z, 1.0),
        slow_tokens(point, service),
        LOST_REPLICAS_RATIO.confidence(lost(point, service)),
        abandoned_work(point, service),
    )


def _scaling_rows(point: EvaluationPoint) -> Sequence[int]:
    """Rows of the services that lack replicas or are at their autoscaler's limit."""
    state = capacity(point.world)
    if not state.services:
        return ()
    wanted, ready, pending, limit = (
        _newest(rows, point.at) for rows in (state.wanted, state.ready, state.pending, state.max_replicas)
    )
    return [int(row) for row in np.flatnonzero((wanted > ready) | (pending > 0) | (wanted >= limit))]


def _newest(rows: Floats, at: int) -> Floats:
    """Newest value of the last minute per row, because cluster state is exported less often than it is read."""
    newest = np.full(len(rows), np.nan)
    for column in range(max(0, at - 5), at + 1):
        newest = np.where(np.isnan(rows[:, column]), newest, rows[:, column])
    return newest


def replica_lag(point: EvaluationPoint, row: int) -> ReplicaLag | None:
    """The missing replicas of the service in this row; None if there are none."""
    state, at = capacity(point.world), point.at
    wanted, ready, pending, limit = (
        float(_newest(rows[row : row + 1], at)[0])
        for rows in (state.wanted, state.ready, state.pending, state.max_replicas)
    )
    at_limit = wanted >= limit and wanted > 0
    is_short = wanted > ready or pending > 0
    if not (is_short or at_limit) or math.isnan(wanted) or math.isnan(ready):
        return None
    history = slice(0, at + 1)
    delays = scale_up_delays(state.wanted[row, history], state.ready[row, history], point.world.step)
    missing = (state.wanted[row, history] > state.ready[row, history]) | (state.pending[row, history] > 0)
    known = np.isfinite(state.wanted[row, history] + state.ready[row, history])
    since = _since(
        point, missing if is_short else state.wanted[row, history] >= state.max_replicas[row, history], known
    )
    pool = _blocking_pool(point, state, row) if is_short else ""
    blocked = (
        max(wanted - ready, np.nan_to_num(pending)) - _admitted_replicas(point, state, row, pool, since)
        if pool
        else 0.0
    )
    return ReplicaLag(
        service=state.services[row],
        wanted=wanted,
        ready=ready,
        pending=pending if math.isfinite(pending) else 0.0,
        since=since,
        delay=float(np.median(delays)) if len(delays) else DEFAULT_DELAY_SECONDS,
        measured=bool(len(delays)),
        pool=pool if blocked > 0 else "",
        blocked=blocked,
        at_limit=at_limit,
    )


def _since(point: EvaluationPoint, condition: NDArray[np.bool_], known: NDArray[np.bool_]) -> float:
    """Unix seconds of the start of the newest uninterrupted period in which a condition holds or is unknown."""
    unmet = np.flatnonzero(known & ~condition)
    first = int(unmet[-1]) + 1 if len(unmet) else int(known.argmax())
    return float(point.world.times[min(first, point.at)])


def scale_up_delays(wanted: Floats, ready: Floats, step: float) -> Floats:
    """Seconds from the request to the readiness of each further replica, shape (replicas,).

    wanted, ready: shape (times,). Replicas that are not ready yet, or were canceled before, are left out.
    """
    delays: list[float] = []
    requested_at: dict[int, int] = {}
    previous = math.nan
    for i, (want, have) in enumerate(zip(wanted.tolist(), ready.tolist(), strict=True)):
        if math.isnan(want) or math.isnan(have):
            continue
        completed = [replica for replica in requested_at if replica <= have]
        delays.extend((i - requested_at.pop(replica)) * step for replica in completed)
        for replica in [replica for replica in requested_at if replica > want]:
            del requested_at[replica]
        if not math.isnan(previous):
            requested_at |= dict.fromkeys(range(math.floor(max(previous, have)) + 1, math.floor(want) + 1), i)
        previous = want
    return np.array(delays)


def _blocking_pool(point: EvaluationPoint, state: Capacity, row: int) -> str:
    """The pool with a used-up quota that blocks the replicas; "" if none or several.

    Candidates are the pools of the service's GPUs. If these are unknown: pools with quota use that changed together
    with the replicas, or pools with a name that is part of the service's name.
    """
    at, service = point.at, state.services[row]
    quota, used = _newest(state.quota, at), _newest(state.used, at)
    full = [i for i in range(len(state.pools)) if quota[i] > 0 and used[i] >= quota[i]]
    own = _pools_of(point, service)
    if own:
        full = [i for i in full if state.pools[i] in own]
    else:
        moved = [i for i in full if _change_together(state.wanted[row, : at + 1], state.used[i, : at + 1])]
        full = moved or [i for i in full if state.pools[i] in service.name]
    return state.pools[full[0]] if len(full) == 1 else ""


def _admitted_replicas(point: EvaluationPoint, state: Capacity, row: int, pool: str, since: float) -> float:
    """Replicas that the quota of a pool admitted since `since` and that are not ready, because their nodes start.

    Their GPUs count as used quota; a higher quota would not speed them up.
    """
    before = max(0, int(np.searchsorted(point.world.times, since)) - 1)
    used, ready = state.used[[state.pools.index(pool)]], state.ready[[row]]
    gpus_added, became_ready = (float((_newest(rows, point.at) - _newest(rows, before))[0]) for rows in (used, ready))
    ready_replicas = float(_newest(ready, point.at)[0])
    gpu_count = sum(_is_reported(point, tenant) for tenant in point.tenant_rows.get(state.services[row], ()))
    gpus = max(1, round(gpu_count / ready_replicas)) if ready_replicas > 0 else 1
    return max(0.0, math.floor(gpus_added / gpus) - became_ready) if math.isfinite(gpus_added - became_ready) else 0.0


def _is_reported(point: EvaluationPoint, tenant: int) -> bool:
    return math.isfinite(point.value("busy", point.world.tenants[tenant]))


def _pools_of(point: EvaluationPoint, service: Service) -> Set[str]:
    """Pools of a service's GPUs."""
    if not point.world.pool:
        return frozenset()
    pool = dict(zip(point.world.gpus, point.world.pool, strict=True))
    rows = point.tenant_rows.get(service, ())
    return {name for row in rows if (name := pool[point.world.tenants[row].gpu])}


def change_points(values: Floats) -> NDArray[np.intp]:
    """Indices of the changes of a series, shape (times,), ignoring NaN."""
    known = np.flatnonzero(np.isfinite(values))
    changed: NDArray[np.intp] = known[1:][np.diff(values[known]) != 0]
    return changed


def _change_together(first: Floats, second: Floats) -> bool:
    """Whether most changes of the second series lie within a minute of a change of the first."""
    first_changes, second_changes = change_points(first), change_points(second)
    if not len(first_changes) or not len(second_changes):
        return False
    near = np.abs(second_changes[:, None] - first_changes[None, :]).min(axis=1) <= 6
    return bool(near.mean() > 0.5)


def _evidence(point: EvaluationPoint, lag: ReplicaLag) -> tuple[Evidence, ...]:
    name = str(lag.service)
    evidence = [
        Evidence("replicas wanted", lag.wanted, lag.ready, "", lag.since, name),
        Evidence("time since they lack", point.time - lag.since, lag.delay, "s", lag.since, name),
    ]
    if lag.pending:
        evidence.append(Evidence("pods that wait for a node", lag.pending, 0.0, "", lag.since, name))
    worst = max(("waiting", "p95", "failed"), key=lambda name: np.nan_to_num(point.z(name, lag.service), nan=-np.inf))
    if math.isfinite(point.z(worst, lag.service)):
        evidence.append(evidence_of(point, worst, lag.service))
    return tuple(evidence)


def _action(lag: ReplicaLag, time: float) -> Action:
    """Raise the limit that blocks replicas, or shed load until they are ready. time: Unix seconds."""
    replicas = math.ceil(lag.blocked if lag.pool else lag.missing)
    shed = Action("shed_load", lag.service)
    if lag.pool:
        return Action("raise_quota", lag.service, target=lag.pool, amount=replicas, alternatives=(shed,))
    if lag.at_limit and not lag.missing:
        return Action("raise_replica_limit", lag.service, current=lag.wanted)
    return shed._replace(amount=replicas, delay_seconds=lag.since + lag.delay - time)


def _effect(point: EvaluationPoint, lag: ReplicaLag) -> Effect | None:
    """The effect of the missing replicas on the load; of one replica if only the autoscaler's limit is reached.

    Given as load over capacity if that is known and no backlog, otherwise as a ratio of the current load.
    """
    added = lag.missing or 1.0
    ratio = lag.ready / (lag.ready + added)
    utilization = point.utilizations.get(lag.service)
    load = utilization.load if utilization is not None and utilization.load < MAX_LOAD_RATIO else math.nan
    condition: EffectCondition = "more_replicas" if lag.missing else "one_more_replica"
    effect = improvement("load", lag.service, "ratio", load, load * ratio, condition) if ratio > 0 else None
    return effect or reduced("load", lag.service, ratio, condition)
