"""KV cache pressure: requests became longer, so the cache of a language model holds fewer of them.

The cache holds prompt and answer of every running request (Kwon et al., PagedAttention, SOSP 2023): cache in use over
running requests is their length. It rises with the first longer prompts, before any queue; tokens per finished request
follow one answer later. When the cache is full, requests wait or are preempted, which repeats work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.retry_amplification import RequestRates, request_rates
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME
from foreshock_dashboard.analysis.detectors.demand import edge_growth, load_origin
from foreshock_dashboard.analysis.detectors.evidence import evidence_of, onset, slowdown_confidence
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.remediation.effect import improvement
from foreshock_dashboard.analysis.saturation.overload import is_overloading
from foreshock_dashboard.model.action import Action, Effect
from foreshock_dashboard.model.incident import Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.threshold import Threshold

REQUEST_LENGTH_GROWTH = Threshold(1.25, 0.05)
"""Cache per request over its baseline from which requests are longer: over a minute it scatters by 4 to 9 %, and drifts
as much over the hours of a day."""
PRESSURE_KV_CACHE_RATIO = Threshold(0.65, 0.07)
"""Current ratio of the KV cache in use from which it is short. Above `OVERLOAD_KV_CACHE_RATIO`, which bounds a mean of
minutes."""
PREEMPTION_RATE = Threshold(0.05, 0.02)
"""Preemptions per second above the baseline that show a full cache."""


def kv_cache_pressure(point: EvaluationPoint) -> tuple[Finding, ...]:
    """Findings for language models with a cache that fills because requests are longer."""
    held = point["held"]
    keys = list(held.keys)
    rows = np.flatnonzero(held.ratio > REQUEST_LENGTH_GROWTH.midpoint - 2 * REQUEST_LENGTH_GROWTH.width)
    if not len(rows):
        return ()
    load = request_rates(point)
    weights = edge_growth(point, load)
    found = []
    for row in rows:
        service = keys[row]
        assert isinstance(service, Service)  # noqa: S101 - the signal is of services
        felt = max(
            cache_pressure(point, service), slowdown_confidence(point, service), float(is_overloading(point, service))
        )
        strength = min(REQUEST_LENGTH_GROWTH.confidence(float(held.ratio[row])), felt)
        if strength < 0.1:
            continue
        client = load_origin(point, service, _by_calls(load, weights)).service
        found.append(
            Finding(
                service=service,
                cause="memory pressure",
                suspect=SuspectedCause(client),
                strength=strength,
                severity=max(1.0, float(held.ratio[row])),
                since=onset(point, "held", service),
                evidence=_evidence(point, service),
                action=Action(
                    "limit_length",
                    client,
                    requests=_longer(point, service),
                    effect=_effect(point, service, float(held.ratio[row])),
                    alternatives=(Action("add_kv_cache", service),),
                ),
            )
        )
    return tuple(found)


def _longer(point: EvaluationPoint, service: Service) -> str:
    """Whether prompts or answers grew more. A full server counts fewer of both, so they are compared."""
    prompts, answers = point.ratio("prompt", service), point.ratio("tokens", service)
    return "answer" if answers > prompts else "prompt"


def _effect(point: EvaluationPoint, service: Service, longer: float) -> Effect | None:
    """The effect of requests of their baseline length on the KV cache in use."""
    used = point.value("cache", service)
    return improvement(SIGNAL_BY_NAME["cache"].text, service, "ratio", used, used / longer, "usual_length")


def cache_pressure(point: EvaluationPoint, service: Service) -> float:
    """Confidence (0 to 1) that the KV cache of a model server is short: nearly full, or preempting."""
    return max(
        PRESSURE_KV_CACHE_RATIO.confidence(point.value("cache", service)),
        PREEMPTION_RATE.confidence(point.value("preempted", service) - max(0.0, point.level("preempted", service))),
    )


def _by_calls(load: RequestRates, weights: Floats) -> Floats:
    """Weights of edges for the origin of longer requests: their calls, as lengths are known only in total."""
    calls: Floats = np.nan_to_num(load.first) + weights
    return calls


def _evidence(point: EvaluationPoint, service: Service) -> tuple[Evidence, ...]:
    names: Sequence[str] = ("held", "cache", "preempted", "waiting", "prompt", "generated")
    return tuple(evidence_of(point, name, service) for name in names if math.isfinite(point.value(name, service)))
