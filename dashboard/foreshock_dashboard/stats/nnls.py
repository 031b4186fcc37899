"""Least squares without negative weights: how much of one series others explain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.types import Floats

RIDGE = 0.05
"""Penalty of a weight, relative to the mean square of the columns: two that move alike are both believed a little."""
NOTHING = 1e-9
"""Gradient, relative to the largest, below which a weight of 0 is the best one."""


def weights(y: Floats, columns: Floats, ridge: float = RIDGE, supposed: Floats | float = 0.0) -> Floats:
    """argmin over b ≥ 0 of ‖y − U·b‖² + λ‖b − s‖², by active sets (Lawson and Hanson 1974, chapter 23).

    y: shape (times,). columns: U, shape (times, n). supposed: s, shape (n,), what is believed where the data do not
    tell. Times at which anything is NaN are left out; without any left the weights are 0. λ is `ridge` times the mean
    of the columns' squares, so the order of columns changes nothing.
    """
    whole = np.isfinite(y) & np.isfinite(columns).all(axis=1)
    u, target = columns[whole], y[whole]
    gram, right = u.T @ u, u.T @ target
    penalty = ridge * np.trace(gram) / max(1, len(gram))
    gram[np.diag_indices_from(gram)] += penalty
    right = right + penalty * supposed
    found = np.zeros(len(right))
    least = NOTHING * np.abs(right).max(initial=0.0)
    free = np.zeros(len(right), np.bool_)
    for _ in range(3 * len(right)):
        gradient = np.where(free, -np.inf, right - gram @ found)
        if not gradient.max(initial=-np.inf) > least:
            break
        free |= gradient >= gradient.max() - least
        found = _inside(gram, right, found, free)
    return found


def _inside(gram: Floats, right: Floats, found: Floats, free: NDArray[np.bool_]) -> Floats:
    """The best weights of those that are `free`, of which those that come to be 0 or less are set to 0, and bound."""
    for _ in range(len(right)):  # each time at least one is bound
        best = np.zeros(len(right))
        best[free] = np.linalg.solve(gram[np.ix_(free, free)], right[free])
        wrong = free & ~(best > 0)
        if not wrong.any():
            return best
        steps = np.divide(found, found - best, out=np.zeros(len(right)), where=wrong & (found > 0))
        step = steps[wrong].min()
        found = found + step * (best - found)
        free &= ~(wrong & (steps <= step))
        found[~free] = 0.0
    return np.zeros(len(right))
