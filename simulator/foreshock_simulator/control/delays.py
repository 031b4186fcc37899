"""How long capacity takes to come: distributions fitted to what was measured."""

from __future__ import annotations

import math
import random

PROVISIONING_SPREAD = 0.279
"""Of the logarithm of a node's provisioning: with a median of 380 s, nine in ten then take 4 to 10 minutes, the range
that is reported of autoscalers' GPU nodes: ln(600 / 240) / (2 · 1.645)."""
COLD_START_SHAPE = 2.185
"""Weibull shape of loading a model on a warm host: least squares, in logarithms, to p90 and p99 relative to p50 of a
production image-generation service in 2026 (22.7, 42.0, 51.8 s). It gives 39.3 and 54.0 s. A log-normal cannot follow a
tail that light: fitted to p90 it has 70 s at p99."""


def provisioning(rng: random.Random, median: float) -> float:
    """Seconds from asking for a GPU to having its node: log-normal."""
    return median * math.exp(rng.gauss(0.0, PROVISIONING_SPREAD))


def cold_start(rng: random.Random, median: float) -> float:
    """Seconds from a replica's start on a node to its first request: Weibull about the median."""
    return rng.weibullvariate(median / math.log(2.0) ** (1.0 / COLD_START_SHAPE), COLD_START_SHAPE)
