"""Requests became longer, and a language model's KV cache holds fewer of them at once.

The cache holds prompt and answer of every request that runs (Kwon et al., *PagedAttention*, SOSP 2023): cache in use
over requests running is how long they are. It moves with the first longer prompts, before anything waits, whereas
tokens per request that *finished* tell of it one answer later. When the cache is full, requests wait or are preempted,
which is work done twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.baseline.retry_amplification import RequestRates, request_rates
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME
from foreshock_dashboard.analysis.detectors.demand import edge_growth, load_origin
from foreshock_dashboard.analysis.detectors.evidence import evidence_of, onset, slowdown_confidence
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.remediation.effect import improvement
from foreshock_dashboard.analysis.saturation.overload import is_overloading
from foreshock_dashboard.model.action import Action, Effect
from foreshock_dashboard.model.incident import Culprit, Evidence
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.threshold import Threshold

REQUEST_LENGTH_GROWTH = Threshold(1.25, 0.05)
"""Times as much cache per request as usual that is as likely growth as not, and the width of the doubt: over a minute
it scatters by 4…9 % of itself, and drifts by as much again over the hours of a day."""
FULL_KV_CACHE = Threshold(0.65, 0.07)
"""KV cache in use from which bursts fill it up, and the width of the doubt."""
PREEMPTION_RATE = Threshold(0.05, 0.02)
"""Preemptions per second that tell of a full cache, and the width of the doubt."""


def kv_cache_pressure(scan: Scan) -> tuple[Finding, ...]:
    """Language models whose cache fills up because requests are longer than usual."""
    held = scan["held"]
    keys = list(held.keys)
    rows = np.flatnonzero(held.ratio > REQUEST_LENGTH_GROWTH.midpoint - 2 * REQUEST_LENGTH_GROWTH.width)
    if not len(rows):
        return ()
    load = request_rates(scan)
    weights = edge_growth(scan, load)
    found = []
    for row in rows:
        service = keys[row]
        assert isinstance(service, Service)  # noqa: S101 - the signal is of services
        felt = max(
            cache_pressure(scan, service), slowdown_confidence(scan, service), float(is_overloading(scan, service))
        )
        strength = min(REQUEST_LENGTH_GROWTH.confidence(float(held.ratio[row])), felt)
        if strength < 0.1:
            continue
        who = load_origin(scan, service, _by_calls(load, weights)).service
        found.append(
            Finding(
                service=service,
                cause="memory pressure",
                culprit=Culprit(who),
                strength=strength,
                severity=max(1.0, float(held.ratio[row])),
                since=onset(scan, "held", service),
                evidence=_evidence(scan, service),
                action=Action(
                    "limit_length",
                    who,
                    requests=_longer(scan, service),
                    effect=_effect(scan, service, float(held.ratio[row])),
                    alternatives=(Action("add_kv_cache", service),),
                ),
            )
        )
    return tuple(found)


def _longer(scan: Scan, service: Service) -> str:
    """What of the requests became longer: a server that is full counts fewer of either, so they are compared."""
    prompts, answers = scan.ratio("prompt", service), scan.ratio("tokens", service)
    return "answer" if answers > prompts else "prompt"


def _effect(scan: Scan, service: Service, longer: float) -> Effect | None:
    """The effect of requests of their baseline length on the KV cache in use."""
    used = scan.value("cache", service)
    return improvement(SIGNAL_BY_NAME["cache"].text, service, "ratio", used, used / longer, "usual_length")


def cache_pressure(scan: Scan, service: Service) -> float:
    """How sure it is that a model server's KV cache is short, 0…1: nearly full, or requests are preempted."""
    return max(
        FULL_KV_CACHE.confidence(scan.value("cache", service)),
        PREEMPTION_RATE.confidence(scan.value("preempted", service) - max(0.0, scan.level("preempted", service))),
    )


def _by_calls(load: RequestRates, weights: Floats) -> Floats:
    """Who makes most of the calls: of length there are only totals, so growth of number counts where there is any."""
    calls: Floats = np.nan_to_num(load.first) + weights
    return calls


def _evidence(scan: Scan, service: Service) -> tuple[Evidence, ...]:
    names: Sequence[str] = ("held", "cache", "preempted", "waiting", "prompt", "generated")
    return tuple(evidence_of(scan, name, service) for name in names if math.isfinite(scan.value(name, service)))
