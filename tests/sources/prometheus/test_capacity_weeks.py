"""Two weeks in a real Prometheus: the capacity forecast says what and when the data say, at a bounded cost."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from tests.sources.prometheus import weeks
from tests.sources.prometheus.conftest import Server, backfill, running_prometheus
from tests.sources.prometheus.weeks import DAY, FULL_TOKENS, SERVERS, STEP, TOKENS_PER_REQUEST, requests, rows

from foreshock_dashboard.analysis.incidents.forecast_summary import forecast
from foreshock_dashboard.analysis.incidents.lifecycle import State, advance, learning
from foreshock_dashboard.analysis.saturation.safe_limits import SAFE_LIMITS, SHOWN_LIMIT
from foreshock_dashboard.hub.capacity import CapacityForecaster
from foreshock_dashboard.hub.memory import Memory
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import LoadKind
from foreshock_dashboard.model.capacity.slow_burn import SlowBurnKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.replay.replay import ReplayTiming, readers
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.sources.prometheus.api import PrometheusSource
from foreshock_dashboard.world.builder import build_world

pytestmark = pytest.mark.soak
NOW = 1_796_034_600.0
"""A Monday at 10:30 UTC."""
TUESDAY_PEAK = NOW + 1.0 * DAY + 3.5 * 3600
CHAT = SERVERS[0]
DAYS = 15
MAX_QUERIES = 1500
"""Of the history of four weeks and of three hours, whatever the number of services."""


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("weeks")
    times = np.arange(NOW - DAYS * DAY, NOW + STEP, STEP)
    series, recent = list(rows(times, TUESDAY_PEAK)), times > NOW - 4 * 3600
    for places in (np.flatnonzero(~recent & (times % 300 == 0)), np.flatnonzero(recent)):
        backfill(folder, series, times, places)
    with running_prometheus(folder, "--storage.tsdb.retention.time=10y") as server:
        yield server


@pytest.fixture(scope="module", name="found")
def _found(server: Server) -> Iterator[CapacityForecast]:
    """As a hub that evaluates at `NOW` forecasts it."""
    source, timing, state = PrometheusSource(server.url), ReplayTiming.of(STEP), State()
    observer, _ = readers(source, timing, NOW - 3 * 3600)
    world = build_world(observer.read(NOW), timing.step, observer.missing())
    for point in range(len(world.times) - 10, len(world.times)):
        state = advance(state, world, point)
    forecaster = CapacityForecaster(source, Memory(Settings().memory_limit), threading.Event())
    assert forecaster.refresh(NOW, Snapshot(0, world, (), learning(world), forecast=forecast(state, world)))
    yield forecaster.current
    source.close()


def test_the_shortage_is_that_of_the_data(found: CapacityForecast) -> None:
    """The safe limit within 5%, the time within an hour, and the replicas that keep the peak below it."""
    (short,) = found.shortages
    safe = SAFE_LIMITS[SHOWN_LIMIT] * CHAT.max_replicas * FULL_TOKENS
    assert (short.subject.service, short.subject.pool) == (Service("serving", CHAT.name), "chat")
    assert (short.kind, short.ready, short.room, short.replicas) == (LoadKind.TOKENS, 4.0, 3.0, 2)
    assert short.safe == pytest.approx(safe, rel=0.05)
    ahead = np.arange(NOW, NOW + 2 * DAY, STEP)
    tokens = requests(CHAT, ahead, TUESDAY_PEAK) * TOKENS_PER_REQUEST
    hourly = np.convolve(tokens, np.ones(240) / 240)[239:]
    assert short.at == pytest.approx(ahead[np.argmax(hourly > safe)], abs=3600)
    assert short.earliest <= short.at <= short.latest


@pytest.mark.parametrize("of", SERVERS, ids=lambda of: of.name)
def test_intervals_hold_what_comes(found: CapacityForecast, of: weeks.Server) -> None:
    """Of load that grows by 2% a day, of the week to come."""
    load = next(
        load for load in found.loads if load.kind is LoadKind.TOKENS and load.subject.service == ("serving", of.name)
    )
    fine = np.arange(load.start, load.start + 7 * DAY, STEP)
    actual: Floats = (requests(of, fine, TUESDAY_PEAK) * TOKENS_PER_REQUEST).reshape(len(load.p50), -1).mean(axis=1)
    assert np.mean(np.abs(load.p50 / actual - 1)) < 0.06
    assert np.mean((load.p10 <= actual) & (actual <= load.p90)) > 0.6


def test_the_memory_of_a_host_that_fills_up_is_found(found: CapacityForecast) -> None:
    """And none of the hosts whose use stays the same."""
    assert [(burn.kind, burn.name) for burn in found.slow_burns] == [(SlowBurnKind.HOST_MEMORY, "host-2")]
    assert found.slow_burns[0].at == pytest.approx(TUESDAY_PEAK + 5 * DAY, abs=DAY / 10)


def test_reading_weeks_is_a_bounded_number_of_queries(server: Server, found: CapacityForecast) -> None:
    """Those of Prometheus's own count."""
    assert found.history_hours > (DAYS - 1) * 24
    page = httpx.get(f"{server.url}/metrics").text
    counts = re.findall(r'prometheus_http_requests_total\{code="200",handler="/api/v1/query_range"\} (\S+)', page)
    assert 0 < sum(map(float, counts)) < MAX_QUERIES
