"""Safe limits of the load of model servers, and whether they are or will be overloaded."""

from __future__ import annotations

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.replicas import LOST_REPLICAS_RATIO, lost
from foreshock_dashboard.model.forecast import Utilization
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import SafeLimitBasis

SAFE_LIMITS = (0.87, 0.76, 0.72)
"""Safe limits of the mean load over each of `batching_model.LOAD_WINDOWS_SECONDS`. A longer mean hides more bursts
(ρ_max = 1 / (1 + z · √(IDC(w) / λw)), Gusella 1991 on the index of dispersion IDC)."""
SAFE_PEAK_FACTORS = (1.1, 1.0, 0.9)
"""Safe limits relative to the service's own peak load: a service that is always bursty carries its bursts."""
BURSTY_PEAK_RATIO = 2.5
"""Peak over normal load at which a service counts as bursty, so that a burst ends by itself."""
BURSTY_LIMIT_FACTOR = 1.2
"""Factor on the safe limits of a bursty service."""
SHOWN_LIMIT = 1
"""Index of the safe limit that is shown beside the current load: that of the mean of two minutes."""
MIN_LOAD_INCREASE = 0.1
"""Smallest load above the normal load that counts as more."""
MIN_FULL_SECONDS = 20.0
"""Shortest time of full KV caches that is no burst."""
MIN_FULL_LOAD = 0.82
"""Current load at which full KV caches mean many requests, not a few large ones."""
MIN_GROWING_LOAD = 0.7
"""Mean load of two minutes from which growth is extrapolated."""
MIN_PREDICTED_LOAD = 0.8
"""Extrapolated load that counts as a coming overload, by the line through the means of two and five minutes."""
LASTING_GROWTH_RATIOS = (1.2, 1.25, 1.2)
"""Ratios to the baseline of tokens, KV cache per request, and time per token that explain lasting growth. Without
one of them growth is a burst, which ends by itself."""


def is_overloading(point: EvaluationPoint, service: Service) -> bool:
    """Whether the model servers of a service are or soon will be overloaded; False without any."""
    utilization = point.utilizations.get(service)
    return utilization is not None and (
        is_overloaded(utilization) or (will_overload(utilization) and has_lasting_reason(point, service, utilization))
    )


def is_overloaded(utilization: Utilization) -> bool:
    """Whether model servers are overloaded, or have had full KV caches for a while.

    An overload that the mean of two minutes no longer shows is over, even if the mean of five minutes still does.
    """
    bursty, loads = _bursty(utilization.baseline, utilization.peak), utilization.loads
    min_raised_load = utilization.baseline + MIN_LOAD_INCREASE
    lowest_loads = (*loads[:2], min(loads[1:]))  # the mean of five minutes counts only with that of two
    exceeds = [
        load >= limit and lowest >= min_raised_load
        for load, lowest, limit in zip(loads, lowest_loads, safe_limits(utilization), strict=True)
    ]
    factor = BURSTY_LIMIT_FACTOR if bursty else 1.0
    full_cache_load = max(factor * MIN_FULL_LOAD, SAFE_PEAK_FACTORS[0] * utilization.peak)
    caches_full = (
        utilization.full >= MIN_FULL_SECONDS
        and utilization.load >= full_cache_load
        and not min_raised_load > utilization.load
    )
    return any(exceeds[1:] if bursty else exceeds) or caches_full


def safe_limits(utilization: Utilization) -> tuple[float, ...]:
    """Safe limits of the mean load over each of `batching_model.LOAD_WINDOWS_SECONDS`; NaN where the law is unknown.

    They come from the batching law, which is not relearned during an incident, so they do not move then.
    """
    return tuple(_limit(utilization.baseline, utilization.peak, i)[0] for i in range(len(SAFE_LIMITS)))


def safe_limit(utilization: Utilization) -> float:
    """The safe limit that is shown: the current load of a healthy service stays below it."""
    return safe_limits(utilization)[SHOWN_LIMIT]


def exceeds_safe_limit(utilization: Utilization) -> bool:
    """Whether the load of this moment exceeds the safe limit."""
    return utilization.loads[0] >= SAFE_LIMITS[0]


def will_overload(utilization: Utilization) -> bool:
    """Whether growing load will exceed the safe limit before its means show it.

    Bursty services are excluded, because their bursts end by themselves.
    """
    newer, predicted = utilization.loads[1], predicted_load(utilization)
    grows = newer >= max(MIN_GROWING_LOAD, utilization.baseline + MIN_LOAD_INCREASE) and predicted >= max(
        MIN_PREDICTED_LOAD, SAFE_PEAK_FACTORS[1] * utilization.peak
    )
    return grows and not _bursty(utilization.baseline, utilization.peak)


def predicted_load(utilization: Utilization) -> float:
    """Load 30 s ahead.

    The middles of the means of two and five minutes are 60 s and 150 s ago. The line through them is read 30 s ahead,
    where it exceeds the newer mean by as much as that exceeds the older one.
    """
    _, newer, older = utilization.loads
    return newer + max(0.0, newer - older)


def has_lasting_reason(point: EvaluationPoint, service: Service, utilization: Utilization) -> bool:
    """Whether growing load has a lasting reason: more tokens, larger or slower requests, or lost replicas."""
    ratios = (point.ratio("tokens", service), point.ratio("held", service), utilization.slowdown)
    return (
        any(ratio >= threshold for ratio, threshold in zip(ratios, LASTING_GROWTH_RATIOS, strict=True))
        or lost(point, service) >= LOST_REPLICAS_RATIO.midpoint
    )


def safe_limit_basis(baseline: float, peak: float) -> SafeLimitBasis:
    """What the safe limit that is shown rests on. baseline, peak: loads of the batching law."""
    return _limit(baseline, peak, SHOWN_LIMIT)[1]


def _limit(baseline: float, peak: float, window: int) -> tuple[float, SafeLimitBasis]:
    """The safe limit of a mean, NaN for an unknown peak, and what it rests on. window: index of `SAFE_LIMITS`."""
    bursty = _bursty(baseline, peak)
    limit = SAFE_LIMITS[window] * (BURSTY_LIMIT_FACTOR if bursty else 1.0)
    of_peak = SAFE_PEAK_FACTORS[window] * peak
    if not of_peak <= limit:
        return of_peak, "peak"
    return limit, "bursts" if bursty else "capacity"


def _bursty(baseline: float, peak: float) -> bool:
    return peak >= BURSTY_PEAK_RATIO * baseline
