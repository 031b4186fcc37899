"""Least squares without negative weights: how much of one series others explain."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.model.query import Floats

RIDGE = 0.05
"""Penalty of a weight, relative to the mean square of the columns: two that move alike are both believed a little."""
ROUNDS = 60


def weights(y: Floats, columns: Floats, ridge: float = RIDGE) -> Floats:
    """argmin over b ≥ 0 of ‖y − U·b‖² + λ‖b‖², by coordinate descent (Franc, Hlaváč, Navara, 2005).

    y: shape (times,). columns: U, shape (times, n). Times at which anything is NaN are left out; without any left the
    weights are 0. λ is `ridge` times the mean of the columns' squares.
    """
    whole = np.isfinite(y) & np.isfinite(columns).all(axis=1)
    u, target = columns[whole], y[whole]
    found = np.zeros(columns.shape[1])
    gram = u.T @ u
    gram[np.diag_indices_from(gram)] += ridge * np.trace(gram) / max(1, len(gram))
    gradient = -(u.T @ target)
    for _ in range(ROUNDS):
        for k, curvature in enumerate(np.diagonal(gram)):
            if curvature > 0:
                step = max(0.0, found[k] - gradient[k] / curvature) - found[k]
                found[k] += step
                gradient += step * gram[k]
    return found
