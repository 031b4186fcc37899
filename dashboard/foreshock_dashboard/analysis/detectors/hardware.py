"""Hardware faults: a GPU is throttled, failing, or lost, or replicas are.

An error alone is no incident: many are corrected, and a throttled GPU may have spare time. It is one if the latency of
the service rose with it. At clock f instead of F, work takes F/f as long (Xu et al., iGniter, TPDS 2023, frequency
channel); a further slowdown has another cause.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.replicas import LOST_REPLICAS_RATIO, lost
from foreshock_dashboard.analysis.baseline.signals import hardware as health
from foreshock_dashboard.analysis.detectors.evidence import EXTREME_Z, WORSE_Z, degradation, evidence_of
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.remediation.effect import at_baseline, first, of_signal, reduced
from foreshock_dashboard.model.action import Action, Effect, Reason
from foreshock_dashboard.model.incident import Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu, gpu_order
from foreshock_dashboard.stats.threshold import Threshold, confidence

THROTTLED_RATIO = Threshold(0.25, 0.07)
"""Ratio of time throttled above the baseline that slows a service."""
CLOCK_LOSS = Threshold(0.08, 0.03)
"""Ratio of the clock lost that slows a service."""
MAX_UNFELT_STRENGTH = 0.45
"""Largest strength of a fault that does not affect the service."""
GPU_SIGNALS = ("clock", "throttled", "errors")
LATENCY_SIGNALS = ("p95", "first_token", "per_token")
"""Signals of a service that a slower clock raises, those that callers see first."""


def hardware(point: EvaluationPoint) -> tuple[Finding, ...]:
    """Findings for services that are affected by faulty GPUs or lost replicas."""
    return (*_of_gpus(point), *_of_replicas(point))


def faulty_gpus(point: EvaluationPoint) -> Mapping[Gpu, float]:
    """Confidence (0 to 1) that a GPU is throttled or failing, for each GPU that may be."""
    clock, throttled, errors = (point[name] for name in GPU_SIGNALS)
    lost = health(point.world).lost
    with np.errstate(invalid="ignore"):
        held = throttled.value - throttled.level > THROTTLED_RATIO.midpoint / 2
        rows = np.flatnonzero(
            (clock.ratio < 1 - CLOCK_LOSS.midpoint / 2) | held | (errors.value > 0) | (lost[:, point.at] > 0)
        )
    found = {}
    for row in rows:
        gpu = point.world.gpus[row]
        doubts = (
            min(CLOCK_LOSS.confidence(1 - float(clock.ratio[row])), confidence(float(clock.z[row]), EXTREME_Z, 1.0)),
            min(
                THROTTLED_RATIO.confidence(float(throttled.value[row] - throttled.level[row])),
                _slowed(point, int(row)),
            ),
            0.9 if errors.value[row] > 0 and not errors.level[row] > 0 else 0.0,
            1.0 if lost[row, point.at] > 0 else 0.0,
        )
        if max(doubts) > 0.1:
            found[gpu] = max(doubts)
    return found


def _slowed(point: EvaluationPoint, row: int) -> float:
    """Confidence (0 to 1) that a GPU is below its baseline clock; 1 without a clock reading."""
    ratio = float(point["clock"].ratio[row])
    return 1.0 if math.isnan(ratio) else confidence(1 - ratio, CLOCK_LOSS.midpoint / 2, CLOCK_LOSS.width / 2)


def _of_gpus(point: EvaluationPoint) -> list[Finding]:
    faults = faulty_gpus(point)
    if not faults:
        return []
    by_service: dict[Service, set[Gpu]] = {}
    for tenant in point.world.tenants:
        if tenant.gpu in faults:
            by_service.setdefault(tenant.service, set()).add(tenant.gpu)
    found = []
    for service, some in sorted(by_service.items()):
        gpus = tuple(sorted(some, key=gpu_order))
        felt = max(degradation(point, service), confidence(point.z("per_token", service), WORSE_Z, 0.5))
        clock = min((point.ratio("clock", gpu) for gpu in gpus), default=math.nan)
        slow = point.ratio("per_token", service)
        gone = _gone(point, service, gpus)
        left = max(1 - gone, 0.1)
        found.append(
            Finding(
                service=service,
                cause="hardware",
                suspect=SuspectedCause(service, gpus, host=gpus[0].host),
                strength=min(max(faults[gpu] for gpu in gpus), max(felt, MAX_UNFELT_STRENGTH)),
                severity=max(x for x in (1 / left, 1 / clock if clock > 0 else 1.0, slow) if math.isfinite(x)),
                since=min(point.since(name, gpu) for name in GPU_SIGNALS for gpu in gpus),
                evidence=_evidence(point, gpus, service),
                action=Action("drain_gpus", service, gpus=gpus, effect=_effect(point, service, gone)),
                urgent=felt > 0.5,
            )
        )
    return found


def _effect(point: EvaluationPoint, service: Service, gone: float) -> Effect | None:
    """The effect of healthy GPUs: on the load where some are gone, on latency by their clock.

    Where neither is known, as for GPUs with errors alone, the service returns to its baseline.
    """
    slower = clock_slowdown(point, [point.world.tenants[row].gpu for row in point.tenant_rows.get(service, ())])
    return (
        reduced("load", service, 1 - gone, "gpus_restored")
        or first(
            of_signal(point, name, service, point.value(name, service) / slower, "usual_clock")
            for name in LATENCY_SIGNALS
        )
        or at_baseline(point, service, "healthy_gpus")
    )


def clock_slowdown(point: EvaluationPoint, gpus: Sequence[Gpu]) -> float:
    """Slowdown of work by lower clocks, mean over the GPUs; 1 without clock readings."""
    ratios = [point.ratio("clock", gpu) for gpu in gpus]
    slower = [1 / ratio for ratio in ratios if ratio > 0]
    return max(1.0, float(np.mean(slower))) if slower else 1.0


def _gone(point: EvaluationPoint, service: Service, faults: Sequence[Gpu]) -> float:
    """Ratio of a service's GPUs that the driver no longer reaches."""
    gpus = {point.world.tenants[row].gpu for row in point.tenant_rows.get(service, ())}
    lost = health(point.world).lost
    return sum(bool(lost[point["clock"].keys[gpu], point.at] > 0) for gpu in faults) / len(gpus)


