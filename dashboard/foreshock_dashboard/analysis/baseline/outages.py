"""Services that are down: their replicas or GPUs are gone, or calls to them reach no server.

A dead service reports nothing, so it looks healthy by its own signals. Its clients report failed calls without a server
side; these calls make the clients affected services, not suspects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.counts import count_seconds
from foreshock_dashboard.analysis.baseline.operations import OPERATION_SIGNALS, symptoms
from foreshock_dashboard.analysis.baseline.point import ANOMALOUS_SCALES, EvaluationPoint
from foreshock_dashboard.analysis.baseline.replicas import lost
from foreshock_dashboard.analysis.baseline.signals import hardware
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Bools, Floats
from foreshock_dashboard.model.world import Gpu
from foreshock_dashboard.stats.threshold import Threshold

LOST_CAPACITY_RATIO = Threshold(0.75, 0.08)
"""Share of the replicas or GPUs that are gone from which the service is down; half of them leave an overload."""
UNANSWERED_RATIO = Threshold(0.5, 0.06)
"""Share of the calls without a server side, over that of the baseline."""
SERVED_LOSS_RATIO = Threshold(0.4, 0.05)
"""Share of the requests served at baseline that are missing: an overloaded server still serves what it can."""
FAILED_CALL_RATIO = Threshold(0.3, 0.05)
"""Share of the calls that fail, or get no answer, beyond that of the baseline from which clients are affected."""
MIN_FAILED_CALLS = 5.0
"""Failed calls per minute, or per step if longer, from which a share of them counts."""

RESTART_SECONDS = 120.0
"""Seconds without capacity from which a service is down whose clients report nothing: a restart takes less."""


class Outage(NamedTuple):
    """A service that is down.

    gone: confidence (0 to 1) that it is. observed: confidence that its clients are affected, where none are known also
    that it is more than a restart. lost: share of its capacity or answers that is missing, 0 to 1. error_rate: share of
    failed calls.
    """

    gone: float
    observed: float
    lost: float
    error_rate: float


def outages(point: EvaluationPoint) -> Mapping[Service, Outage]:
    """Services that may be down; memoize with `point.memo`."""
    found = {}
    for service in _suspects(point):
        if (outage := _outage(point, service)).gone > 0.1:
            found[service] = outage
    return found


def _suspects(point: EvaluationPoint) -> set[Service]:
    """Services with missing replicas or lost GPUs, and all callees of clients with failed calls; the others are up."""
    world, ready, lost_gpu = point.world, point["ready"], point.memo(_all_lost_gpus)
    suspects = {tenant.service for tenant in world.tenants if tenant.gpu in lost_gpu} if lost_gpu else set()
    suspects |= {key for key, row in ready.keys.items() if ready.value[row] < 1 and isinstance(key, Service)}
    with np.errstate(invalid="ignore"):
        failing = {world.edges[row].client for row in np.flatnonzero(point["edge_error_rate"].value > 0)}
    return suspects | {world.edges[row].server for client in failing for row in point.outgoing.get(client, ())}


def is_down(point: EvaluationPoint, service: Service) -> bool:
    """Whether a service is more likely down than not."""
    state = point.memo(outages).get(service)
    return state is not None and state.gone >= 0.5


def is_outage_observed(point: EvaluationPoint, service: Service) -> bool:
    """Whether a service is down and its clients are affected."""
    return is_down(point, service) and point.memo(outages)[service].observed >= 0.5


def _outage(point: EvaluationPoint, service: Service) -> Outage:
    rows = point.incoming.get(service, [])
    calls, failures, baseline_calls, baseline = (float(each[rows].sum()) for each in point.memo(_calls_or_zero))
    diverted = sum(_diverted_failures(point, row) for row in rows)
    calls, failures = calls + diverted, failures + diverted
    failed_ratio = failures / calls if calls > 0 else 0.0
    rise = failed_ratio - (baseline / baseline_calls if baseline_calls > 0 else 0.0)
    lost_share = _lost_share(point, service)
    gone, observed = LOST_CAPACITY_RATIO.confidence(lost_share), 0.0
    if not baseline_calls and not calls and point.time - point.since("ready", service) >= RESTART_SECONDS:
        observed = gone
    if failures * count_seconds(point) >= MIN_FAILED_CALLS:
        failing = FAILED_CALL_RATIO.confidence(rise)
        observed = max(failing, FAILED_CALL_RATIO.confidence(_lacking_ratio(point, rows)))
        targets_down = 1 - point.ratio("up", service)
        if (by_targets := min(LOST_CAPACITY_RATIO.confidence(targets_down), failing)) > gone:
            gone, lost_share = by_targets, targets_down
        unanswered, unserved = _missing_answers(point, service, calls, baseline_calls)
        by_calls = min(UNANSWERED_RATIO.confidence(unanswered), SERVED_LOSS_RATIO.confidence(unserved))
        if by_calls > gone:
            gone, lost_share = by_calls, unanswered
    return Outage(gone, observed, lost_share, failed_ratio)


def _calls_or_zero(point: EvaluationPoint) -> tuple[Floats, ...]:
    """Calls and failed calls per second on each edge, now and at baseline; 0 where unknown, as others add up."""
    rate, failed = point["edge_rate"], point["edge_error_rate"]
    figures = (rate.value, rate.value * failed.value, rate.level, rate.level * failed.level)
    return tuple(np.where(np.isnan(each), 0.0, each) for each in figures)


def _lacking_ratio(point: EvaluationPoint, rows: Sequence[int]) -> float:
    """Share of the calls answered at baseline that clients in trouble lack now.

    A client reports a call when it ends, so calls that hang are missing, and so are those that a failing client no
    longer makes. A client that is not worse has a fallback, or fewer requests.
    """
    rate, failed = point["edge_rate"], point["edge_error_rate"]
    answered = np.nan_to_num(rate.value[rows] * (1 - np.nan_to_num(failed.value[rows])))
    level = rate.level[rows] * (1 - np.nan_to_num(failed.level[rows]))
    is_worse = [_is_worse(point, point.world.edges[row].client) for row in rows]
    whole = float(np.nansum(level))
    return float(np.nansum((level - answered)[is_worse])) / whole if whole > 0 else 0.0


def _is_worse(point: EvaluationPoint, client: Service) -> bool:
    """Whether a client, or an operation of it, is slower or fails more than at baseline."""
    return any(
        point.z(*shown) >= ANOMALOUS_SCALES for name in OPERATION_SIGNALS for shown in symptoms(point, name, client)
    )


def _lost_share(point: EvaluationPoint, service: Service) -> float:
    """Share of the replicas or GPUs of a service that are gone."""
    share = lost(point, service)
    if gone := lost_gpus(point, service):
        share = max(share, len(gone) / len({point.world.tenants[row].gpu for row in point.tenant_rows[service]}))
    return share


def _diverted_failures(point: EvaluationPoint, row: int) -> float:
    """Failed calls per second that take the place of those on an edge.

    A service graph names the callee of a call without a server side after its address: a new edge with failures alone,
    from the same client, while the calls on the old edge vanish. A client that fails stops its later calls as well:
    the edges to servers with the strongest sign of an outage share the failures.
    """
    missing, has_vanished = point.memo(_missing_calls), point.memo(_vanished)
    if not has_vanished[row]:
        return 0.0
    rate, failed, edges = point["edge_rate"], point["edge_error_rate"], point.world.edges
    made = point.outgoing.get(edges[row].client, ())
    signs = {other: _outage_sign(point, edges[other].server) for other in made if has_vanished[other]}
    if not signs[row] or signs[row] < max(signs.values()):
        return 0.0
    share = missing[row] / missing[[other for other, sign in signs.items() if sign == signs[row]]].sum()
    new = [other for other in made if np.isnan(rate.level[other]) and failed.value[other] > 0]
    return min(float(missing[row]), float(share * np.nansum(rate.value[new] * failed.value[new])))


def _missing_calls(point: EvaluationPoint) -> Floats:
    """Calls per second on each edge below its baseline; NaN without a baseline."""
    rate = point["edge_rate"]
    return rate.level - np.nan_to_num(rate.value)


def _vanished(point: EvaluationPoint) -> Bools:
    """Whether the calls on each edge fell far below their baseline."""
    return point.memo(_missing_calls) > SERVED_LOSS_RATIO.midpoint * point["edge_rate"].level


def _outage_sign(point: EvaluationPoint, server: Service) -> int:
    """2 if its targets, replicas, or GPUs are gone, 1 if the calls of all its clients vanished, else 0."""
    if any(
        share >= LOST_CAPACITY_RATIO.midpoint for share in (1 - point.ratio("up", server), _lost_share(point, server))
    ):
        return 2
    called = [row for row in point.incoming.get(server, ()) if point["edge_rate"].level[row] > 0]
    return int(point.memo(_vanished)[called].all())


def _missing_answers(
    point: EvaluationPoint, service: Service, calls: float, baseline_calls: float
) -> tuple[float, float]:
    """Share of calls without a server side beyond the baseline, and of the requests served at baseline that are
    missing; NaN for a service that reports no requests.
    """
    served, level = np.nan_to_num(point.value("rate", service)), point.level("rate", service)
    if not (level > 0 and baseline_calls > 0 and calls > 0):
        return math.nan, math.nan
    seen = min(1.0, level / baseline_calls)  # share of the calls that had a server side
    return 1 - min(1.0, float(served) / calls / seen), 1 - float(served) / level


def lost_gpus(point: EvaluationPoint, service: Service) -> set[Gpu]:
    """GPUs of a service for which the driver does not answer."""
    lost_gpu, tenants = point.memo(_all_lost_gpus), point.world.tenants
    rows = point.tenant_rows.get(service, ()) if lost_gpu else ()
    return {tenants[row].gpu for row in rows if tenants[row].gpu in lost_gpu}


def _all_lost_gpus(point: EvaluationPoint) -> frozenset[Gpu]:
    gone = hardware(point.world).lost[:, point.column] > 0
    return frozenset(point.world.gpus[row] for row in np.flatnonzero(gone))
