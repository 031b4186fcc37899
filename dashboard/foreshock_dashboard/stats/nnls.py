"""Non-negative ridge regression."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.model.types import Bools, Floats

RIDGE_RATIO = 0.05
"""Penalty of a weight relative to the mean square of the columns: correlated columns share the weight."""
NEGLIGIBLE_GRADIENT_RATIO = 1e-9
"""Gradient relative to the largest below which a weight of 0 is optimal."""


def nonnegative_weights(y: Floats, columns: Floats, ridge: float = RIDGE_RATIO, prior: Floats | float = 0.0) -> Floats:
    """argmin over b ≥ 0 of ‖y − U·b‖² + λ‖b − s‖², by active sets (Lawson and Hanson 1974, chapter 23).

    λ is `ridge` times the mean square of the columns, so the order of the columns does not matter.

    Args:
        y: shape (times,). Times with a NaN in `y` or `columns` are left out; without any left the weights are 0.
        columns: U, shape (times, n).
        ridge: penalty relative to the columns.
        prior: s, shape (n,), the weights assumed where the data do not determine them.

    Returns:
        b, shape (n,).
    """
    complete = np.isfinite(y) & np.isfinite(columns).all(axis=1)
    u, target = columns[complete], y[complete]
    gram, right = u.T @ u, u.T @ target
    penalty = ridge * np.trace(gram) / max(1, len(gram))
    gram[np.diag_indices_from(gram)] += penalty
    right = right + penalty * prior
    weights = np.zeros(len(right))
    tolerance = NEGLIGIBLE_GRADIENT_RATIO * np.abs(right).max(initial=0.0)
    free = np.zeros(len(right), np.bool_)
    for _ in range(3 * len(right)):
        gradient = np.where(free, -np.inf, right - gram @ weights)
        if not gradient.max(initial=-np.inf) > tolerance:
            break
        free |= gradient >= gradient.max() - tolerance
        weights = _restricted(gram, right, weights, free)
    return weights


def _restricted(gram: Floats, right: Floats, weights: Floats, free: Bools) -> Floats:
    """Optimal weights of the `free` columns; those that would become negative are fixed at 0 and leave `free`."""
    for _ in range(len(right)):  # every round fixes at least one
        best = np.zeros(len(right))
        best[free] = np.linalg.solve(gram[np.ix_(free, free)], right[free])
        negative = free & ~(best > 0)
        if not negative.any():
            return best
        steps = np.divide(weights, weights - best, out=np.zeros(len(right)), where=negative & (weights > 0))
        step = steps[negative].min()
        weights = weights + step * (best - weights)
        free &= ~(negative & (steps <= step))
        weights[~free] = 0.0
    return np.zeros(len(right))
