"""Retry storm: retries keep a service down that could serve its offered load.

Three conditions distinguish a storm from retries that accompany another fault. First attempts are at their baseline.
The service finishes at least as many requests. Most requests still wait longer than the timeout of their client,
because most of the finished work was abandoned before. While a trigger lasts, the second condition fails, and the
trigger is the cause.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from foreshock_dashboard.analysis.baseline.levels import BASELINE_HISTORY_SECONDS, GUARD_SECONDS
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.retry_amplification import WINDOW_SECONDS, RequestRates, request_rates
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME, model_servers
from foreshock_dashboard.analysis.detectors.finding import (
    EXTREME_Z,
    MAX_SEVERITY,
    MIN_STRENGTH,
    Finding,
    evidence_of,
    known_evidence,
    longer_requests,
    lost_capacity,
)
from foreshock_dashboard.analysis.detectors.overload import OVERLOAD_REQUEST_GROWTH, TOKEN_GROWTH, load_growth
from foreshock_dashboard.analysis.remediation.actions import cap_retries, offered_load, shed_load
from foreshock_dashboard.model.incident import Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Edge
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
GAIN_SECONDS = 300.0
"""Seconds over which the loop gain is measured."""
RETRY_LAG_SECONDS = 30.0
"""Seconds from an attempt to its retry: half the rate window, or the timeout if longer."""


def retry_storm(point: EvaluationPoint) -> Iterator[Finding]:
    """Findings for services that retries keep down."""
    edges, attempts = point.world.edges, point["attempts"].value
    retried = {edges[row].server for row in np.flatnonzero(attempts > 1 + STORM_RETRY_RATIO.midpoint / 2)}
    if not retried:
        return
    now = request_rates(point, MINUTE)
    for service in sorted(retried):
        rows = point.incoming[service]
        strength = storm_strength(point, service, now, rows)
        if strength < MIN_STRENGTH:
            continue
        worst = edges[max(rows, key=lambda row: (np.nan_to_num(now.offered[row] - now.first[row]), -row))]
        real_ratio = now.real(rows)
        yield Finding(
            service=service,
            cause="retry_storm",
            suspect=SuspectedCause(service, edge=worst[:2]),
            strength=strength,
            severity=min(MAX_SEVERITY, max(1 / real_ratio, point.ratio("p95", service))),
            since=min(point.since("attempts", edges[row]) for row in rows),
            evidence=_evidence(point, service, now, rows, worst),
            actions=(
                cap_retries(point, worst.client, service, real_ratio),
                *shed_load(point, service, offered_load(point, service, point.ratio("rate", service))),
            ),
            urgent=True,
        )


def storm_strength(point: EvaluationPoint, service: Service, now: RequestRates, rows: Sequence[int]) -> float:
    """Confidence (0 to 1) that retries, and no lasting trigger, keep a service down: the least of all conditions."""
    real_ratio = now.real(rows)
    offered, fresh, baseline = (_total(rates, rows) for rates in (now.offered, now.fresh, now.baseline))
    if not real_ratio > 0 or not baseline > 0:
        return 0.0
    # Without a known queue, requests wait if they take longer.
    peak_ratio, waiting = PEAK_LOAD_RATIO, point.z("waiting", service)
    if math.isnan(waiting):
        peak_ratio = PEAK_LOAD_RATIO_WITHOUT_QUEUE
        waiting = float(np.fmin(point.z("p50", service), point.z("flight", service)))
    more = load_growth(point, service, now, rows)
    token_growth = TOKEN_GROWTH.confidence(more.ratio) if more.signal == "tokens" else 0.0
    return min(
        STORM_RETRY_RATIO.confidence(1 / real_ratio - 1),
        confidence(waiting, EXTREME_Z, 1.0),
        1 - max(LOAD_GROWTH.confidence(now.growth(rows)), token_growth, _load_led(point, service, rows)),
        SERVED_SHARE.confidence(_served(point, service) / max(fresh, baseline)),
        peak_ratio.confidence(offered / _peak_load(point, rows)),
        1 - lost_capacity(point, service),
        _busy(point, service),
        1 - longer_requests(point, service),
    )


def _total(rates: Floats, rows: Sequence[int]) -> float:
    return float(np.nansum(rates[rows]))


def _busy(point: EvaluationPoint, service: Service) -> float:
    """Confidence (0 to 1) that the GPUs of a service are busy: one that idles waits for something else than load."""
    rows = point.tenant_rows.get(service, ())
    used = [row for row in rows if math.isfinite(point.value("busy", point.world.tenants[row]))]
    gpus = {point.world.tenants[row].gpu for row in used or rows}
    utilizations = [value for gpu in gpus if math.isfinite(value := point.value("utilization", gpu))]
    return GPU_UTILIZATION.confidence(sum(utilizations) / len(utilizations)) if utilizations else 1.0


def _load_led(point: EvaluationPoint, service: Service, rows: Sequence[int]) -> float:
    """Confidence (0 to 1) that the load had grown before the first retries, and so led to them.

    Unknown later: requests from outside are counted when they end, and in a storm that takes minutes.
    """
    world = point.world
    retrying_seconds = point.time - min(point.since("attempts", world.edges[row]) for row in rows)
    if retrying_seconds > TRIGGER_SECONDS:
        return 0.0
    points = world.points(MINUTE)
    past = point.history("tokens", service, retrying_seconds + (points + 1) * world.step)  # the first retries included
    tokens = np.exp(past[:points]) / point.level("tokens", service)
    if np.isfinite(tokens).any():
        return TOKEN_GROWTH.confidence(float(np.nanmax(tokens)))
    last = max(1, point.column + 1 - world.points(retrying_seconds))
    before = nan_mean(world.calls.rate[list(rows), max(0, last - world.points(WINDOW_SECONDS)) : last])
    return OVERLOAD_REQUEST_GROWTH.confidence(float(np.nansum(before)) / _total(point["edge_rate"].level, rows))


def _served(point: EvaluationPoint, service: Service) -> float:
    """Requests per second that a service finishes, as its model servers count them, else those that succeed."""
    red, window = point.world.red, point.window(MINUTE)
    if (row := point.models.get(service)) is not None:
        counted = float(nan_mean(model_servers(point.world).finished[[row], window])[0])
        if math.isfinite(counted):
            return counted
    if (row := point["rate"].keys.get(service)) is None:
        return math.nan
    return float(nan_mean(red.rate[[row], window] * (1 - np.nan_to_num(red.error_rate[[row], window])))[0])


def _peak_load(point: EvaluationPoint, rows: Sequence[int]) -> float:
    """The largest load over the edges while the service was healthy: the 99th percentile of the past."""
    last = max(0, point.column + 1 - point.world.points(GUARD_SECONDS))
    first = max(0, last - point.world.points(BASELINE_HISTORY_SECONDS))
    past = np.nansum(point.world.calls.rate[list(rows), first:last], axis=0)
    healthy_load = past[(past > 0) & (past < 3 * _total(point["edge_rate"].level, rows))]
    return float(np.percentile(healthy_load, 99)) if len(healthy_load) else math.nan


def loop_gain(point: EvaluationPoint, rows: Sequence[int]) -> float:
    """Loop gain g = λ₀·A′(p)·p′(λ) over edges: retries per second caused by one more attempt per second.

    λ: attempts per second; λ₀: first attempts per second; p: probability that an attempt fails; A: attempts per call.
    Slope of a regression of retries on attempts `RETRY_LAG_SECONDS` before, over `GAIN_SECONDS`. Above 1 each wave of
    retries is larger than the last. NaN without variation.
    """
    world = point.world
    window = point.window(GAIN_SECONDS)
    offered = world.calls.rate[list(rows), window]
    with np.errstate(invalid="ignore", divide="ignore"):
        retried = offered - offered / np.fmax(world.attempts[list(rows), window], 1.0)
    return lagged_slope(np.nansum(offered, axis=0), np.nansum(retried, axis=0), world.points(RETRY_LAG_SECONDS))


def lagged_slope(offered: Floats, retried: Floats, lag: int) -> float:
    """Slope of `retried` on `offered` `lag` points before, both of shape (times,); NaN for fewer than five pairs."""
    x, y = offered[:-lag], retried[lag:]
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < 5 or not np.var(x) > 1e-12:
        return math.nan
    return float(np.cov(x, y, bias=True)[0, 1] / np.var(x))


def _evidence(
    point: EvaluationPoint, service: Service, now: RequestRates, rows: Sequence[int], worst: Edge
) -> tuple[Evidence, ...]:
    since, name = point.since("attempts", worst), str(service)
    fresh, baseline, served = _total(now.fresh, rows), _total(now.baseline, rows), _served(point, service)
    queue = max(point.value("waiting", service) - SIGNAL_BY_NAME["waiting"].offset, 0.0)
    wait = float(queue_wait_seconds(np.array([queue]), np.array([served]))[0])
    return known_evidence(
        evidence_of(point, "attempts", worst),
        Evidence("request rate without retries", fresh, baseline, "req/s", since, name),
        Evidence("goodput", served, fresh, "req/s", since, name),
        evidence_of(point, "waiting" if math.isfinite(point.z("waiting", service)) else "p50", service),
        Evidence("queue time of new requests", wait, 0.0, "s", since, name),
        Evidence("retries per attempt", loop_gain(point, rows), 1.0, "", since, name),
    )
