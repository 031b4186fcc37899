"""Sampling noise of an estimated p95.

If about 5% of requests are slow (cache misses), the estimated p95 jumps between the fast and the slow mode by chance.
It is noise where the lower confidence bound of the p95 is not above the baseline, and where the p95 stays within the
normal range of the slow requests. More slow requests, or slower ones, are not noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.levels import Baselines
from foreshock_dashboard.analysis.baseline.signals import Signal, transformed
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World

TAIL_SHIFT_SCALES = 2.0
"""Scales above the normal p99 at which the slow requests themselves have become slower."""


def is_sampling_noise(
    base: Baselines, signal: Signal, world: World, rows: slice, values: Floats, lower_bound: Floats
) -> NDArray[np.bool_]:
    """Where estimates may exceed the baseline by chance; False without a known tail.

    `values` and their `lower_bound` are in the signal's unit, shape (rows, points); so is the result.
    """
    keys = signal.keys(world)
    level, _ = base.of(signal.name).of(keys)[rows].T[:, :, None]
    tail, scale = base.of(signal.tail).of(keys)[rows].T[:, :, None]
    estimate = transformed(signal, values)
    with np.errstate(invalid="ignore"):
        noise: NDArray[np.bool_] = (
            (estimate > level)
            & (transformed(signal, lower_bound) <= level)
            & (estimate <= tail + TAIL_SHIFT_SCALES * scale)
        )
    return noise
