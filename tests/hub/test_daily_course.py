"""The daily course of the demo's history is that of the traffic which its platform then has."""

from __future__ import annotations

import numpy as np
import pytest

from foreshock_dashboard.simulated.daily_course import LAUNCH_RATIO, LAUNCH_SECONDS, daily_course, with_peak_ahead
from foreshock_dashboard.simulated.demo import scrape_interval
from foreshock_dashboard.simulated.load_history import PEAK_AHEAD_SECONDS
from foreshock_dashboard.simulated.platform import ONSET_SECONDS
from foreshock_dashboard.simulated.scenarios import scenario_path
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.traffic.rate import Curve, RelativeRate

MIDNIGHT, HOUR, DAY = 20_000 * 86_400.0, 3600.0, 86_400.0
SPEC = load(scenario_path("daily-peak"))


@pytest.mark.parametrize("hour", [0.0, 9.2, 18.9])
def test_the_history_leads_to_the_traffic_of_the_day_that_follows(hour: float) -> None:
    """Whatever the hour is. The traffic grows linearly, the history as a power: they differ by a few percent."""
    now = MIDNIGHT + hour * HOUR
    course = daily_course(SPEC)
    assert course is not None
    flow = with_peak_ahead(SPEC, now).platform.flows[0]
    growth = Curve()
    growth.change(ONSET_SECONDS, course.growth, DAY)
    rate = RelativeRate(growth, now, flow.diurnal, flow.peak_hour)
    ahead = np.arange(0.0, DAY, 600.0)
    traffic = np.array([rate(time) for time in ahead.tolist()]) / rate(0.0)
    assert course.ratios(now + ahead, now) == pytest.approx(traffic, rel=0.03)
    assert float(ahead[traffic.argmax()]) == pytest.approx(PEAK_AHEAD_SECONDS, abs=HOUR)
    grown = course.ratios(now + ahead, now) / course.ratios(now + ahead - DAY, now)
    before_launch = ahead <= DAY - LAUNCH_SECONDS
    assert grown[before_launch] == pytest.approx(course.growth * LAUNCH_RATIO)
    assert grown[-1] == pytest.approx(course.growth)


def test_a_scenario_without_a_daily_course_keeps_its_history() -> None:
    """And its hours, as it has none."""
    calm = load("calm")
    assert daily_course(calm) is None
    assert with_peak_ahead(calm, MIDNIGHT) == calm


@pytest.mark.parametrize(("speed", "seconds"), [(0.5, 5.0), (1.0, 5.0), (8.0, 5.0), (10.0, 6.0), (60.0, 36.0)])
def test_a_faster_demo_scrapes_as_often_by_the_wall_clock(speed: float, seconds: float) -> None:
    """At most every 0.6 s, and every 5 simulated seconds up to a speed of 8."""
    assert scrape_interval(speed) == seconds
