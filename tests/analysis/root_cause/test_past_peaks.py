"""What a signal reached in past windows widens its scale."""

from __future__ import annotations

import numpy as np
import pytest

from foreshock_dashboard.analysis.root_cause.parameters import ORDINARY_Z
from foreshock_dashboard.analysis.root_cause.past_peaks import past_factors
from foreshock_dashboard.analysis.root_cause.signal_rows import SignalRow
from foreshock_dashboard.model.service import Service

STEP, WINDOW_POINTS = 60.0, 4


@pytest.mark.parametrize(
    ("windows", "bursts", "z"),
    [(20, 1, 1.0), (20, 2, 1.0), (20, 3, 8.0), (30, 3, 1.0), (30, 4, 8.0), (10, 5, 1.0)],
    ids=[
        "one of twenty", "two of twenty", "three of twenty", "three of thirty", "four of thirty", "too few windows",
    ],
)  # fmt: skip
def test_what_more_than_one_window_of_ten_reaches_is_ordinary(windows: int, bursts: int, z: float) -> None:
    """Windows overlap by half, so what lasts for `bursts` halves from the start is in as many windows."""
    past = np.full((1, (windows + 1) * WINDOW_POINTS // 2), 0.1)
    past[0, : bursts * WINDOW_POINTS // 2] = 8.0
    row = SignalRow(Service("", "shop"), "resource", "cpu", past[0])

    factors = past_factors([row], past, np.ones((1, 2)), STEP)

    assert factors[0, 1] == pytest.approx(max(1.0, z / ORDINARY_Z))
