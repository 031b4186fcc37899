"""Replicas that a service needs at its peak, with more traffic, and without a host."""

from __future__ import annotations

import math

from foreshock_dashboard.analysis.capacity.headroom import Headroom
from foreshock_dashboard.model.capacity.replicas import MORE_TRAFFIC_FACTOR, ReplicaNeed


def current_need(peak: float, safe: float, on_one_host: float, *, is_saturated: bool) -> ReplicaNeed:
    """The need at a measured peak.

    Args:
        peak: load in capacities of one replica.
        safe: safe share of a capacity.
        on_one_host: the most replicas on one host.
        is_saturated: replicas were full, so the load may have been higher.
    """
    replicas, more = (needed_replicas(1.0, peak * factor, safe) for factor in (1.0, MORE_TRAFFIC_FACTOR))
    return ReplicaNeed(replicas, more, replicas + _whole(on_one_host), is_saturated)


def forecast_need(row: Headroom, on_one_host: float) -> ReplicaNeed:
    """The need at the forecast peak; where there is a shortage, on its day, as the shortage says."""
    load, short = row.load, row.shortage
    peak = short.peak if short else row.peak.p50
    replicas, more = (needed_replicas(load.replicas, peak * factor, load.safe) for factor in (1.0, MORE_TRAFFIC_FACTOR))
    if short:
        replicas = short.ready + short.replicas
        more = max(more, replicas)
    return ReplicaNeed(replicas, more, replicas + _whole(on_one_host))


def needed_replicas(replicas: float, peak: float, safe: float) -> float:
    """Replicas that carry a peak within their safe limit, at least 1; NaN where unknown.

    peak, safe: load, and safe limit of this number of `replicas`, in one unit.
    """
    needed = replicas * peak / safe if safe > 0 else math.nan
    return float(max(1, _whole(needed))) if math.isfinite(needed) else math.nan


def _whole(replicas: float) -> float:
    """Rounded up, but for errors of floating point."""
    return math.ceil(replicas - 1e-9) if math.isfinite(replicas) else math.nan
