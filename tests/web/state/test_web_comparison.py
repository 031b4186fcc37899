"""Two time ranges side by side: which changes come first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.web.worlds import healthy_world

from foreshock_dashboard.web.state.comparison import comparison


@pytest.mark.parametrize(
    ("before", "after", "is_first"),
    [(0.0, 0.5, True), (0.5, 0.0, True), (0.02, 0.5, True), (0.0, 0.0005, False), (0.00001, 0.0005, False)],
)
def test_a_change_from_or_to_zero_comes_first_unless_it_is_tiny(before: float, after: float, is_first: bool) -> None:
    """Requests of another service triple."""
    ranges = []
    for error_rate, factor in ((before, 1.0), (after, 3.0)):
        world = healthy_world()
        errors, rate = world.red.error_rate.copy(), world.red.rate.copy()
        errors[0] = error_rate
        rate[2] *= factor
        ranges.append(replace(world, red=replace(world.red, error_rate=errors, rate=rate)))
    baseline, current = ranges
    first = comparison(baseline, current)["rows"][0]
    expected = (current.services[0], "error_rate") if is_first else (current.services[2], "requests_per_second")
    assert (first.entity, first.signal) == (str(expected[0]), expected[1])