def _of_replicas(point: EvaluationPoint) -> list[Finding]:
    """Findings for services with fewer ready replicas than at baseline, although as many are wanted."""
    ready = point["ready"]
    found = []
    for service, row in ready.keys.items():
        if not ready.z[row] > WORSE_Z or not isinstance(service, Service):
            continue
        gone = lost(point, service)
        strength = min(LOST_REPLICAS_RATIO.confidence(gone), degradation(point, service))
        if strength < 0.1:
            continue
        found.append(
            Finding(
                service=service,
                cause="hardware",
                suspect=SuspectedCause(service),
                strength=strength,
                severity=1 / max(1 - gone, 0.1),
                since=point.since("ready", service),
                evidence=(evidence_of(point, "ready", service), evidence_of(point, "p95", service)),
                action=Action(
                    "inspect_replicas",
                    service,
                    reason=Reason("lost_capacity", service, value=gone),
                    effect=reduced("load", service, 1 - gone, "all_replicas"),
                ),
            )
        )
    return found


def _evidence(point: EvaluationPoint, gpus: Sequence[Gpu], service: Service) -> tuple[Evidence, ...]:
    evidence = [evidence_of(point, name, gpu) for gpu in gpus[:2] for name in GPU_SIGNALS]
    evidence += [evidence_of(point, name, service) for name in ("per_token", "p95")]
    return tuple(item for item in evidence if math.isfinite(item.value) and not item.value == item.baseline == 0)
