"""How far signals deviated in past windows as long as the present one: "was this reached before?"

Most signals have bursts that no distribution predicts, and among hundreds of them one always bursts. What a signal, or
any signal of the same metric, reaches in one of ten windows is no anomaly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from foreshock_dashboard.analysis.root_cause import parameters as use
from foreshock_dashboard.analysis.root_cause.signal_rows import SignalRow
from foreshock_dashboard.model.types import Floats


def past_factors(rows: Sequence[SignalRow], deviation: Floats, scale: Floats, step: float) -> Floats:
    """Factors, at least 1, by which the scales of signals of one kind have to grow; 1 for a short past.

    Args:
        rows: the signals.
        deviation: from the level, shape (rows, past times), NaN where unknown.
        scale: downwards and upwards, shape (rows, 2).
        step: seconds between times.
    """
    points = max(1, round(use.SUSTAINED.at(step) / step))
    length = max(points, round((use.BEFORE.at(step) + use.LATE.at(step)) / step))
    factors = np.ones_like(scale)
    if deviation.shape[1] < length:
        return factors
    families = defaultdict[tuple[str, str], list[int]](list)
    for i, row in enumerate(rows):
        if row.kind in use.GATE_WEIGHTS:
            families[row.metric, row.statistic].append(i)
    for side, sign in enumerate((-1.0, 1.0)):
        z = sustained(sign * deviation / scale[:, side : side + 1], points)
        windows = sliding_window_view(np.where(np.isfinite(z), z, -np.inf), length, axis=1)
        peaks = windows[:, :: max(1, length // 2)].max(axis=2)
        own = np.maximum(1.0, _often_reached(peaks) / use.ORDINARY_Z)
        for members in families.values():
            largest = (peaks[members] / own[members, None]).max(axis=0, keepdims=True)
            own[members] *= max(1.0, float(_often_reached(largest)[0]) / use.ORDINARY_Z)
        factors[:, side] = own
    return factors


def _often_reached(peaks: Floats) -> Floats:
    """What each row reaches in `1 - PAST_QUANTILE` of its windows with values; 0 with too few of those."""
    ordered = np.sort(peaks, axis=1)
    known = np.isfinite(ordered).sum(axis=1)
    rank = ordered.shape[1] - 1 - np.floor((1 - use.PAST_QUANTILE) * known + 1e-9).astype(np.intp)  # 0.1 in binary
    reached = ordered[np.arange(len(ordered)), np.maximum(rank, 0)]
    return np.where(known >= use.MIN_PAST_WINDOWS, reached, 0.0)


def sustained(values: Floats, points: int) -> Floats:
    """Minimum over each point and the `points` - 1 after it; missing points are skipped."""
    minimum = values.copy()
    for offset in range(1, min(points, values.shape[1])):
        later = np.full_like(values, np.nan)
        later[:, : values.shape[1] - offset] = values[:, offset:]
        minimum = np.where(np.isnan(later), minimum, np.minimum(minimum, later))
    return minimum
