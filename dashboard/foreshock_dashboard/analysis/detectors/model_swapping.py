"""Model swapping: a service waits for weights to be swapped while its GPUs idle, as callers use different models.

Latency grows several times, although the GPUs have spare time and each request costs as much as before: the service
waits for something else. If this began as a caller sent more, or as a new kind of request appeared, its models do not
fit into memory beside the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.counts import MIN_STANDARD_ERRORS, count_seconds, growth_standard_errors
from foreshock_dashboard.analysis.baseline.excess import (
    LOAD_PERCENTILE,
    MAX_SLOWDOWN_RATIO,
    Excesses,
    Slowdown,
    anomaly_confidence,
    slowdown,
)
from foreshock_dashboard.analysis.baseline.gpu_shares import pool_of
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME
from foreshock_dashboard.analysis.detectors.finding import TENFOLD_Z, Finding
from foreshock_dashboard.model.action import Action, Reason
from foreshock_dashboard.model.incident import Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge, gpu_order
from foreshock_dashboard.stats.robust import median, percentile

MAX_BUSY_RATIO = 0.5
"""Busy ratio of its max_utilization GPU up to which a service does not wait for GPU time."""
WAIT_SLOWDOWN, WAIT_Z = 2.0, 3.0
"""Slowdown, and scales above the baseline, of a service that waits; both must be exceeded."""
MAX_WAIT_SECONDS = 3600.0
"""Seconds back in which the waiting may have begun."""
BASELINE_SECONDS, LEAD_SECONDS = 180.0, 30.0
"""Seconds before the waiting began that are the baseline of a caller's rate, and the last of them that are left out."""
MIN_OPERATION_RATE, MIN_OPERATION_SHARE = 0.05, 0.002
"""Requests per second of a kind, and ratio of all requests of the service, below which its changes mean little."""


class CallGrowth(NamedTuple):
    """The growth of calls on an edge, or of one kind of request on it.

    baseline, now: calls per second. z: scales above the baseline. kind: the kind of requests; "" for all calls.
    """

    edge: Edge
    baseline: float
    now: float
    z: float
    kind: str = ""


def model_swapping(point: EvaluationPoint) -> Iterator[Finding]:
    """Findings for services that wait with idle GPUs since a caller sent more."""
    excesses = Excesses(point)
    for service in sorted(point.tenant_rows):
        waits = point.z("p95", service) >= WAIT_Z or point.z("queued", service) >= WAIT_Z
        if (waits or point.z("p99", service) >= TENFOLD_Z) and (finding := _finding(excesses, service)):
            yield finding


def _finding(excesses: Excesses, service: Service) -> Finding | None:
    """The finding for one service; None if its GPUs are busy, a callee explains its slowness, or no caller grew."""
    point = excesses.point
    slow = _slowdown(point, service)
    gpus = tuple(point.world.tenants[row].gpu for row in point.tenant_rows[service])
    max_utilization = max(point.value("utilization", gpu) for gpu in gpus)
    if not slow.ratio > 1 or not max_utilization < MAX_BUSY_RATIO:
        return None
    rows = point.tenant_rows[service]
    busy = float(np.nansum(point["busy"].value[rows].astype(np.float64)))
    baseline_busy = float(np.nansum(point["busy"].level[rows]))
    request_growth = point.ratio("rate", service)
    has_cost = baseline_busy > 0 and request_growth > 0
    cost_growth = busy / baseline_busy / request_growth if has_cost else 1.0
    evident = min(1.0, min((slow.ratio / max(1.0, cost_growth) - 1) / (WAIT_SLOWDOWN - 1), slow.z / WAIT_Z) / 2)
    if not evident > 0:
        return None
    log = excesses.own(service)[0].log
    if any(excesses.called(edge)[0].log > log / 2 for edge in point.calls_from(service)):
        return None  # it waits for a callee
    since = point.since(slow.signal, service, lookback=MAX_WAIT_SECONDS)
    growth = _caller_growth(point, service, since)
    if growth is None:
        return None
    by_kind = _kind_growth(point, service, since, growth.edge)
    if by_kind is not None and by_kind.z > growth.z:
        growth = by_kind
    if not growth.z > 0:
        return None
    strength = anomaly_confidence(growth.z) * evident
    caller, signal = growth.edge.client, SIGNAL_BY_NAME[slow.signal].text
    now, baseline = point.value(slow.signal, service), point.level(slow.signal, service)
    limit = growth.baseline if growth.baseline >= MIN_OPERATION_RATE else math.nan
    reason = Reason("idle_gpus", service, value=1 - max_utilization)
    calls, edge = f"call rate {growth.kind}".rstrip(), f"{caller} -> {service}"
    return Finding(
        service=service,
        cause="gpu_contention",
        suspect=SuspectedCause(caller, tuple(sorted(gpus, key=gpu_order)), pool_of(point.pool_by_gpu, gpus)),
        strength=strength,
        severity=min(MAX_SLOWDOWN_RATIO, slow.ratio),
        since=since,
        evidence=(
            Evidence(signal, now, baseline, "s", since, str(service)),
            Evidence(calls, growth.now, growth.baseline, "req/s", since, edge),
            Evidence("GPU time", busy, baseline_busy, "ratio", since, str(service)),
        ),
        actions=(
            Action("limit_calls", caller, callee=service, gpus=gpus, requests=growth.kind, amount=limit, reason=reason),
            Action("dedicate_replicas", caller, callee=service, gpus=gpus, requests=growth.kind, reason=reason),
        ),
        urgent=strength >= 0.5 and slow.ratio >= WAIT_SLOWDOWN,
    )


