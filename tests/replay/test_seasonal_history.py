"""The seasonal baseline is read from the earlier weeks that a source still has."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.web.worlds import healthy_world

from foreshock_dashboard.model.query import Matrix, MetricSource, Query, SourceError
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import BIN_SECONDS, DAY_SECONDS
from foreshock_dashboard.replay.seasonal_history import LAGS, SeasonalHistory
from foreshock_dashboard.store import Store
from foreshock_dashboard.world.builder import catalog

STEP, QUIET, BUSY = 60.0, 2.0, 5.0
NINE = 1_767_603_600.0 // DAY_SECONDS * DAY_SECONDS + 9 * 3600.0
WHO = Service("serving", "chat")
SERVED = labels_of(
    {"service_name": WHO.name, "service_namespace": WHO.namespace, "span_kind": "SPAN_KIND_SERVER", "job": "x"}
)


def scrapes(days: int) -> Iterator[SampleBatch]:
    """A request counter from 07:00 to 10:00 of each earlier day, whose rate rises at 09:00."""
    total = 0.0
    for day in range(days, 0, -1):
        nine = NINE - day * DAY_SECONDS
        for time in np.arange(nine - 7200.0, nine + 3600.0, STEP).tolist():
            total += STEP * (BUSY if time >= nine else QUIET)
            yield SampleBatch(time, "x", (Sample("traces_span_metrics_calls_total", SERVED, total),))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with the mornings of 15 days."""
    opened = Store.open(tmp_path / "store", now=lambda: NINE)
    opened.append_samples([*scrapes(15)])
    yield opened
    opened.close()


def at(time: float) -> World:
    """A World that ends at a time."""
    world = healthy_world()
    return replace(world, times=world.times + (time - world.time))


def read(source: MetricSource) -> SeasonalHistory:
    """The seasonal history as the hub reads it."""
    return SeasonalHistory(source, catalog)


def growth(seasons: SeasonalHistory, time: float, who: Service = WHO) -> float:
    """Seasonal growth of the load at a time."""
    return seasons.attach(at(time)).season.of(who, time).growth


def test_a_weekly_rise_is_found_in_the_store(store: Store) -> None:
    """From the load one week and two weeks ago."""
    seasons = read(store)
    assert growth(seasons, NINE + 600.0) == 1.0
    assert seasons.load(NINE - 7200.0, NINE + 600.0)

    assert growth(seasons, NINE + 600.0) == pytest.approx(BUSY / QUIET, rel=0.05)
    assert seasons.attach(at(NINE)).season.of(WHO, NINE + 600.0).since == NINE - BIN_SECONDS  # or a bin earlier
    assert growth(seasons, NINE - 3600.0) == 1.0
    assert growth(seasons, NINE, Service("", "absent")) == 1.0


def test_two_hubs_that_were_started_an_hour_apart_agree(store: Store) -> None:
    """One hub has read bin after bin, with failures; the other all at once."""
    source = Source(store)
    early, late = read(source), read(store)
    for quarter in range(5):
        source.broken = quarter == 2
        early.load(NINE - 3600.0 + quarter * BIN_SECONDS, NINE - 1800.0 + quarter * BIN_SECONDS)
    early.load(NINE, NINE + 1800.0)
    late.load(NINE, NINE + 1800.0)
    one, other = early.attach(at(NINE)).season, late.attach(at(NINE)).season
    np.testing.assert_array_equal(one.times, other.times)
    np.testing.assert_array_equal(one.growth, other.growth)


class Source(MetricSource):
    """Counts the requested bins; cannot answer while it is broken."""

    def __init__(self, store: Store) -> None:
        self._store, self.broken = store, False
        self.asked: list[int] = []

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """As the store."""
        self.asked.append(round((end - start) / step) + 1)
        if self.broken:
            raise SourceError("it keeps a day")
        return self._store.fetch(query, start, end, step)

    def metric_names(self) -> frozenset[str]:
        """As the store."""
        return self._store.metric_names()


@pytest.mark.parametrize("empty", [False, True])
def test_only_new_bins_are_read_with_or_without_earlier_weeks(store: Store, tmp_path: Path, empty: bool) -> None:
    nothing = Store.open(tmp_path / "empty", now=lambda: NINE)
    source = Source(nothing if empty else store)
    seasons = read(source)
    seasons.load(NINE - 7200.0, NINE + 10.0)
    once = len(source.asked)
    assert once >= len(LAGS)
    seasons.load(NINE - 7190.0, NINE + 20.0)
    assert len(source.asked) == once

    seasons.load(NINE - 7200.0 + BIN_SECONDS, NINE + BIN_SECONDS)
    assert set(source.asked[once:]) == {1}
    nothing.close()


def test_a_failed_read_costs_only_its_days_and_is_repeated(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, and of which days."""
    source = Source(store)
    source.broken = True
    seasons = read(source)
    with caplog.at_level(logging.WARNING):
        assert not seasons.load(NINE - 7200.0, NINE + 600.0)
        assert not seasons.load(NINE - 7200.0, NINE + 600.0)
    assert growth(seasons, NINE + 600.0) == 1.0
    assert [record.getMessage() for record in caplog.records] == [
        f"no seasonal baseline from {', '.join(map(str, LAGS))} days ago"
    ]

    source.broken = False
    assert seasons.load(NINE - 7200.0, NINE + 600.0)
    assert growth(seasons, NINE + 600.0) == pytest.approx(BUSY / QUIET, rel=0.05)
