"""Counters and gauges at grid points: which series are counters, their increases, sums of these, and smoothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreshock_dashboard.analysis.root_cause.parameters import MIN_BASELINE_POINTS
from foreshock_dashboard.analysis.root_cause.series_owner import replica_key
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats

COUNTER_SUFFIXES = ("_total", "_bucket")
AMBIGUOUS_SUFFIXES = ("_count", "_sum")
"""Suffixes of counters and of OpenTelemetry's UpDownCounters, such as `jvm_thread_count`."""
MAX_RESET_RATIO = 0.1
"""Falls of a counter over its increases, up to which they are resets."""
ROUNDING_RATIO = 1e-9
"""Growth of a counter over its value, up to which it is a rounding error."""


def is_counter(metric: str, past: Floats) -> bool:
    """Whether a metric is a counter, by its name or because it almost only increased in the past.

    An ambiguous name needs few increases.
    """
    if metric.endswith(COUNTER_SUFFIXES):
        return True
    steps = np.diff(past, axis=1)
    steps = steps[np.isfinite(steps)]
    if metric.endswith(AMBIGUOUS_SUFFIXES):
        rises, falls = int((steps > 0).sum()), int((steps < 0).sum())
        return rises >= MIN_BASELINE_POINTS and falls <= MAX_RESET_RATIO * rises
    return steps.size >= MIN_BASELINE_POINTS and float((steps > 0).mean()) >= 0.5 and float((steps < 0).mean()) <= 0.01


def increases(values: Floats, labels: Sequence[Labels] = ()) -> Floats:
    """Increase of a counter from point to point, same shape; its value after a reset, NaN at the first point.

    A counter that appears late on a replica with a history counts a kind of event that had not occurred before: it
    starts at 0.
    """
    steps = np.full_like(values, np.nan)
    steps[:, 1:] = np.diff(values, axis=1)
    steps[np.abs(steps) < ROUNDING_RATIO * (1.0 + np.abs(values))] = 0.0
    steps = np.where(steps < 0, values, steps)
    known = np.isfinite(values)
    begins = np.where(known.any(axis=1), known.argmax(axis=1), values.shape[1])
    if len(labels) == len(values) and len(values):
        replicas = [replica_key(dict(pairs)) for pairs in labels]
        earliest: dict[tuple[str, ...], int] = {}
        for replica, begin in zip(replicas, begins.tolist(), strict=True):
            earliest[replica] = min(begin, earliest.get(replica, begin))
        for row, (replica, begin) in enumerate(zip(replicas, begins.tolist(), strict=True)):
            if earliest[replica] + MIN_BASELINE_POINTS <= begin < values.shape[1]:
                steps[row, earliest[replica] + 1 : begin] = 0.0
                steps[row, begin] = values[row, begin]
    return steps


def window_sums(values: Floats, points: int) -> Floats:
    """Sum of each point and the `points` - 1 before it, along the last axis; NaN only where all are."""
    if points <= 1:
        return values
    known = np.isfinite(values)
    sums, counts = np.cumsum(np.where(known, values, 0.0), axis=-1), np.cumsum(known, axis=-1)
    sums[..., points:] -= sums[..., :-points].copy()
    counts[..., points:] -= counts[..., :-points].copy()
    return np.where(counts > 0, sums, np.nan)


def smoothed(values: Floats) -> Floats:
    """Median of each point and the two before it; a missing point counts as the point itself."""
    before, earlier = values.copy(), values.copy()
    before[:, 1:] = np.where(np.isnan(values[:, :-1]), values[:, 1:], values[:, :-1])
    earlier[:, 2:] = np.where(np.isnan(values[:, :-2]), values[:, 2:], values[:, :-2])
    low, high = np.minimum(values, before), np.maximum(values, before)
    return np.maximum(low, np.minimum(high, earlier))
