"""The page of a hub that still reads the history of an external source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.hub.incidents.test_cluster_change import START, STEP, batch

from foreshock_dashboard.analysis.incidents.forecast_summary import forecast
from foreshock_dashboard.analysis.incidents.lifecycle import State
from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub import analysis_loop
from foreshock_dashboard.hub.analysis_loop import AnalysisLoop, LoopInputs
from foreshock_dashboard.hub.memory import Memory
from foreshock_dashboard.model.forecast import Forecast
from foreshock_dashboard.model.query import Matrix, MetricSource, Query, SourceError
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.sources.clusters import ClusterSource
from foreshock_dashboard.store import Store

MINUTES = 60


class Watched(MetricSource):
    """A store behind a network: shows what the loop publishes while it reads, takes time, and may fail."""

    def __init__(self, store: Store) -> None:
        self._store, self.seen, self.now = store, list[Snapshot](), START + MINUTES * 60
        self.loop: AnalysisLoop | None = None
        self.fails_before = -np.inf

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """As `MetricSource.fetch`."""
        return self._store.fetch(query, start, end, step)

    def fetch_all(self, queries: Sequence[Query], start: float, end: float, step: float) -> Iterator[Matrix]:
        """As `MetricSource.fetch_all`; 15 s pass while history is read."""
        assert self.loop
        self.seen.append(self.loop.snapshot)
        if start < self.fails_before:
            raise SourceError("the source is away")
        if start < self.now - 600:
            self.now += 15.0
            self._store.append_samples([batch(self.now, "", np.inf)])
        return self._store.fetch_all(queries, start, end, step)

    def metric_names(self) -> frozenset[str]:
        """As `MetricSource.metric_names`."""
        return self._store.metric_names()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A loop over an hour of samples in an external source."""
    with closing(Store.open(tmp_path, now=lambda: START)) as store:
        store.append_samples([batch(START + at, "", np.inf) for at in np.arange(STEP, MINUTES * 60, STEP)])
        source = Watched(store)
        memory = Memory(Settings().memory_limit)
        inputs = LoopInputs(ClusterSource(source), is_own_store=False, write=None, memory=memory)
        source.loop = AnalysisLoop(Settings(), Clock(wall=lambda: source.now), inputs)
        yield source


def test_the_newest_values_are_there_before_the_history_and_stay_current(watched: Watched) -> None:
    """Two minutes, without incidents; then the evaluation replaces them."""
    loop = watched.loop
    assert loop
    began = watched.now
    loop.evaluate()

    shown = [one for one in watched.seen if one.is_preview]
    worlds = [one.world for one in shown if one.world]
    assert worlds
    assert began - worlds[0].time < 20
    assert len(worlds[0].times) == 12
    assert worlds[0].services
    assert worlds[-1].time > worlds[0].time
    assert {one.incidents for one in shown} == {()}
    assert not any(one.learning.done for one in shown)
    assert all(one.evaluated is None for one in watched.seen)
    assert not loop.snapshot.is_preview
    assert loop.snapshot.world
    assert loop.snapshot.learning.done
    assert len(loop.snapshot.world.times) > 60


def test_a_failure_amid_the_history_keeps_the_preview_with_the_error(watched: Watched) -> None:
    """Its age is on every page; the next evaluation goes on."""
    loop = watched.loop
    assert loop
    watched.fails_before = watched.now - 1000
    loop.evaluate()
    assert loop.snapshot.is_preview
    assert loop.snapshot.world
    assert "away" in loop.snapshot.error

    watched.fails_before = -np.inf
    loop.evaluate()
    assert not loop.snapshot.is_preview
    assert not loop.snapshot.error


def test_an_error_stays_until_an_evaluation_is_complete(watched: Watched) -> None:
    """The alert on failing evaluations needs two minutes of it, which is less than the history may take."""
    loop = watched.loop
    assert loop
    watched.fails_before = np.inf
    loop.evaluate()
    assert loop.snapshot.world is None

    watched.fails_before, watched.seen = -np.inf, []
    loop.evaluate()
    shown = [one for one in watched.seen if one.world]
    assert shown
    assert {one.error for one in shown} == {"the source is away"}
    assert not loop.snapshot.error


def test_a_preview_does_not_become_an_evaluation_before_its_world_does(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other threads read the snapshot at any time, such as while the forecast is made at the end."""
    loop = watched.loop
    assert loop
    seen = list[Snapshot]()

    def watching(state: State, world: World) -> Forecast:
        seen.append(loop.snapshot)
        return forecast(state, world)

    monkeypatch.setattr(analysis_loop, "forecast", watching)
    loop.evaluate()
    assert [(one.is_preview, one.evaluated) for one in seen] == [(True, None)]
    assert loop.snapshot.evaluated is loop.snapshot.world
