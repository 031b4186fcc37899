"""What is usual at a time of the week is read from what a source still holds."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.web.worlds import calm

from foreshock_dashboard.model.query import MetricSource, SourceError
from foreshock_dashboard.model.readings import catalogue
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.model.season import BIN, DAY
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.seasons import LAGS, Seasons
from foreshock_dashboard.store import Store

STEP, QUIET, BUSY = 60.0, 2.0, 5.0
NINE = 1_767_603_600.0 // DAY * DAY + 9 * 3600.0
WHO = Service("serving", "chat")
SERVED = labels_of(
    {"service_name": WHO.name, "service_namespace": WHO.namespace, "span_kind": "SPAN_KIND_SERVER", "job": "x"}
)


def scrapes(days: int) -> Iterator[SampleBatch]:
    """A counter of requests, from seven in the morning to ten of each of the days before; more of them from nine on."""
    total = 0.0
    for day in range(days, 0, -1):
        nine = NINE - day * DAY
        for time in np.arange(nine - 7200.0, nine + 3600.0, STEP).tolist():
            total += STEP * (BUSY if time >= nine else QUIET)
            yield SampleBatch(time, "x", (Sample("traces_span_metrics_calls_total", SERVED, total),))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store that holds the mornings of two weeks and a day."""
    opened = Store.open(tmp_path / "store", now=lambda: NINE)
    opened.append_samples([*scrapes(15)])
    yield opened
    opened.close()


def at(time: float) -> World:
    """A World of the hours before a time."""
    world = calm()
    return replace(world, times=world.times + (time - world.time))


def read(source: MetricSource, begin: float = -np.inf) -> Seasons:
    """As the hub reads it."""
    return Seasons(source, catalogue, begin)


def test_every_morning_is_found_in_the_store(store: Store) -> None:
    """From what it was asked a week ago and two weeks ago."""
    world = read(store).told(at(NINE + 600.0))

    assert world.season.of(WHO, NINE + 600.0) == pytest.approx(BUSY / QUIET, rel=0.05)
    assert world.season.of(WHO, NINE - 3600.0) == 1.0
    assert world.season.of(Service("", "nobody"), NINE) == 1.0


def test_two_hubs_that_were_started_an_hour_apart_agree(store: Store) -> None:
    early, late = read(store), read(store)
    early.told(at(NINE - 3600.0))
    one, other = early.told(at(NINE + 600.0)).season, late.told(at(NINE + 600.0)).season
    np.testing.assert_array_equal(one.times, other.times)
    np.testing.assert_array_equal(one.growth, other.growth)


class Source:
    """Counts what it is asked; cannot answer if it is broken."""

    def __init__(self, store: Store, *, broken: bool = False) -> None:
        self._store, self._broken = store, broken
        self.asked: list[float] = []

    def fetch(self, query: object, start: float, end: float, step: float) -> object:
        """As the store."""
        self.asked.append(end)
        if self._broken:
            raise SourceError("it keeps a day")
        return self._store.fetch(query, start, end, step)  # type: ignore[arg-type]  # it is a query

    def metric_names(self) -> frozenset[str]:
        """As the store."""
        return self._store.metric_names()


@pytest.mark.parametrize("empty", [False, True])
def test_earlier_weeks_are_read_once_in_a_quarter_of_an_hour(store: Store, tmp_path: Path, empty: bool) -> None:
    """Also by a hub that has no earlier week."""
    nothing = Store.open(tmp_path / "empty", now=lambda: NINE)
    source = Source(nothing if empty else store)
    seasons = read(source)  # type: ignore[arg-type]  # it is a source
    seasons.told(at(NINE + 10.0))
    once = len(source.asked)
    seasons.told(at(NINE + 20.0))
    assert len(source.asked) == once >= len(LAGS)

    seasons.told(at(NINE + BIN))
    assert len(source.asked) > once
    nothing.close()


def test_a_patient_one_asks_for_one_day_at_a_time_and_knows_a_bin_before_it_begins(store: Store) -> None:
    """A tick must not wait for ten answers about weeks ago. The first time it does, for nothing is known then."""
    source = Source(store)
    seasons = Seasons(source, catalogue, patient=True)  # type: ignore[arg-type]  # it is a source
    before = seasons.told(at(NINE - 60.0))
    assert before.season.of(WHO, NINE + 60.0) == pytest.approx(BUSY / QUIET, rel=0.05)

    asked, forms = len(source.asked), len(catalogue(59.0)["served"].forms)
    for tick in range(len(LAGS) + 1):
        world = seasons.told(at(NINE + 10.0 * tick))
        assert world.season.of(WHO, NINE + 10.0 * tick) == pytest.approx(BUSY / QUIET, rel=0.05)
        assert len(source.asked) - asked <= 1 + forms
        asked = len(source.asked)
    assert world.season.of(WHO, NINE + BIN + 60.0) == pytest.approx(BUSY / QUIET, rel=0.05)


def test_nobody_is_asked_for_what_was_before_the_beginning(store: Store) -> None:
    """A recording of an hour has no yesterday."""
    source = Source(store)
    world = read(source, NINE - 7200.0).told(at(NINE))  # type: ignore[arg-type]  # it is a source
    assert source.asked == []
    assert world.season.of(WHO, NINE) == 1.0


def test_a_source_that_keeps_too_little_costs_only_that(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once."""
    seasons = read(Source(store, broken=True))  # type: ignore[arg-type]  # it is a source
    with caplog.at_level(logging.WARNING):
        world = seasons.told(at(NINE))
        seasons.told(at(NINE + BIN))
    assert world.season.of(WHO, NINE) == 1.0
    assert [record.getMessage() for record in caplog.records] == [
        "what is usual at this time of the week is not known: it keeps a day"
    ]
