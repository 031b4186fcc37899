"""Forecast of each service's SLO breach from its own latency, errors, and resources."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.counts import MIN_REQUESTS, count_seconds
from foreshock_dashboard.analysis.baseline.operations import MIN_OPERATION_Z
from foreshock_dashboard.analysis.baseline.outages import is_outage_observed
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint, smoothing_points
from foreshock_dashboard.analysis.baseline.slos import Slo, operation_slos
from foreshock_dashboard.analysis.forecast.bad_requests import bad_request_breaches
from foreshock_dashboard.analysis.forecast.breach import (
    MIN_TREND_Z,
    NEVER,
    NOW,
    Breach,
    forecast,
    trend_window,
    worst,
)
from foreshock_dashboard.analysis.forecast.exhaustion import exhaustion
from foreshock_dashboard.analysis.saturation.safe_limits import is_overloading
from foreshock_dashboard.model.forecast import Utilization
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Bools, Floats
from foreshock_dashboard.model.world import Operation, Red

MIN_FAILED_REQUESTS = 5.0
"""Failed requests per minute, or per step if longer, from which an error rate counts."""
MIN_SHIFT_Z = 4.0
"""Scales above the baseline of p50 from which all requests are slower: p95 grows by as many seconds. A minute's p50 is
less noisy than its p95."""
MIN_SHIFT_SHARE = 0.5
"""Share of that shift that p95 shows at least: else only the mix of short and long requests has changed."""
MAX_SLOWER_SHARE = 0.8
"""Share of the rise of a service's p95, in logarithms, that its slow operations may show: else they are slower, each
within the noise of its few requests."""
MIN_KNOWN_SHARE = 0.999
"""Share of a service's requests that are of known operations, from which the others are an error of rounding."""
WHOLE_SERVICE_SHARE = 0.9
"""Share of a service's requests from which an operation stands for all of them: the SLO of the service holds, and a
second, learned one beside it would contradict it."""


@dataclass(frozen=True, slots=True)
class ServiceRisk:
    """Risk that a service breaches its SLO, without that of its dependencies.

    breached: the SLO is breached now. score: 0 to 1, by which incidents are decided, with excursions beyond the SLO
    within `level_crossing.HORIZON_SECONDS` taken as independent; it exceeds the probability by far. probability: 0 to
    1, of a breach within `NEAR_SECONDS`, calibrated. seconds: until a breach, at each of `QUANTILES`. overloaded: its
    model servers are overloaded, or soon will be. utilization: that of its model servers, if any. slo: None where
    none is configured or learned yet. operation: the one that breaches, or will, and its SLO; None for the service as a
    whole. relevant: the forecast matters although the latency is near the baseline: a resource is nearly used up, or
    some requests are slower than the SLO already. resource: signal of the resource that is used up, or "". breaching:
    all operations that breach their SLOs now, with these.
    """

    breached: bool
    score: float
    probability: float
    seconds: tuple[float, ...]
    overloaded: bool
    utilization: Utilization | None
    slo: Slo | None = None
    operation: tuple[Operation, Slo] | None = None
    relevant: bool = False
    resource: str = ""
    breaching: tuple[tuple[Operation, Slo], ...] = ()


def service_risks(point: EvaluationPoint, slos: Mapping[Service, Slo]) -> Mapping[Service, ServiceRisk]:
    """Risk of each service of the World, by its latency or by its resources, whichever is more likely."""
    services, no_slo = point.world.services, Slo(math.nan, math.nan)
    limit, max_failed = np.array([slos.get(service, no_slo)[:2] for service in services], np.float64).reshape(-1, 2).T
    mixed = _mix_changes(point, limit)
    by_latency = _breaches(point, "", point.world.red, limit, max_failed, MIN_TREND_Z, mixed)
    by_operation, by_resource = _operation_breaches(point, slos), exhaustion(point)
    risks = {}
    for i, service in enumerate(services):
        breach = worst(by_latency.get(i, NEVER), by_resource.get(service, NEVER))
        of_operations = by_operation.get(service, ())
        operation, of_operation = of_operations[0] if of_operations else (None, NEVER)
        if is_outage_observed(point, service):
            breach = NOW
        if of_operation.score > breach.score:
            breach = of_operation
        else:
            operation = None
        utilization, overloaded = point.utilizations.get(service), is_overloading(point, service)
        breaching = tuple(target for target, breach_ in of_operations if breach_ is NOW)
        risks[service] = ServiceRisk(
            breach is NOW, *breach[:3], overloaded, utilization, slos.get(service), operation, *breach[3:], breaching
        )
    return risks


