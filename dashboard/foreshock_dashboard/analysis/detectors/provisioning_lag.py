"""Provisioning lag: replicas are requested and do not come in time, as pods wait for a node or the quota is used up.

Missing replicas matter only if they come later than the trouble. Their delay is measured on earlier scale-ups of the
service, if there were any.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.baseline.replicas import LOST_REPLICAS_RATIO, lost
from foreshock_dashboard.analysis.baseline.retry_amplification import RequestRates, request_rates
from foreshock_dashboard.analysis.baseline.signals import capacity
from foreshock_dashboard.analysis.detectors.client_timeout import abandoned_work
from foreshock_dashboard.analysis.detectors.demand import REQUEST_GROWTH, edge_growth, load_origin, near_capacity
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
from foreshock_dashboard.model.incident import Culprit, Evidence
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.threshold import Threshold, confidence

DEFAULT_DELAY_SECONDS = 420.0
"""Seconds until a node is ready if no delay was measured: cluster autoscalers take 4 to 10 minutes."""
RETRY_RATIO = Threshold(1.0, 0.15)
"""Retries per first attempt from which most of the load is retries."""
MISSING_REPLICAS = Threshold(0.12, 0.05)
"""Missing replicas over wanted ones that affect the service."""


class ReplicaLag(NamedTuple):
    """The replicas that a service lacks.

    wanted, ready, pending: in replicas. since: Unix seconds. delay: seconds that a replica takes to come, the measured
    median or the default. pool: whose quota is used up, "" if none; blocked: replicas that it blocks. at_limit: the
    autoscaler's limit is reached.
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
        """Replicas that are wanted and not ready."""
        return max(self.wanted - self.ready, self.pending, 0.0)


def provisioning_lag(scan: Scan) -> tuple[Finding, ...]:
    """Findings for services that are slow or near capacity while replicas are on their way or blocked."""
    short = [each for row in _rows(scan) if (each := replica_lag(scan, row)) is not None]
    if not short:
        return ()
    load = request_rates(scan)
    weights = edge_growth(scan, load)
    found = []
    for each in short:
        felt = max(slowdown_confidence(scan, each.service), near_capacity(scan, each.service))
        lacking = 1.0 if each.at_limit and not each.missing else each.missing / max(each.wanted, 1.0)
        strength = min(MISSING_REPLICAS.confidence(lacking), felt, 1 - other_reason(scan, each.service, load))
        if strength < 0.1:
            continue
        found.append(
            Finding(
                service=each.service,
                cause="provisioning lag",
                culprit=Culprit(load_origin(scan, each.service, weights).service, pool=each.pool),
                strength=strength,
                severity=max(1.0, each.wanted / max(each.ready, 1.0)),
                since=each.since,
                evidence=_evidence(scan, each),
                action=_action(each, scan.time)._replace(effect=_effect(scan, each)),
            )
        )
    return tuple(found)


def other_reason(scan: Scan, service: Service, load: RequestRates) -> float:
    """Confidence (0 to 1) that more replicas are wanted for another reason than more requests."""
    rows = list(scan.into.get(service, ()))
    retried = (
        min(RETRY_RATIO.confidence(load.retried(rows)), 1 - REQUEST_GROWTH.confidence(load.growth(rows)))
        if rows
        else 0.0
    )
    return max(
        retried,
        lost_gpu_time(scan, service),
        confidence(scan.z("held", service), EXTREME_Z, 1.0),
        slow_tokens(scan, service),
        LOST_REPLICAS_RATIO.confidence(lost(scan, service)),
        abandoned_work(scan, service),
    )


def _rows(scan: Scan) -> Sequence[int]:
    state = capacity(scan.world)
    if not state.services:
        return ()
    wanted, ready, pending, most = (
        _now(rows, scan.at) for rows in (state.wanted, state.ready, state.pending, state.max_replicas)
    )
    return [int(row) for row in np.flatnonzero((wanted > ready) | (pending > 0) | (wanted >= most))]


