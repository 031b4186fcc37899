"""Simulated weeks of load, in steps of ten minutes from a Monday on."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.analysis.capacity.seasonal import DAY_POINTS, WEEK_POINTS
from foreshock_dashboard.model.types import Floats


def weeks(
    number: float,
    *,
    seed: int = 0,
    noise: float = 0.08,
    growth_per_week: float = 1.0,
    weekend: float = 1.0,
    launch_at: float = np.inf,
    launch: float = 1.0,
) -> Floats:
    """Requests per second: a day with its peak of 150 at noon, low weekends, growth, and a launch at a day."""
    step = np.arange(round(number * WEEK_POINTS))
    day = step / DAY_POINTS
    shape = 100 - 50 * np.cos(2 * np.pi * day)
    shape *= (
        np.where(day % 7 >= 5, weekend, 1.0) * growth_per_week ** (day / 7) * np.where(day >= launch_at, launch, 1.0)
    )
    values: Floats = shape * np.exp(np.random.default_rng(seed).normal(0, noise, len(step)))
    return values
