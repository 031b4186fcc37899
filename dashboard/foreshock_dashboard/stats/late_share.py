"""Share of requests that take longer than a limit, read off between known quantiles of their latency."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.model.types import Floats

QUANTILE_SHARES = (0.5, 0.05, 0.01)
"""Shares of requests that take longer than p50, p95, and p99."""


def late_share(limit: Floats | float, p50: Floats, p95: Floats, p99: Floats) -> Floats:
    """Share of requests slower than `limit` seconds, linear between logarithms of share and latency.

    At most one half, and 0 beyond p99. Without a p50 it is taken as half of p95, where p95 exceeds the limit; without
    a p99, nothing is known below p95. NaN without a p95.
    """
    middle, tail, limits = (np.asarray(values, np.float64) for values in (p50, p99, limit))
    half, late, last = QUANTILE_SHARES
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        middle = np.where(np.isnan(middle), p95 / 2, middle)
        above = np.minimum(late * (half / late) ** (np.log(p95 / limits) / np.log(p95 / middle)), half)
        below = np.where(tail > p95, late * (last / late) ** (np.log(limits / p95) / np.log(tail / p95)), late)
        share = np.where(p95 > limits, np.where(middle >= limits, half, above), np.where(tail >= limits, below, 0.0))
    return np.asarray(np.where(np.isnan(p95), np.nan, share))
