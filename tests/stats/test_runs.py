"""Runs and gaps over time."""

from __future__ import annotations

import numpy as np
import pytest

from foreshock_dashboard.stats.runs import held_over_gaps

N = np.nan


@pytest.mark.parametrize(
    ("values", "held"),
    [
        ([4, N, N, 5], [4, 4, 4, 5]),
        ([4, N, N, N, 5], [4, N, N, N, 5]),
        ([N, 4, N], [N, 4, N]),
        ([N, N], [N, N]),
    ],
)
def test_a_short_gap_holds_the_value_before_it(values: list[float], held: list[float]) -> None:
    """What was missing before the first value, or is now, stays unknown."""
    np.testing.assert_array_equal(held_over_gaps(np.array(values, np.float64), 2), held)