def _now(rows: Floats, at: int) -> Floats:
    """The newest values of the last minute: cluster state is reported less often than it is read."""
    out = np.full(len(rows), np.nan)
    for column in range(max(0, at - 5), at + 1):
        out = np.where(np.isnan(rows[:, column]), out, rows[:, column])
    return out


def replica_lag(scan: Scan, row: int) -> ReplicaLag | None:
    """The replicas that the service of this row lacks now; None if it lacks none."""
    state, at = capacity(scan.world), scan.at
    wanted, ready, pending, most = (
        float(_now(rows[row : row + 1], at)[0])
        for rows in (state.wanted, state.ready, state.pending, state.max_replicas)
    )
    bound = wanted >= most and wanted > 0
    lacks = wanted > ready or pending > 0
    if not (lacks or bound) or math.isnan(wanted) or math.isnan(ready):
        return None
    history = slice(0, at + 1)
    measured = scale_up_delays(state.wanted[row, history], state.ready[row, history], scan.world.step)
    lacking = (state.wanted[row, history] > state.ready[row, history]) | (state.pending[row, history] > 0)
    known = np.isfinite(state.wanted[row, history] + state.ready[row, history])
    since = _since(scan, lacking if lacks else state.wanted[row, history] >= state.max_replicas[row, history], known)
    pool = _blocked(scan, state, row) if lacks else ""
    out = max(wanted - ready, np.nan_to_num(pending)) - _admitted(scan, state, row, pool, since) if pool else 0.0
    return ReplicaLag(
        service=state.services[row],
        wanted=wanted,
        ready=ready,
        pending=pending if math.isfinite(pending) else 0.0,
        since=since,
        delay=float(np.median(measured)) if len(measured) else DEFAULT_DELAY_SECONDS,
        measured=bool(len(measured)),
        pool=pool if out > 0 else "",
        blocked=out,
        at_limit=bound,
    )


def _since(scan: Scan, beyond: NDArray[np.bool_], known: NDArray[np.bool_]) -> float:
    """Unix seconds since which a condition holds wherever it is known, and since which it is known."""
    inside = np.flatnonzero(known & ~beyond)
    first = int(inside[-1]) + 1 if len(inside) else int(known.argmax())
    return float(scan.world.times[min(first, scan.at)])


def scale_up_delays(wanted: Floats, ready: Floats, step: float) -> Floats:
    """Seconds from the request to the readiness of each further replica, shape (replicas,).

    wanted, ready: shape (times,). Replicas that were no longer wanted before they came, or are not ready yet, are left
    out.
    """
    found: list[float] = []
    asked_at: dict[int, int] = {}
    before = math.nan
    for i, (want, have) in enumerate(zip(wanted.tolist(), ready.tolist(), strict=True)):
        if math.isnan(want) or math.isnan(have):
            continue
        found.extend((i - asked_at.pop(replica)) * step for replica in [each for each in asked_at if each <= have])
        for replica in [each for each in asked_at if each > want]:
            del asked_at[replica]
        if not math.isnan(before):
            asked_at |= dict.fromkeys(range(math.floor(max(before, have)) + 1, math.floor(want) + 1), i)
        before = want
    return np.array(found)


def _blocked(scan: Scan, state: Capacity, row: int) -> str:
    """The pool whose used-up quota blocks the replicas; "" if none or several.

    A pool of the service's GPUs; if pools of GPUs are unknown, one whose use moved with the service's replicas, or
    whose name is part of the service's.
    """
    at, service = scan.at, state.services[row]
    quota, used = _now(state.quota, at), _now(state.used, at)
    full = [i for i in range(len(state.pools)) if quota[i] > 0 and used[i] >= quota[i]]
    own = _pools(scan, service)
    if own:
        full = [i for i in full if state.pools[i] in own]
    else:
        moved = [i for i in full if _together(state.wanted[row, : at + 1], state.used[i, : at + 1])]
        full = moved or [i for i in full if state.pools[i] in service.name]
    return state.pools[full[0]] if len(full) == 1 else ""


