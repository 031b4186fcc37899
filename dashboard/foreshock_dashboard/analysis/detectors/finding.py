"""Findings of detectors: their evidence, and confidence from signals that several detectors share."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from foreshock_dashboard.analysis.baseline.counts import is_handful
from foreshock_dashboard.analysis.baseline.gpu_shares import GpuShares
from foreshock_dashboard.analysis.baseline.operations import symptoms
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.replicas import LOST_REPLICAS_RATIO, lost
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME, Key
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.incident import Cause, Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge, Gpu, GpuWaitPair, Operation, Tenant
from foreshock_dashboard.stats.cusum import change_point
from foreshock_dashboard.stats.threshold import Threshold, confidence

EXTREME_Z = 4.0
"""Scales above the baseline at which an excursion is as likely real as noise: a Gaussian exceeds it once in 30,000
points."""
TENFOLD_Z = 20.0
"""Scales above the baseline at which latency is about ten times as long: p95 then harms callers, and
p99 shows a wait before p95 does."""
MIN_STRENGTH = 0.1
"""Strength below which there is no finding."""
MAX_UNOBSERVED_STRENGTH = 0.45
"""Largest strength of a fault that affects no service, or only a handful of requests."""
MAX_SEVERITY = 100.0
LOST_GPU_TIME = Threshold(0.15, 0.04)
"""Ratio of its GPU time that a service lost to others."""
TOKEN_SLOWDOWN = Threshold(1.3, 0.05)
"""Seconds per token over those that the load of a model server explains."""
WORSE_Z = 3.0
"""Scales above the baseline at which a service is worse, where other signals already point at it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause that explains why a service is in trouble, or is about to be.

    service: the affected service. strength: confidence (0 to 1) in the cause; 0.5 is undecided. severity: expected
    slowdown as a ratio of latencies (1: none), or load over capacity. since: Unix seconds of the first sign. urgent: it
    takes the service down within about a minute; no trend has to be awaited. actions: what to do. expected: it recurs
    at this time every week, and explains only what nothing else does. down: the suspected service does not answer.
    """

    service: Service
    cause: Cause
    suspect: SuspectedCause
    strength: float
    severity: float
    since: float
    evidence: tuple[Evidence, ...]
    actions: tuple[Action, ...]
    urgent: bool = False
    expected: bool = False
    down: bool = False

    @property
    def by_itself(self) -> bool:
        """Whether the service itself is at fault: what remains if nothing else explains its trouble."""
        return self.cause == "dependency" and self.suspect.service == self.service and not self.down


def counted(point: EvaluationPoint, finding: Finding) -> Finding:
    """The finding, weak if its service has had a handful of requests since it began.

    One about a service that is down counts the calls that fail.
    """
    if finding.down or not is_handful(point, finding.service, finding.since):
        return finding
    return replace(finding, strength=min(finding.strength, MAX_UNOBSERVED_STRENGTH))


def entity(key: Key) -> str:
    """The name of what a signal describes."""
    if isinstance(key, Edge):
        return f"{key.client} -> {key.server}"
    if isinstance(key, Operation):
        return f"{key.service} {key.name}"
    if isinstance(key, Gpu):
        return key.label
    if isinstance(key, Tenant):
        return f"{key.service} on {key.gpu.label}"
    if isinstance(key, GpuWaitPair):
        return f"{key.affected} waiting on {key.noisy_neighbor}, {key.gpu.label}"
    return str(key)


def known_evidence(*evidence: Evidence, zeros: bool = True) -> tuple[Evidence, ...]:
    """Evidence with a known value; without `zeros` only what is or was above 0."""
    return tuple(
        item for item in evidence if math.isfinite(item.value) and (zeros or not item.value == item.baseline == 0)
    )


def evidence_of(point: EvaluationPoint, name: str, key: Key) -> Evidence:
    """The current value of a signal as evidence."""
    signal = SIGNAL_BY_NAME[name]
    value, baseline = point.value(name, key) - signal.offset, point.level(name, key) - signal.offset
    since = point.since(name, key)
    return Evidence(signal.text, value, baseline, signal.unit, since, entity(key), name)


def onset(point: EvaluationPoint, name: str, key: Key, seconds: float = 3600.0) -> float:
    """Unix seconds at which a slow excursion of a signal began, by CUSUM; the current time without an excursion."""
    history = point.history(name, key, seconds)
    level, scale = point.level_and_scale(name, key)
    first = change_point((history - level) / scale * (SIGNAL_BY_NAME[name].worse or 1))
    return point.time - max(0, len(history) - 1 - first) * point.world.step


def degradation(point: EvaluationPoint, service: Service) -> float:
    """Confidence (0 to 1) that a service is worse for its callers: slower, failing, or queueing."""
    return max(
        confidence(point.z(*shown), WORSE_Z, 0.5)
        for name in ("p95", "error_rate", "flight", "first_token", "waiting")
        for shown in symptoms(point, name, service)
    )


def slowdown_confidence(point: EvaluationPoint, service: Key) -> float:
    """Confidence (0 to 1) that requests of a service wait or take longer, as in an overload."""
    return max(confidence(point.z(name, service), EXTREME_Z, 0.7) for name in ("p95", "first_token", "waiting"))


def lost_gpu_time(point: EvaluationPoint, service: Service) -> float:
    """Confidence (0 to 1) that other services took GPU time from a service; 0 without GPUs."""
    rows = point.tenant_rows.get(service)
    if not rows:
        return 0.0
    sharing = point.memo(GpuShares)
    now, baseline = sharing.now[rows], sharing.baseline[rows]
    # A service that left its GPUs lost nothing.
    is_there = np.isfinite(point["busy"].value[rows]) & np.isfinite(now) & np.isfinite(baseline)
    expected = float(baseline[is_there].sum())
    return LOST_GPU_TIME.confidence(1 - float(now[is_there].sum()) / expected) if expected > 0 else 0.0


def slow_tokens(point: EvaluationPoint, service: Service) -> float:
    """Confidence (0 to 1) that model servers take longer per token than their load explains."""
    utilization = point.utilizations.get(service)
    if utilization is None:
        return 0.0
    return min(confidence(utilization.z, EXTREME_Z, 0.7), TOKEN_SLOWDOWN.confidence(utilization.slowdown))


def lost_capacity(point: EvaluationPoint, service: Service) -> float:
    """Confidence (0 to 1) that a service lost GPU time, replicas, or speed per token."""
    replicas = LOST_REPLICAS_RATIO.confidence(lost(point, service))
    return max(lost_gpu_time(point, service), slow_tokens(point, service), replicas)


def longer_requests(point: EvaluationPoint, service: Service) -> float:
    """Confidence (0 to 1) that requests of a service became longer, by KV cache per request."""
    return confidence(point.z("held", service), EXTREME_Z, 1.0)