def _mix_changes(point: EvaluationPoint, limit: Floats) -> Bools:
    """Services whose p95 follows the mix of their operations alone, by row: none of these is slower, or above the SLO.

    A mix of them has no larger p95 than the slowest one, so that the service does not breach. limit: p95 by row.
    """
    world, service = point.world, point["p95"]
    size, rows = len(world.services), point.memo(_service_rows)
    p95, level, z, _, denoised = (values[rows >= 0] for values in point["operation_p95"][1:])
    recent, owner = point.window(world.step * smoothing_points(world)), rows[rows >= 0]
    # Means: the medians of operations have another sum than that of their service.
    rates, requests = (
        np.nan_to_num(rate[:, recent].astype(np.float64)).mean(axis=1)
        for rate in (world.operation_red.rate[rows >= 0], world.red.rate)
    )
    largest_p95, largest_rate = np.zeros(size), np.zeros(size)
    np.fmax.at(largest_p95, owner, denoised)
    np.fmax.at(largest_rate, owner, rates)
    with np.errstate(invalid="ignore", divide="ignore"):
        slower = np.bincount(owner[z >= MIN_TREND_Z], minlength=size)
        normal = np.bincount(owner, weights=rates * (z < MIN_TREND_Z), minlength=size)
        is_known = normal >= MIN_KNOWN_SHARE * requests
        is_mixed = largest_rate < WHOLE_SERVICE_SHARE * requests
        slow = rates * (p95 >= service.level[owner])  # p95 is among the requests of these
        rise = np.bincount(owner, weights=slow * np.nan_to_num(np.log(p95 / level)), minlength=size)
        total = np.bincount(owner, weights=slow, minlength=size) * np.log(service.value / service.level)
        mixed: Bools = (slower == 0) & is_known & is_mixed & (largest_p95 <= limit)
    return mixed & (rise <= MAX_SLOWER_SHARE * total)


def _service_rows(point: EvaluationPoint) -> NDArray[np.int64]:
    """The row of the service of each operation; -1 for none."""
    rows = {service: row for row, service in enumerate(point.world.services)}
    return np.array([rows.get(operation.service, -1) for operation in point.world.operations], np.int64)


def _operation_breaches(
    point: EvaluationPoint, slos: Mapping[Service, Slo]
) -> Mapping[Service, Sequence[tuple[tuple[Operation, Slo], Breach]]]:
    """The operations of each service that breach their SLOs, or may, with these and the breach.

    The most likely breach comes first, among equal ones that of the value with the largest ratio to its target. An
    operation with nearly all requests of its service is left out, unless the service has no SLO.
    """
    if not point.world.operations:
        return {}
    limit, max_failed = operation_slos(point, slos)
    breaches = _breaches(point, "operation_", point.world.operation_red, limit, max_failed, MIN_OPERATION_Z)
    with np.errstate(invalid="ignore"):
        excess = np.fmax(point["operation_p95"].denoised / limit, point["operation_error_rate"].value / max_failed)
    found: defaultdict[Service, list[tuple[tuple[Operation, Slo], Breach]]] = defaultdict(list)
    for row in sorted(breaches, key=lambda row: (-breaches[row].score, -np.nan_to_num(excess[row]))):
        operation = point.world.operations[row]
        requests = point.value("operation_rate", operation)
        if operation.service in slos and requests >= WHOLE_SERVICE_SHARE * point.value("rate", operation.service):
            continue
        target = Slo(float(limit[row]), float(max_failed[row]), learned=True)
        found[operation.service].append(((operation, target), breaches[row]))
    return found


def _breaches(
    point: EvaluationPoint,
    prefix: str,
    red: Red,
    limit: Floats,
    max_failed: Floats,
    min_z: float,
    mixed: Bools | bool = False,
) -> Mapping[int, Breach]:
    """The breach of the SLO by each row of services, or of operations, with enough requests or failures that is worse.

    prefix: of the names of the rows' signals. red: their values. limit, max_failed: p95 in seconds and error rate by
    row. min_z: scales above the baseline from which the trend of p95 counts. mixed: rows whose trend does not count.
    """
    p95, p50, failed = (point[f"{prefix}{name}"] for name in ("p95", "p50", "error_rate"))
    requests = point[f"{prefix}rate"].value * count_seconds(point)
    with np.errstate(invalid="ignore"):
        failing = (failed.value > max_failed) & (failed.value * requests >= MIN_FAILED_REQUESTS)
        counted = requests >= MIN_REQUESTS
        trending = counted & ~np.asarray(mixed)
        breached = np.flatnonzero((counted & (p95.denoised > limit)) | failing)
        slower = np.flatnonzero(trending & (p95.z >= min_z))
        shown = p95.value - p95.level >= MIN_SHIFT_SHARE * (p50.value - p50.level)
        shifted = np.flatnonzero(trending & shown & (p50.z >= MIN_SHIFT_Z))
    window = trend_window(point)
    shift = np.fmax(red.p50[shifted, window].astype(np.float64) - p50.level[shifted, None], 0.0)
    breaches = dict(bad_request_breaches(point, red, limit, max_failed))
    for rows, seconds in (
        (slower, red.p95[slower, window].astype(np.float64)),
        (shifted, p95.level[shifted, None] + shift),
    ):
        logs = np.log(np.maximum(seconds, 1e-9))
        for row, breach in zip(rows.tolist(), forecast(logs, np.log(limit[rows]), point.world.step), strict=True):
            breaches[row] = worst(breach, breaches.get(row, NEVER))
    return breaches | dict.fromkeys(breached.tolist(), NOW)
