"""Forecast of every service, with or without an incident, and the batching law behind the load of model servers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats


@dataclass(frozen=True, slots=True)
class BatchingLaw:
    """Seconds per token = `base` + `per_sequence` · sequences per replica. `scale`: scale of the residual's logarithm.

    load: normal offered load over the throughput of a full replica, 0 to 1. peak: its 99th percentile.
    """

    base: float
    per_sequence: float
    scale: float
    load: float
    peak: float

    def seconds(self, sequences: Floats) -> Floats:
        """Seconds per token with this many concurrent sequences."""
        return self.base + self.per_sequence * sequences

    def seconds_at(self, load: float, max_sequences: float) -> float:
        """Seconds per token at an offered load below 1; the inverse of `offered_load`, up to `max_sequences`."""
        throughput = load * max_sequences / (self.base + self.per_sequence * max_sequences)
        return self.base / (1 - self.per_sequence * throughput)

    def offered_load(self, sequences: Floats, max_sequences: float) -> Floats:
        """Offered load of `sequences` concurrent sequences over the throughput of a full replica.

        X(n) / X(m) with X(n) = n / (a + b·n) tokens per second: by Little's law, n sequences are in service at an
        offered load of X(n). m = `max_sequences`, sequences per replica at a full KV cache; beyond it, at least n / m.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            full_throughput = max_sequences / self.seconds(np.asarray(max_sequences))
            served = sequences / self.seconds(sequences) / full_throughput
            return np.asarray(
                np.where(sequences > max_sequences, np.maximum(served, sequences / max_sequences), served)
            )


@dataclass(frozen=True, slots=True)
class Utilization:
    """Utilization of a service's model servers at one instant; NaN where unknown.

    slowdown: time per token over the value that the load explains; z: the same in scales. cache: KV-cache usage, 0 to
    1, mean over replicas and a minute. full: seconds for which the KV cache has been nearly full. max_sequences:
    sequences per replica at a full KV cache. load: current offered load over the throughput of full servers, above 1 if
    requests wait; loads: means over the windows of `batching_model`, the shortest first. baseline, peak: as in
    the law; law: None where unknown.
    """

    slowdown: float
    z: float
    cache: float
    full: float
    max_sequences: float
    load: float
    loads: tuple[float, ...]
    baseline: float
    peak: float
    law: BatchingLaw | None = None


class Risk(NamedTuple):
    """Risk of an SLO breach.

    probability: 0 to 1, of a breach within ten minutes. p10 to p90: quantiles of the seconds until the breach; 0 in
    breach, infinite beyond the forecast horizon.
    """

    service: Service
    probability: float
    p10: float
    p20: float
    p50: float
    p80: float
    p90: float


class Load(NamedTuple):
    """Load of a service against its capacity.

    pool: GPU pool, "" without one. ratio: offered load over the capacity of the ready replicas. safe: safe limit of
    the ratio, above which the analysis finds an overload; constant during an incident, NaN where unknown. law: the
    batching law behind the ratio, learned from healthy operation; None where not available.
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
    """Share of GPU time, 0 to 1, that a service waits on a noisy neighbor; mean over the GPUs they share."""

    affected: Service
    noisy_neighbor: Service
    pool: str
    ratio: float


class ServiceSlo(NamedTuple):
    """SLO targets of a service: p95 in seconds, and the error rate as a share of requests, 0 to 1.

    learned: derived from the baseline because none is configured. baseline_seconds, baseline_error_rate: the baseline;
    NaN of a configured one.
    """

    service: Service
    seconds: float
    error_rate: float
    learned: bool
    baseline_seconds: float = math.nan
    baseline_error_rate: float = math.nan


@dataclass(frozen=True, slots=True)
class Forecast:
    """Forecast at one instant. Unknown values are left out, never 0."""

    risks: tuple[Risk, ...] = ()
    loads: tuple[Load, ...] = ()
    amplification: tuple[RetryAmplification, ...] = ()
    imbalance: tuple[Imbalance, ...] = ()
    gpu_wait: tuple[GpuWait, ...] = ()
    slos: tuple[ServiceSlo, ...] = ()
