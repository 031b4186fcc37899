"""From a signal to a figure of evidence, and from figures to how sure they make one."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.analysis.baseline.gpu_shares import GpuShares
from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME, Key
from foreshock_dashboard.model.incident import Evidence
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge, Gpu, Stall, Tenant
from foreshock_dashboard.stats.cusum import change_point
from foreshock_dashboard.stats.threshold import Threshold, confidence

EXTREME_Z = 4.0
"""Scales from which an excursion is as likely something as noise: a Gaussian is beyond it once in 30,000 points."""
LOST_GPU_TIME = Threshold(0.15, 0.04)
"""Share of its GPU time that a service lost, from which others are as likely the cause; width of the doubt."""
TOKEN_SLOWDOWN = Threshold(1.3, 0.05)
"""Times the seconds per token that a model server's load explains, from which it is as likely slow by something else as
not; width of the doubt."""
WORSE_Z = 3.0
"""Scales from which a service that others blame counts as suffering: one series is asked, not all of them."""


def entity(key: Key) -> str:
    """What a figure is of, as people write it."""
    if isinstance(key, Edge):
        return f"{key.client} -> {key.server}"
    if isinstance(key, Gpu):
        return key.label
    if isinstance(key, Tenant):
        return f"{key.service} on {key.gpu.label}"
    if isinstance(key, Stall):
        return f"{key.victim} by {key.aggressor} on {key.gpu.label}"
    return str(key)


def evidence_of(scan: Scan, name: str, key: Key) -> Evidence:
    """The signal of one thing as evidence."""
    signal = SIGNAL_BY_NAME[name]
    return Evidence(
        name=signal.text,
        value=scan.value(name, key),
        baseline=scan.level(name, key),
        unit=signal.unit,
        since=scan.since(name, key),
        entity=entity(key),
    )


def onset(scan: Scan, name: str, key: Key, seconds: float = 3600.0) -> float:
    """Unix seconds at which a slow excursion of a signal began: where a CUSUM of it left zero; now if it is in none."""
    history = scan.history(name, key, seconds)
    level, scale = scan.level_and_scale(name, key)
    first = change_point((history - level) / scale * (SIGNAL_BY_NAME[name].worse or 1))
    return scan.time - max(0, len(history) - 1 - first) * scan.world.step


def degradation(scan: Scan, service: Key) -> float:
    """How sure it is that a service is worse than usual to those who call it, 0…1: slower, failing, or piling up."""
    return max(
        confidence(scan.z(name, service), WORSE_Z, 0.5)
        for name in ("p95", "failed", "flight", "first_token", "waiting")
    )


def slowdown_confidence(scan: Scan, service: Key) -> float:
    """How sure it is that requests of a service wait or take longer than usual, 0…1, as an overload makes them."""
    return max(confidence(scan.z(name, service), EXTREME_Z, 0.7) for name in ("p95", "first_token", "waiting"))


def lost_gpu_time(scan: Scan, service: Service) -> float:
    """How sure it is that others took GPU time from a service, 0…1; 0 where it has no GPUs."""
    rows = scan.tenant_rows.get(service)
    if not rows:
        return 0.0
    sharing = scan.memo(GpuShares)
    now, usually = sharing.now[rows], sharing.usual[rows]
    told = np.isfinite(scan["busy"].value[rows]) & np.isfinite(now) & np.isfinite(usually)  # who left was not robbed
    usual = float(usually[told].sum())
    return LOST_GPU_TIME.confidence(1 - float(now[told].sum()) / usual) if usual > 0 else 0.0


def slow_tokens(scan: Scan, service: Service) -> float:
    """How sure it is that a service's model servers take longer per token than their load explains, 0…1."""
    strain = scan.utilizations.get(service)
    return min(confidence(strain.z, EXTREME_Z, 0.7), TOKEN_SLOWDOWN.confidence(strain.slowdown)) if strain else 0.0


def token_slowdown(scan: Scan, service: Service) -> float:
    """Seconds per token of a service's model servers over what their load explains; NaN where it is not known."""
    strain = scan.utilizations.get(service)
    return strain.slowdown if strain else math.nan
