"""Share of requests that take longer than a limit, read off between known quantiles of their latency."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.model.types import Floats

QUANTILE_SHARES = (0.5, 0.05, 0.01)
"""Shares of requests that take longer than p50, p95, and p99."""


def late_share(limit: Floats | float, p50: Floats, p95: Floats, p99: Floats) -> Floats:
    """Share of requests slower than `limit` seconds, linear between logarithms of share and latency.

    0 beyond p99, and below p50 in proportion to it. Between p50 and p95 at least the share that the density of requests
    between p95 and p99 gives: requests that end at one timeout, or beyond the last bucket of a histogram, are up to one
    half although p50 is short. Without a p50 it is taken as half of p95, and the share is at most one half; without a
    p99, nothing is known below p95. NaN without a p95 or a limit above 0.
    """
    middle, late, tail, limits = (np.asarray(values, np.float64) for values in (p50, p95, p99, limit))
    half, twentieth, last = QUANTILE_SHARES
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        short = np.where(np.isnan(middle), late / 2, middle)
        body = twentieth * (half / twentieth) ** (np.log(late / limits) / np.log(late / short))
        dense = twentieth + (twentieth - last) * (late - limits) / np.maximum(tail - late, 0.0)
        above = np.where(middle > limits, 1 - half * limits / middle, np.minimum(np.fmax(body, dense), half))
        from_late = (np.log(limits) - np.log(late)) / (np.log(tail) - np.log(late))  # a quotient may overflow
        below = np.where(late > 0, twentieth * (last / twentieth) ** from_late, last)
        below = np.where(tail >= limits, np.where(tail > late, below, twentieth), 0.0)
        share = np.where(late > limits, above, below)
    return np.asarray(np.where(np.isnan(late) | ~(limits > 0), np.nan, share))
