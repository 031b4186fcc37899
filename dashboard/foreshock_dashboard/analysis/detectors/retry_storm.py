"""Retry storm: retries keep a service down that could serve its offered load.

Three conditions distinguish a storm from retries that accompany another fault. First attempts are at their baseline.
The service finishes at least as many requests. Most requests still wait longer than the timeout of their client,
because most of the finished work was abandoned before. While a trigger lasts, the second condition fails, and the
trigger is the cause.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from foreshock_dashboard.analysis.baseline.levels import BASELINE_HISTORY_SECONDS, GUARD_SECONDS
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.replicas import LOST_REPLICAS_RATIO, lost
from foreshock_dashboard.analysis.baseline.retry_amplification import WINDOW_SECONDS, RequestRates, request_rates
from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.analysis.detectors.demand import OVERLOAD_REQUEST_GROWTH, TOKEN_GROWTH, load_growth
from foreshock_dashboard.analysis.detectors.evidence import EXTREME_Z, evidence_of, lost_gpu_time, slow_tokens
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.detectors.retry_risk import BUDGET_RATIO
from foreshock_dashboard.model.action import Action, Effect
from foreshock_dashboard.model.incident import Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.cusum import queue_wait_seconds
from foreshock_dashboard.stats.robust import nan_mean
from foreshock_dashboard.stats.threshold import Threshold, confidence

MINUTE = 60.0
STORM_RETRY_RATIO = Threshold(0.1, 0.03)
"""Retries per first attempt that make a storm (a client's budget, Site Reliability Engineering, chapter 21)."""
LOAD_GROWTH = Threshold(1.5, 0.1)
"""First attempts over their baseline from which more load is the cause."""
SERVED_SHARE = Threshold(0.9, 0.08)
"""Finished requests over first attempts from which the capacity is there."""
PEAK_LOAD_RATIO, PEAK_LOAD_RATIO_WITHOUT_QUEUE = Threshold(1.15, 0.07), Threshold(1.5, 0.1)
"""Attempts over the largest load while the service was healthy, with and without a known queue."""
GPU_UTILIZATION = Threshold(0.6, 0.08)
"""Utilization of its GPUs from which a service is busy."""
TRIGGER_SECONDS = 900.0
"""Seconds for which what led to retries counts as their cause."""
RETRY_LAG_SECONDS = 30.0
"""Seconds from an attempt to its retry: half the rate window, or the timeout if longer."""
MAX_SEVERITY = 100.0


def retry_storms(point: EvaluationPoint) -> tuple[Finding, ...]:
    """Findings for services that retries keep down."""
    edges = point.world.edges
    attempts = point["attempts"].value
    retried = {edges[row].server for row in np.flatnonzero(attempts > 1 + STORM_RETRY_RATIO.midpoint / 2)}
    if not retried:
        return ()
    now = request_rates(point, MINUTE)
    found = []
    for service in sorted(retried):
        rows = point.into[service]
        strength = storm_strength(point, service, now, rows)
        if strength < 0.1:
            continue
        worst = max(rows, key=lambda row: (np.nan_to_num(now.offered[row] - now.first[row]), -row))
        loop = loop_gain(point, rows)
        amplification = 1 / now.real(rows)
        found.append(
            Finding(
                service=service,
                cause="retry storm",
                suspect=SuspectedCause(service, edge=edges[worst][:2]),
                strength=strength,
                severity=min(MAX_SEVERITY, max(amplification, point.ratio("p95", service))),
                since=min(point.since("attempts", edges[row]) for row in rows),
                evidence=_evidence(point, service, now, rows, worst, loop),
                action=Action(
                    "cap_retries",
                    edges[worst].client,
                    callee=service,
                    amount=BUDGET_RATIO,
                    effect=Effect("load", service, "ratio", math.nan, 1 / amplification, "without_retries"),
                    alternatives=(Action("drain_queue", service),),
                ),
                urgent=True,
            )
        )
    return tuple(found)


def storm_strength(point: EvaluationPoint, service: Service, now: RequestRates, rows: Sequence[int]) -> float:
    """Confidence (0 to 1) that retries, and no lasting trigger, keep a service down: the least of all conditions."""
    real_ratio = now.real(rows)
    if not real_ratio > 0 or not np.nansum(now.baseline[rows]) > 0:
        return 0.0
    fresh = float(np.nansum(now.fresh[rows]))
    baseline = float(np.nansum(now.baseline[rows]))
    has_queue = math.isfinite(point.z("waiting", service))
    conditions = (
        STORM_RETRY_RATIO.confidence(1 / real_ratio - 1),
        confidence(_waiting(point, service), EXTREME_Z, 1.0),
        1 - max(_load_grew(point, service, now, rows), _load_led(point, service, rows)),
        SERVED_SHARE.confidence(_served(point, service) / max(fresh, baseline)),
        (PEAK_LOAD_RATIO if has_queue else PEAK_LOAD_RATIO_WITHOUT_QUEUE).confidence(
            float(np.nansum(now.offered[rows])) / _peak_load(point, rows)
        ),
        1
        - max(
            lost_gpu_time(point, service),
            slow_tokens(point, service),
            LOST_REPLICAS_RATIO.confidence(lost(point, service)),
        ),
        _busy(point, service),
        1 - confidence(point.z("held", service), EXTREME_Z, 1.0),
    )
    return min(conditions)


def _load_grew(point: EvaluationPoint, service: Service, now: RequestRates, rows: Sequence[int]) -> float:
    """Confidence (0 to 1) that the offered load grew, in requests or in tokens."""
    more = load_growth(point, service, now, rows)
    tokens = TOKEN_GROWTH.confidence(more.ratio) if more.signal == "tokens" else 0.0
    return max(LOAD_GROWTH.confidence(now.growth(rows)), tokens)


def _busy(point: EvaluationPoint, service: Service) -> float:
    """Confidence (0 to 1) that the GPUs of a service are busy: one that idles waits for something else than load."""
    rows = point.tenant_rows.get(service, ())
    there = [row for row in rows if math.isfinite(point.value("busy", point.world.tenants[row]))]
    gpus = {point.world.tenants[row].gpu for row in there or rows}
    used = [value for gpu in gpus if math.isfinite(value := point.value("utilization", gpu))]
    return GPU_UTILIZATION.confidence(sum(used) / len(used)) if used else 1.0


def _load_led(point: EvaluationPoint, service: Service, rows: Sequence[int]) -> float:
    """Confidence (0 to 1) that the load had grown before the first retries, and so led to them.

    Unknown later: requests from outside are counted when they end, and in a storm that takes minutes.
    """
    world = point.world
    retrying_seconds = point.time - min(point.since("attempts", world.edges[row]) for row in rows)
    if retrying_seconds > TRIGGER_SECONDS:
        return 0.0
    points = world.points(MINUTE)
    tokens = np.exp(point.history("tokens", service, retrying_seconds + MINUTE)[:points]) / point.level(
        "tokens", service
    )
    if np.isfinite(tokens).any():
        return TOKEN_GROWTH.confidence(float(np.nanmax(tokens)))
    last = max(1, point.at + 1 - world.points(retrying_seconds))
    window = slice(max(0, last - world.points(WINDOW_SECONDS)), last)
    baseline = [point.level("edge_rate", world.edges[row]) for row in rows]
    return OVERLOAD_REQUEST_GROWTH.confidence(
        float(np.nansum(nan_mean(world.calls.rate[list(rows), window]))) / float(np.nansum(baseline))
    )


def _waiting(point: EvaluationPoint, service: Service) -> float:
    """Scales by which requests wait longer; without a known queue, by which they take longer."""
    z = point.z("waiting", service)
    return z if math.isfinite(z) else np.fmin(point.z("p50", service), point.z("flight", service))


def _served(point: EvaluationPoint, service: Service) -> float:
    """Requests per second that a service finishes, as its model servers count them, else those that succeed."""
    servers, world = model_servers(point.world), point.world
    window = point.window(MINUTE)
    if service in servers.services:
        counted = float(nan_mean(servers.finished[[servers.services.index(service)], window])[0])
        if math.isfinite(counted):
            return counted
    if service not in world.services:
        return math.nan
    row = [world.services.index(service)]
    return float(nan_mean(world.red.rate[row, window] * (1 - np.nan_to_num(world.red.failed[row, window])))[0])


def _peak_load(point: EvaluationPoint, rows: Sequence[int]) -> float:
    """The largest load over the edges while the service was healthy: the 99th percentile of the past."""
    last = max(0, point.at + 1 - point.world.points(GUARD_SECONDS))
    past = np.nansum(
        point.world.calls.rate[list(rows), max(0, last - point.world.points(BASELINE_HISTORY_SECONDS)) : last], axis=0
    )
    baseline = float(np.nansum([point.level("edge_rate", point.world.edges[row]) for row in rows]))
    healthy_load = past[(past > 0) & (past < 3 * baseline)]
    return float(np.percentile(healthy_load, 99)) if len(healthy_load) else math.nan


def loop_gain(point: EvaluationPoint, rows: Sequence[int], seconds: float = 300.0) -> float:
    """Loop gain g = λ₀·A′(p)·p′(λ) over edges: retries per second caused by one more attempt per second.

    λ: attempts per second; λ₀: first attempts per second; p: probability that an attempt fails; A: attempts per call.
    Slope of a regression of retries on attempts `RETRY_LAG_SECONDS` before, over the last minutes. Above 1 each wave of
    retries is larger than the last. NaN without variation.
    """
    world = point.world
    window = point.window(seconds)
    offered = world.calls.rate[list(rows), window]
    with np.errstate(invalid="ignore", divide="ignore"):
        retried = offered - offered / np.fmax(world.attempts[list(rows), window], 1.0)
    return lagged_slope(np.nansum(offered, axis=0), np.nansum(retried, axis=0), max(1, world.points(RETRY_LAG_SECONDS)))


def lagged_slope(offered: Floats, retried: Floats, lag: int) -> float:
    """Slope of `retried` on `offered` `lag` points before, both of shape (times,); NaN for fewer than five pairs."""
    x, y = offered[:-lag], retried[lag:]
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < 5 or not np.var(x) > 1e-12:
        return math.nan
    return float(np.cov(x, y, bias=True)[0, 1] / np.var(x))


def _wait(point: EvaluationPoint, service: Service) -> float:
    queue = np.array([point.value("waiting", service) - 1.0])  # the signal counts one more, for its logarithm
    return float(queue_wait_seconds(np.maximum(queue, 0.0), np.array([_served(point, service)]))[0])


def _evidence(
    point: EvaluationPoint, service: Service, now: RequestRates, rows: Sequence[int], worst: int, loop: float
) -> tuple[Evidence, ...]:
    edge = point.world.edges[worst]
    since, name = point.since("attempts", edge), str(service)
    fresh = float(np.nansum(now.fresh[rows]))
    evidence = [
        evidence_of(point, "attempts", edge),
        Evidence("really asked", fresh, float(np.nansum(now.baseline[rows])), "1/s", since, name),
        Evidence("finished", _served(point, service), fresh, "1/s", since, name),
        evidence_of(point, "waiting" if math.isfinite(point.z("waiting", service)) else "p50", service),
        Evidence("wait of who joins the queue", _wait(point, service), 0.0, "s", since, name),
    ]
    if math.isfinite(loop):
        evidence.append(Evidence("retries per further attempt", loop, 1.0, "", since, name))
    return tuple(item for item in evidence if math.isfinite(item.value))
