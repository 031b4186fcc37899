"""The demo's day: a shortage is announced hours before the simulated load exceeds the hourly safe limit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from foreshock_dashboard.analysis.capacity.shortage import hourly_means
from foreshock_dashboard.cli.main import main
from foreshock_dashboard.hub.analysis_loop import SETTLE_SECONDS
from foreshock_dashboard.model.capacity.load import FORECAST_STEP_SECONDS, ShortageBasis
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.simulated.daily_demo import STEP_SECONDS, SimulatedDay
from foreshock_dashboard.simulated.daily_traffic import GROWTH_PER_DAY, HOUR_SECONDS, DailyTraffic
from foreshock_simulator.simulation import Simulation
from foreshock_simulator.spec.faults import Surge
from foreshock_simulator.traffic.arrivals import arrivals

MIDNIGHT = 20_000 * DAY_SECONDS
MORNING = MIDNIGHT + 6 * HOUR_SECONDS
MIN_LEAD_SECONDS = 4 * HOUR_SECONDS


@pytest.fixture(scope="module", name="day")
def _day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedDay]:
    """In the morning, after two steps: fewer requests than at midnight, when the demo begins."""
    day = SimulatedDay(MORNING, 1, tmp_path_factory.mktemp("day"), {"port": 0})
    with closing(day.hub):
        assert day.fill(threading.Event())
        day.step()
        day.step()
        yield day


def requested_tokens(simulation: Simulation, begin: float, end: float) -> Floats:
    """Tokens per second that the requests of a simulation generate, in steps of the forecast between Unix seconds.

    The same requests as its model server answers, without waiting for it.
    """
    (flow,) = simulation.spec.platform.flows
    requests = arrivals(flow, simulation.seed, simulation.start)
    for surge in simulation.spec.faults:
        assert isinstance(surge, Surge)
        requests.rate_factor.change(surge.at, requests.rate_factor(surge.at) * surge.factor, surge.ramp)
    steps = np.zeros(round((end - begin) / FORECAST_STEP_SECONDS))
    while (request := requests.next()).time < end - simulation.start:
        step = int((simulation.start + request.time - begin) // FORECAST_STEP_SECONDS)
        if step >= 0:
            steps[step] += request.generated_tokens
    return steps / FORECAST_STEP_SECONDS


@pytest.mark.slow
def test_the_shortage_is_announced_hours_before_load_exceeds_the_safe_limit(day: SimulatedDay) -> None:
    """In its 80% interval, after days and hours below the limit, by the forecast that every hub makes."""
    (short,) = day.hub.capacity.shortages
    load = hourly_means(requested_tokens(day.simulation, MORNING, MIDNIGHT + DAY_SECONDS))
    exceeded = MORNING + int(np.argmax(load > short.safe)) * FORECAST_STEP_SECONDS
    assert load.max() > short.safe
    assert exceeded - day.now >= MIN_LEAD_SECONDS
    assert short.basis is ShortageBasis.FORECAST
    assert short.earliest <= exceeded <= short.latest
    assert abs(short.at - exceeded) <= HOUR_SECONDS
    (tokens,) = [item for item in day.hub.capacity.loads if item.kind == short.kind]
    assert np.nanmax(hourly_means(tokens.history)) < short.safe
    assert (short.ready, short.replicas >= 1) == (2, True)


@pytest.mark.slow
def test_the_clock_waits_until_a_step_is_evaluated(day: SimulatedDay) -> None:
    """So no sample is missing on a slow machine, and nothing pages in the morning."""
    snapshot = day.hub.snapshot
    assert day.hub.now() == MORNING + 2 * STEP_SECONDS + SETTLE_SECONDS
    assert snapshot.evaluated is not None
    assert (snapshot.evaluated.time, snapshot.error) == (day.hub.now() - SETTLE_SECONDS, "")
    assert snapshot.evaluated.simulated
    assert [incident for incident in snapshot.incidents if incident.severity == "critical"] == []


def test_traffic_is_that_of_real_days_with_growth() -> None:
    """The last day has the mean rate of the scenario; the real days grew by a quarter themselves."""
    traffic = DailyTraffic(MIDNIGHT, 2.0)
    hours: Floats = MIDNIGHT + (np.arange(24, dtype=np.float64) + 0.5) * HOUR_SECONDS
    first, last = traffic.rates(hours - 8 * DAY_SECONDS), traffic.rates(hours)
    assert last.mean() == pytest.approx(2.0)
    assert last.mean() / first.mean() == pytest.approx(1.25 * (1 + GROWTH_PER_DAY) ** 8, rel=0.05)
    assert (int(last.argmax()), int(last.argmin())) == (21, 4)
    assert traffic.begin == MIDNIGHT - 8 * DAY_SECONDS


def test_a_speed_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The hub sets the pace."""
    assert main(["demo", "--scenario", "daily-peak", "--speed", "8"]) == 2
    assert "--speed: has no effect with daily-peak" in capsys.readouterr().err