def _admitted(scan: Scan, state: Capacity, row: int, pool: str, since: float) -> float:
    """Replicas within the quota of a pool that are not ready since some lacked: their nodes are on the way.

    Each replica adds its GPUs to the used quota, and a higher quota would bring them no sooner.
    """
    before = max(0, int(np.searchsorted(scan.world.times, since)) - 1)
    used, ready = state.used[[state.pools.index(pool)]], state.ready[[row]]
    more, came = (float((_now(rows, scan.at) - _now(rows, before))[0]) for rows in (used, ready))
    there = float(_now(ready, scan.at)[0])
    held = len([each for each in scan.tenant_rows.get(state.services[row], ()) if _holds(scan, each)])
    gpus = max(1, round(held / there)) if there > 0 else 1
    return max(0.0, math.floor(more / gpus) - came) if math.isfinite(more - came) else 0.0


def _holds(scan: Scan, tenant: int) -> bool:
    return math.isfinite(scan.value("busy", scan.world.tenants[tenant]))


def _pools(scan: Scan, service: Service) -> Set[str]:
    """The pools of the GPUs that a service is on."""
    if not scan.world.pool:
        return frozenset()
    pool = dict(zip(scan.world.gpus, scan.world.pool, strict=True))
    rows = scan.tenant_rows.get(service, ())
    return {name for row in rows if (name := pool[scan.world.tenants[row].gpu])}


def change_points(values: Floats) -> NDArray[np.intp]:
    """Indices at which a series, shape (times,), differs from its last known value."""
    known = np.flatnonzero(np.isfinite(values))
    moved: NDArray[np.intp] = known[1:][np.diff(values[known]) != 0]
    return moved


def _together(first: Floats, second: Floats) -> bool:
    """Whether both series changed, mostly within a minute of each other."""
    first_changes, second_changes = change_points(first), change_points(second)
    if not len(first_changes) or not len(second_changes):
        return False
    near = np.abs(second_changes[:, None] - first_changes[None, :]).min(axis=1) <= 6
    return bool(near.mean() > 0.5)


def _evidence(scan: Scan, each: ReplicaLag) -> tuple[Evidence, ...]:
    name = str(each.service)
    evidence = [
        Evidence("replicas wanted", each.wanted, each.ready, "", each.since, name),
        Evidence("time since they lack", scan.time - each.since, each.delay, "s", each.since, name),
    ]
    if each.pending:
        evidence.append(Evidence("pods that wait for a node", each.pending, 0.0, "", each.since, name))
    worst = max(("waiting", "p95", "failed"), key=lambda name: np.nan_to_num(scan.z(name, each.service), nan=-np.inf))
    if math.isfinite(scan.z(worst, each.service)):
        evidence.append(evidence_of(scan, worst, each.service))
    return tuple(evidence)


def _action(each: ReplicaLag, time: float) -> Action:
    """Raise the limit that blocks replicas; else shed load until they are ready. time: Unix seconds."""
    replicas = math.ceil(each.blocked if each.pool else each.missing)
    shed = Action("shed_load", each.service)
    if each.pool:
        return Action("raise_quota", each.service, target=each.pool, amount=replicas, alternatives=(shed,))
    if each.at_limit and not each.missing:
        return Action("raise_replica_limit", each.service, current=each.wanted)
    return shed._replace(amount=replicas, delay_seconds=each.since + each.delay - time)


def _effect(scan: Scan, each: ReplicaLag) -> Effect | None:
    """The effect of the missing replicas on the load; of one more where only the autoscaler's limit is reached.

    As load over capacity where that is known and not a backlog; else as a ratio of what it is.
    """
    further = each.missing or 1.0
    ratio = each.ready / (each.ready + further)
    utilization = scan.utilizations.get(each.service)
    load = utilization.load if utilization is not None and utilization.load < MAX_LOAD_RATIO else math.nan
    condition: EffectCondition = "more_replicas" if each.missing else "one_more_replica"
    known = improvement("load", each.service, "ratio", load, load * ratio, condition) if ratio > 0 else None
    return known or reduced("load", each.service, ratio, condition)