def _slowdown(point: EvaluationPoint, service: Service) -> Slowdown:
    """The surest sign of waiting: latency, or time in the queue over a known median latency.

    While fewer than 5% of the requests wait, only p99 shows it.
    """
    slow = slowdown(point, service)
    if not slow.z >= WAIT_Z and point.z("p99", service) >= TENFOLD_Z:
        slow = Slowdown("p99", point.ratio("p99", service), point.z("p99", service))
    queued = point.value("queued", service) - point.level("queued", service)
    waits = Slowdown("queued", 1 + queued / point.level("p50", service), point.z("queued", service))
    surer = waits.z > slow.z or not math.isfinite(slow.z)
    return waits if surer and math.isfinite(waits.ratio) else slow


def _caller_growth(point: EvaluationPoint, service: Service, since: float) -> CallGrowth | None:
    """The caller with the largest growth of calls since the start of the waiting, against the minutes before."""
    step = point.world.step
    rows = [row for row in point.incoming.get(service, ()) if point.world.edges[row].connection != "virtual_node"]
    points = min(
        max(1, round((point.time - since + BASELINE_SECONDS) / step) + 1),
        point.world.points(MAX_WAIT_SECONDS + BASELINE_SECONDS),
    )
    rates = point.past("edge_rate", rows, points)
    split = min(rates.shape[1], point.world.points(BASELINE_SECONDS - LEAD_SECONDS))
    baseline, now = median(rates[:, :split]), percentile(rates[:, split:], LOAD_PERCENTILE)
    growth = np.where(np.isfinite(baseline) & np.isfinite(now), np.exp(now) - np.exp(baseline), -np.inf)
    if not np.isfinite(growth).any():
        return None
    largest = int(growth.argmax())
    before, after = float(baseline[largest]), float(now[largest])
    z = (after - before) / SIGNAL_BY_NAME["edge_rate"].floor
    if growth_standard_errors(math.exp(before), math.exp(after), count_seconds(point)) < MIN_STANDARD_ERRORS:
        z = 0.0
    return CallGrowth(point.world.edges[rows[largest]], math.exp(before), math.exp(after), z)


def _kind_growth(point: EvaluationPoint, service: Service, since: float, edge: Edge) -> CallGrowth | None:
    """The kind of request that grew most, against the hour before the waiting began; assumed to come over `edge`.

    Ten requests per minute of a new kind do not show in the sum, and bursts of a caller show in all kinds.
    """
    step, at = point.world.step, point.column + 1
    points = min(at, round((point.time - since + MAX_WAIT_SECONDS) / step))
    split = points - round((point.time - since + LEAD_SECONDS) / step)
    rows, row = point.operations.get(service, []), point["rate"].keys.get(service)
    if not rows or row is None or split <= 0:
        return None
    known = np.isfinite(point.past("rate", [row], points))
    if np.count_nonzero(known[:, :split]) < (BASELINE_SECONDS - LEAD_SECONDS) / step:
        return None
    rates = np.where(known, np.nan_to_num(point.world.operation_red.rate[rows, at - points : at]), np.nan)
    baseline, now = median(rates[:, :split]), percentile(rates[:, split:], LOAD_PERCENTILE)
    floor = max(MIN_OPERATION_RATE, MIN_OPERATION_SHARE * float(baseline.sum()))
    growth = np.log((now + floor) / (baseline + floor)) / SIGNAL_BY_NAME["edge_rate"].floor
    if not np.isfinite(growth).any():
        return None
    largest = int(np.nanargmax(growth))
    if growth_standard_errors(baseline[largest], now[largest], count_seconds(point)) < MIN_STANDARD_ERRORS:
        return None
    kind = point.world.operations[rows[largest]].name
    return CallGrowth(edge, float(baseline[largest]), float(now[largest]), float(growth[largest]), kind)
