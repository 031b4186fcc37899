"""All detectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.client_timeout import client_timeout
from foreshock_dashboard.analysis.detectors.dependency import dependency
from foreshock_dashboard.analysis.detectors.finding import Finding, counted
from foreshock_dashboard.analysis.detectors.gpu_contention import gpu_contention
from foreshock_dashboard.analysis.detectors.hardware import hardware
from foreshock_dashboard.analysis.detectors.kv_cache_pressure import kv_cache_pressure
from foreshock_dashboard.analysis.detectors.load_imbalance import load_imbalance
from foreshock_dashboard.analysis.detectors.model_swapping import model_swapping
from foreshock_dashboard.analysis.detectors.network import network
from foreshock_dashboard.analysis.detectors.outage import outage
from foreshock_dashboard.analysis.detectors.overload import overload
from foreshock_dashboard.analysis.detectors.retry_storm import retry_storm
from foreshock_dashboard.analysis.detectors.scale_up_lag import scale_up_lag

Detector = Callable[[EvaluationPoint], Iterable[Finding]]

DETECTORS: tuple[Detector, ...] = (
    gpu_contention,
    model_swapping,
    network,
    outage,
    hardware,
    kv_cache_pressure,
    scale_up_lag,
    retry_storm,
    client_timeout,
    dependency,
    load_imbalance,
    overload,
)


def findings(point: EvaluationPoint) -> tuple[Finding, ...]:
    """The findings of all detectors, the strongest first; none is firm that rests on a handful of requests."""
    every = (counted(point, finding) for detect in DETECTORS for finding in detect(point))
    return tuple(sorted(every, key=lambda finding: (-finding.strength, finding.cause, finding.service)))
