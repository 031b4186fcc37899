"""KV cache pressure: requests became longer, so the cache of a language model holds fewer of them.

The cache holds prompt and answer of every running request (Kwon et al., PagedAttention, SOSP 2023): cache in use over
running requests is their length. It rises with the first longer prompts, before any queue; tokens per finished request
follow one answer later. When the cache is full, requests wait or are preempted, which repeats work.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from foreshock_dashboard.analysis.baseline.point import ANOMALOUS_SCALES, EvaluationPoint
from foreshock_dashboard.analysis.baseline.retry_amplification import request_rates
from foreshock_dashboard.analysis.detectors.finding import (
    MIN_STRENGTH,
    Finding,
    evidence_of,
    known_evidence,
    onset,
    slowdown_confidence,
)
from foreshock_dashboard.analysis.detectors.overload import edge_growth, load_origin
from foreshock_dashboard.analysis.remediation.actions import OfferedLoad, add_replicas, offered_load, reporting_replicas
from foreshock_dashboard.analysis.remediation.effect import of_signal
from foreshock_dashboard.analysis.saturation.safe_limits import is_overloading
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.incident import SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.stats.threshold import Threshold, confidence

REQUEST_LENGTH_GROWTH = Threshold(1.25, 0.05)
"""Cache per request over its baseline from which requests are longer: over a minute it scatters by 4% to 9%, and drifts
as much over the hours of a day."""
KV_CACHE_GROWTH = Threshold(1.15, 0.05)
"""KV cache in use over its baseline from which longer requests fill it."""
PRESSURE_KV_CACHE_RATIO = Threshold(0.65, 0.07)
"""Current ratio of the KV cache in use from which it is short. Above `OVERLOAD_KV_CACHE_RATIO`, which bounds a mean of
minutes."""
PREEMPTION_RATE = Threshold(0.05, 0.02)
"""Preemptions per second above the baseline that show a full cache."""
KEPT_BATCH_RATIO = 0.9
"""Ratio of the running requests that a limit of the batch keeps: preemptions show that their cache is full."""
EVIDENCE_SIGNALS = ("held", "cache", "preempted", "waiting", "prompt", "generated")


def limit_batch(point: EvaluationPoint, service: Service) -> tuple[Action, ...]:
    """Run a tenth fewer requests at once while the cache preempts some: the rest waits, and no work is repeated.

    Preemptions are known of vLLM alone, so its option is (docs.vllm.ai, Optimization and Tuning, Preemption).
    """
    replicas, used = reporting_replicas(point, service), point.value("cache", service)
    running = point.value("running", service) / replicas if replicas else math.nan
    if not (used > 0 and KEPT_BATCH_RATIO * running >= 1):
        return ()
    amount = math.floor(KEPT_BATCH_RATIO * running)
    effect = of_signal(point, "cache", service, used * amount / running)
    return (Action("limit_batch", service, amount=amount, current=running, effect=effect),)


def kv_cache_pressure(point: EvaluationPoint) -> Iterator[Finding]:
    """Findings for language models with a cache that fills because requests are longer."""
    held = point["held"]
    services = list(held.keys)
    rows = np.flatnonzero(held.ratio > REQUEST_LENGTH_GROWTH.midpoint - 2 * REQUEST_LENGTH_GROWTH.width)
    if not len(rows):
        return
    # Lengths are known only in total, so each caller counts by its calls.
    weights = np.nan_to_num(point.memo(request_rates).first) + point.memo(edge_growth)
    for service, growth in ((services[row], float(held.ratio[row])) for row in rows):
        assert isinstance(service, Service)  # noqa: S101 - the signal is of services
        preemptions = point.value("preempted", service) - max(0.0, point.level("preempted", service))
        preempts = PREEMPTION_RATE.confidence(preemptions)
        observed = max(
            PRESSURE_KV_CACHE_RATIO.confidence(used := point.value("cache", service)),
            preempts,
            slowdown_confidence(point, service),
            float(is_overloading(point, service)),
        )
        # Fewer running requests also raise the cache per request.
        cache_growth = point.ratio("cache", service)
        used_more = 1.0 if math.isnan(cache_growth) else KV_CACHE_GROWTH.confidence(cache_growth)
        # One long request of a handful is no growth: the scale is how much the mean length of those that run varies.
        # Preemptions prove that the cache is too small for them all the same.
        anomalous = max(preempts, confidence(point.z("held", service), ANOMALOUS_SCALES, 0.5))
        strength = min(REQUEST_LENGTH_GROWTH.confidence(growth), anomalous, used_more, observed)
        if strength < MIN_STRENGTH:
            continue
        client = load_origin(point, service, weights)
        # A full server counts fewer prompts and fewer answers, so their growth is compared.
        longer = "answer" if point.ratio("tokens", service) > point.ratio("prompt", service) else "prompt"
        # Where the load is unknown, the caches of so many replicas hold as many requests as at the baseline.
        load = offered_load(point, service, point.ratio("rate", service)) or OfferedLoad(math.nan, 1 / growth)
        yield Finding(
            service=service,
            cause="kv_cache_pressure",
            suspect=SuspectedCause(client),
            strength=strength,
            severity=max(1.0, growth),
            since=onset(point, "held", service),
            evidence=known_evidence(*(evidence_of(point, name, service) for name in EVIDENCE_SIGNALS)),
            actions=(
                Action(
                    "limit_length", client, requests=longer, effect=of_signal(point, "cache", service, used / growth)
                ),
                *(limit_batch(point, service) if preempts > 0.5 else ()),
                add_replicas(point, service, load),
            ),
        )
