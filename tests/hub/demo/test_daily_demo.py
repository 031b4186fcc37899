"""The demo's day: a shortage is announced hours before the simulated load exceeds the hourly safe limit."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import closing, redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from foreshock_dashboard.analysis.capacity.shortage import hourly_means
from foreshock_dashboard.cli.main import main
from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.analysis_loop import SETTLE_SECONDS
from foreshock_dashboard.hub.capacity import CapacityForecaster
from foreshock_dashboard.hub.cost.ledger_reader import CostLedgerReader
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.model.capacity.load import FORECAST_STEP_SECONDS, ShortageBasis
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.settings.settings import Settings
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
    with pytest.MonkeyPatch.context() as patched:  # a sixth of what is simulated before the demo
        patched.setattr("foreshock_dashboard.simulated.daily_demo.GAP_SECONDS", 1800.0)
        day = SimulatedDay(MORNING, 1, tmp_path_factory.mktemp("day"), {"port": 0})
        filled = day.fill(threading.Event())
    with closing(day.hub):
        assert filled
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
def test_the_cost_is_read_in_steps_of_the_simulated_clock(day: SimulatedDay) -> None:
    """A loop of wall-clock time would miss most of them."""
    assert day.hub.cost.error == ""
    assert (day.hub.cost.end, day.hub.cost.computed_at) == (MORNING, MORNING + STEP_SECONDS + SETTLE_SECONDS)


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


@pytest.mark.parametrize("option", [["--speed", "8"], ["--size", "demo"]])
def test_an_option_without_effect_is_refused(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The hub sets the pace, and the scenario has its own platform."""
    assert main(["demo", "--scenario", "daily-peak", *option]) == 2
    assert f"{option[0]}: has no effect with daily-peak" in capsys.readouterr().err


def test_a_failure_is_tried_again_in_the_next_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each step, a forecast would read its whole history again."""
    forecasts: list[float] = []
    ledgers: list[float] = []
    now = MORNING

    def forecast(_: CapacityForecaster, time: float, __: Snapshot) -> bool:
        forecasts.append(time - MORNING)
        return False

    def ledger(_: CostLedgerReader, time: float) -> bool:
        ledgers.append(time - MORNING)
        return False

    monkeypatch.setattr(CapacityForecaster, "refresh", forecast)
    monkeypatch.setattr(CostLedgerReader, "refresh", ledger)
    settings = Settings(port=0, otlp_grpc_port=0, otlp_http_port=0, store_path=tmp_path)
    with closing(Hub(settings, Clock(wall=lambda: now, steady=lambda: now))) as hub:
        for minutes in range(0, 65, 5):
            now = MORNING + 60.0 * minutes + SETTLE_SECONDS
            hub.step()
    assert forecasts == [SETTLE_SECONDS, 3600 + SETTLE_SECONDS]
    assert ledgers == [600 * i + SETTLE_SECONDS for i in range(7)]


class Screen(io.StringIO):
    """What the demo prints, and the loops of its hub that run when it does."""

    loops: frozenset[str] = frozenset()

    def write(self, text: str) -> int:
        """As a terminal."""
        if "Press Ctrl-C" in text:
            self.loops = frozenset(thread.name for thread in threading.enumerate())
        return super().write(text)


@pytest.mark.slow
def test_only_loops_that_need_no_steps_run_beside_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps evaluate, forecast, read the cost, and write the samples. `--duration` ends the day."""
    monkeypatch.setattr("foreshock_dashboard.simulated.daily_demo.GAP_SECONDS", 60.0)  # simulated before the day
    before = {thread.name for thread in threading.enumerate()}
    with redirect_stdout(Screen()) as screen:
        assert main(["demo", "--scenario", "daily-peak", "--port", "0", "--no-browser", "--duration", "1ms"]) == 0
    assert "foreshock demo (daily-peak, seed 1): http://127.0.0.1:" in screen.getvalue()
    assert "The day is over" not in screen.getvalue()
    loops = {"evaluation", "capacity", "cost", "maintenance", "owners", "season"}
    assert (screen.loops - before) & loops == {"maintenance", "owners"}
    assert not {name for name in screen.loops - before if "scrape" in name}
    assert not {thread.name for thread in threading.enumerate()} & loops - before
