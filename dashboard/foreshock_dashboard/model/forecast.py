"""Forecast of every service, with or without an incident: for autoscalers, gateways, and dashboards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from foreshock_dashboard.model.batching_law import BatchingLaw
from foreshock_dashboard.model.service import Service


class Risk(NamedTuple):
    """Risk of an SLO breach.

    chance: probability, 0 to 1, within the next ten minutes. p20, p50, p80: quantiles of the seconds until the breach;
    0 in breach, infinite beyond the forecast horizon.
    """

    service: Service
    chance: float
    p20: float
    p50: float
    p80: float


class Load(NamedTuple):
    """Load of a service against its capacity.

    pool: GPU pool, "" without one. ratio: offered load over the capacity of the ready replicas. safe: safe limit of
    the ratio, at which bursts of the service do no harm; NaN where unknown. law: the batching law behind the ratio,
    learned from healthy operation; None where not available.
    """

    service: Service
    pool: str
    ratio: float
    safe: float
    law: BatchingLaw | None = None


class RetryAmplification(NamedTuple):
    """Attempts per call on an edge: 1 without retries."""

    client: Service
    server: Service
    ratio: float


class Imbalance(NamedTuple):
    """Load imbalance of a service: the busiest replica over the mean; 1 is even."""

    service: Service
    ratio: float


class GpuWait(NamedTuple):
    """Share of GPU time, 0 to 1, that a victim waits on an aggressor; mean over the GPUs they share."""

    victim: Service
    aggressor: Service
    pool: str
    ratio: float


class ServiceSlo(NamedTuple):
    """SLO targets of a service: p95 in seconds, and the error rate as a share of requests, 0 to 1.

    learned: derived from the baseline because none is configured.
    """

    service: Service
    seconds: float
    failed: float
    learned: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """Forecast at one instant. Unknown values are left out, never 0."""

    risks: tuple[Risk, ...] = ()
    loads: tuple[Load, ...] = ()
    amplification: tuple[RetryAmplification, ...] = ()
    imbalance: tuple[Imbalance, ...] = ()
    stalled: tuple[GpuWait, ...] = ()
    slos: tuple[ServiceSlo, ...] = ()
