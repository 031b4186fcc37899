"""The time until the origin of a page breaches its SLO, as it passes."""

from __future__ import annotations

import math

import pytest

from foreshock_dashboard.analysis.incidents.at_risk import IMMINENT_SECONDS, SOON_SECONDS, remaining_seconds

NEVER = (math.inf,) * 5


@pytest.mark.parametrize("seconds", [IMMINENT_SECONDS, SOON_SECONDS])
def test_a_forecast_from_the_page_on_ages(seconds: tuple[float, ...]) -> None:
    """At the page it is whole; each later one is of the breaches that did not happen so far, and in the end none."""
    assert remaining_seconds(seconds, 0.0) == pytest.approx(seconds)
    since_page = [elapsed + remaining_seconds(seconds, elapsed)[2] for elapsed in (0.0, *seconds[:3])]
    assert since_page == sorted(set(since_page))
    assert all(remaining_seconds(seconds, elapsed) == NEVER for elapsed in (seconds[-1], 2 * seconds[-1]))


def test_what_is_left_is_the_conditional_distribution() -> None:
    """After the median has passed, the next quarter of all breaches is up to the new median."""
    left = remaining_seconds((10.0, 20.0, 70.0, 300.0, 700.0), 70.0)
    assert left[2] == pytest.approx((0.75 - 0.5) / 0.3 * 230.0)
    assert left[3] == pytest.approx(700.0 - 70.0)
    assert left[4] == math.inf
