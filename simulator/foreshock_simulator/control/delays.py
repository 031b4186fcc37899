"""Distributions of provisioning and cold start times, fitted to measurements."""

from __future__ import annotations

import math
import random

PROVISIONING_SIGMA = 0.279
"""Sigma of the log-normal provisioning time of a node. With a median of 380 s, 90% take 4 to 10 minutes, the range that
is reported for GPU nodes of autoscalers: ln(600 / 240) / (2 · 1.645)."""
COLD_START_SHAPE = 2.185
"""Weibull shape of the time to load a model on a warm host: least squares, in logarithms, to p90 and p99 relative to
p50 of a production image-generation service in 2026 (22.7, 42.0, 51.8 s). The fit gives 39.3 and 54.0 s. A log-normal
fitted to p90 has too heavy a tail, with 70 s at p99."""


def provisioning_seconds(rng: random.Random, median: float) -> float:
    """Time to provision a node: log-normal about the median."""
    return median * math.exp(rng.gauss(0.0, PROVISIONING_SIGMA))


def cold_start_seconds(rng: random.Random, median: float) -> float:
    """Time from a replica's start on a node to its first request: Weibull about the median."""
    return rng.weibullvariate(median / math.log(2.0) ** (1.0 / COLD_START_SHAPE), COLD_START_SHAPE)
