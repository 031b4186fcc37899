"""Hardware faults: a GPU is throttled, failing, or lost, or replicas are.

An error alone is no incident: many are corrected, and a throttled GPU may have spare time. It is one if the latency of
the service rose with it. At clock f instead of F, work takes F/f as long (Xu et al., iGniter, TPDS 2023, frequency
channel); a further slowdown has another cause.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from foreshock_dashboard.analysis.baseline.outages import is_down
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.replicas import LOST_REPLICAS_RATIO, lost
from foreshock_dashboard.analysis.baseline.signals import hardware as health
from foreshock_dashboard.analysis.detectors.finding import (
    EXTREME_Z,
    MAX_UNOBSERVED_STRENGTH,
    MIN_STRENGTH,
    WORSE_Z,
    Finding,
    degradation,
    evidence_of,
    known_evidence,
)
from foreshock_dashboard.analysis.remediation.actions import fewer_requests
from foreshock_dashboard.analysis.remediation.effect import at_baseline, first, of_signal
from foreshock_dashboard.analysis.saturation.safe_limits import is_overloading
from foreshock_dashboard.model.action import Action, Effect, Reason
from foreshock_dashboard.model.incident import SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu, gpu_order
from foreshock_dashboard.stats.threshold import Threshold, confidence

THROTTLED_RATIO = Threshold(0.25, 0.07)
"""Ratio of time throttled above the baseline that slows a service."""
CLOCK_LOSS = Threshold(0.08, 0.03)
"""Ratio of the clock lost that slows a service."""
REPLACEMENT_SECONDS = 120.0
"""Seconds for which a replica that is replaced may be missing, as in a rolling restart or when its node is drained. It
is lost if it stays away for longer, or if the others are overloaded. Before, only a breach of the SLO pages."""
GPU_SIGNALS = ("clock", "throttled", "errors")
LATENCY_SIGNALS = ("p95", "first_token", "per_token")
"""Signals of a service that a slower clock raises, those that callers see first."""


def hardware(point: EvaluationPoint) -> Iterator[Finding]:
    """Findings for services that are affected by faulty GPUs or lost replicas."""
    yield from _of_gpus(point)
    yield from _of_replicas(point)


def faulty_gpus(point: EvaluationPoint) -> Mapping[Gpu, float]:
    """Confidence (0 to 1) that a GPU is throttled or failing, for each GPU that may be."""
    clock, throttled, errors = (point[name] for name in GPU_SIGNALS)
    throttled_more = throttled.value - throttled.level
    lost_now = health(point.world).lost[:, point.column] > 0
    with np.errstate(invalid="ignore"):
        clock_loss, more_errors = 1 - clock.ratio, (errors.value > 0) & ~(errors.level > 0)
        is_slow, is_throttled = clock_loss > CLOCK_LOSS.midpoint / 2, throttled_more > THROTTLED_RATIO.midpoint / 2
    faults = {}
    for row in np.flatnonzero(is_slow | is_throttled | (errors.value > 0) | lost_now):
        loss = float(clock_loss[row])
        slowed = 1.0 if math.isnan(loss) else confidence(loss, CLOCK_LOSS.midpoint / 2, CLOCK_LOSS.width / 2)
        strength = max(
            min(CLOCK_LOSS.confidence(loss), confidence(float(clock.z[row]), EXTREME_Z, 1.0)),
            min(THROTTLED_RATIO.confidence(float(throttled_more[row])), slowed),
            0.9 if more_errors[row] else 0.0,
            1.0 if lost_now[row] else 0.0,
        )
        if strength > MIN_STRENGTH:
            faults[point.world.gpus[row]] = strength
    return faults


def _of_gpus(point: EvaluationPoint) -> Iterator[Finding]:
    faults, lost_gpus = point.memo(faulty_gpus), health(point.world).lost[:, point.column]
    by_service: dict[Service, set[Gpu]] = {}
    for tenant in point.world.tenants if faults else ():
        if tenant.gpu in faults:
            by_service.setdefault(tenant.service, set()).add(tenant.gpu)
    for service, group in sorted(by_service.items()):
        if is_down(point, service):
            continue
        gpus = tuple(sorted(group, key=gpu_order))
        observed = max(degradation(point, service), confidence(point.z("per_token", service), WORSE_Z, 0.5))
        clock = min(point.ratio("clock", gpu) for gpu in gpus)
        all_gpus = {point.world.tenants[row].gpu for row in point.tenant_rows[service]}
        gone = sum(bool(lost_gpus[point["clock"].keys[gpu]] > 0) for gpu in gpus) / len(all_gpus)
        slowdowns = 1 / max(1 - gone, 0.1), 1 / clock if clock > 0 else 1.0, point.ratio("per_token", service)
        figures = [evidence_of(point, name, gpu) for gpu in gpus[:2] for name in GPU_SIGNALS]
        figures += [evidence_of(point, name, service) for name in ("per_token", "p95")]
        yield Finding(
            service=service,
            cause="hardware",
            suspect=SuspectedCause(service, gpus, host=gpus[0].host),
            strength=min(max(faults[gpu] for gpu in gpus), max(observed, MAX_UNOBSERVED_STRENGTH)),
            severity=max(slowdown for slowdown in slowdowns if math.isfinite(slowdown)),
            since=min(point.since(name, gpu) for name in GPU_SIGNALS for gpu in gpus),
            evidence=known_evidence(*figures, zeros=False),
            actions=(
                Action("drain_gpus", service, gpus=gpus, effect=_effect(point, service, gone)),
                Action("inspect_gpus", service, gpus=gpus),
            ),
            urgent=observed > 0.5,
        )


def _effect(point: EvaluationPoint, service: Service, gone: float) -> Effect | None:
    """The effect of healthy GPUs: on the load where some are gone, on latency by their clock.

    Where neither is known, as for GPUs with errors alone, the service returns to its baseline.
    """
    if effect := fewer_requests(point, service, 1 - gone):
        return effect
    slower = clock_slowdown(point, service)
    projected = ((name, point.value(name, service) / slower) for name in LATENCY_SIGNALS)
    by_clock = first(of_signal(point, name, service, value) for name, value in projected)
    return by_clock or at_baseline(point, service)


def clock_slowdown(point: EvaluationPoint, service: Service) -> float:
    """Slowdown of a service by lower clocks, mean over the GPUs of its tenants; 1 without clock readings."""
    ratios = [point.ratio("clock", point.world.tenants[row].gpu) for row in point.tenant_rows[service]]
    slowdowns = [1 / ratio for ratio in ratios if ratio > 0]
    return max(1.0, float(np.mean(slowdowns))) if slowdowns else 1.0


def _of_replicas(point: EvaluationPoint) -> Iterator[Finding]:
    """Findings for services with fewer ready replicas than at baseline, although as many are wanted."""
    ready = point["ready"]
    for service, row in ready.keys.items():
        if not ready.z[row] > WORSE_Z or not isinstance(service, Service) or is_down(point, service):
            continue
        gone = lost(point, service)
        since = point.since("ready", service)
        is_lost = point.time - since > REPLACEMENT_SECONDS or is_overloading(point, service)
        bound = 1.0 if is_lost else MAX_UNOBSERVED_STRENGTH
        strength = min(LOST_REPLICAS_RATIO.confidence(gone), degradation(point, service), bound)
        if strength < MIN_STRENGTH:
            continue
        yield Finding(
            service=service,
            cause="hardware",
            suspect=SuspectedCause(service),
            strength=strength,
            severity=1 / max(1 - gone, 0.1),
            since=since,
            evidence=(evidence_of(point, "ready", service), evidence_of(point, "p95", service)),
            actions=(
                Action(
                    "inspect_replicas",
                    service,
                    reason=Reason("lost_capacity", service, value=gone),
                    effect=fewer_requests(point, service, 1 - gone),
                ),
            ),
        )
