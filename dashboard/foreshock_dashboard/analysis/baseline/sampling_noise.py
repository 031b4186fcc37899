"""An estimate that is above what is usual by the luck of a few requests.

Where a twentieth of all requests takes long, as what no cache holds, the p95 lies among these or not by a few of them,
and no scale tells that before it has happened. It is luck where what the true p95 is hardly below is not above what is
usual, and where it has not left what the long ones usually take: more of them are told of, and longer ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.levels import Usual
from foreshock_dashboard.analysis.baseline.signals import Signal, transformed
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World

LONGER = 2.0
"""Scales above the usual p99 from which the long requests have become longer themselves."""


def by_chance(
    base: Usual, signal: Signal, world: World, rows: slice, values: Floats, least: Floats
) -> NDArray[np.bool_]:
    """Where estimates of some rows may be above what is usual by chance; nowhere where nobody tells of their tails.

    values, least: what is estimated and what that is hardly below, in the signal's unit; shape (rows, points).
    """
    keys = signal.keys(world)
    level, _ = base.of(signal.name).of(keys)[rows].T[:, :, None]
    tail, scale = base.of(signal.tail).of(keys)[rows].T[:, :, None]
    seen = transformed(signal, values)
    with np.errstate(invalid="ignore"):
        found: NDArray[np.bool_] = (
            (seen > level) & (transformed(signal, least) <= level) & (seen <= tail + LONGER * scale)
        )
    return found
