"""Series of earlier answers are used again, and the World is the same as without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import httpx
import numpy as np
from bench.engine.fleet import fleet
from bench.engine.remote_write import WriteTemplate, write
from tests.sources.prometheus.conftest import T0, Server
from tests.world.test_builder import check

from foreshock_dashboard.model.query import Matrix, MetricSource, Query
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.sources.clusters import ClusterSource
from foreshock_dashboard.sources.prometheus.api import PrometheusSource
from foreshock_dashboard.world.builder import WorldBuilder, catalog
from foreshock_dashboard.world.histogram_quantiles import QuantileReducer
from foreshock_dashboard.world.observer import Observer

STEP, POINTS, BEGIN = 10.0, 16, 8
HIDDEN_RATIO = 0.02
"""Share of the series that have no sample at a time."""


def write_fleet(server: Server) -> None:
    """A small fleet of which other series are missing every 40 s."""
    of, chance = fleet(2, 4), np.random.default_rng(1)
    with closing(httpx.Client(trust_env=False)) as client:
        for first in range(0, POINTS, 4):
            rows = np.flatnonzero(chance.random(len(of.base)) >= HIDDEN_RATIO)
            times: Floats = STEP * np.arange(first, first + 4, dtype=np.float64)
            template = WriteTemplate([of.metrics[row] for row in rows], [of.labels[row] for row in rows], len(times))
            write(client, server.url, template.filled(T0 + times, of.values(times, chance)[rows]))


class Forgetful(PrometheusSource):
    """Reads every answer as the first one."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._url = url

    def fetch_all(self, queries: Sequence[Query], start: float, end: float, step: float) -> Iterator[Matrix]:
        """See `MetricSource.fetch_all`."""
        with closing(PrometheusSource(self._url)) as source:
            return iter([*source.fetch_all(queries, start, end, step)])


def worlds(source: MetricSource) -> Iterator[World]:
    """The World at each grid point, read one by one."""
    begin = T0 + BEGIN * STEP
    observer = Observer(ClusterSource(source), catalog(59.0), STEP, QuantileReducer(), begin=lambda _: begin)
    builder = WorldBuilder(STEP)
    for point in range(BEGIN, POINTS):
        yield from map(builder.add, observer.pieces(T0 + point * STEP))


def test_kept_series_change_nothing_of_a_world(own_prometheus: Server) -> None:
    """Also where some come and go."""
    write_fleet(own_prometheus)
    url = own_prometheus.url
    with closing(PrometheusSource(url)) as source, closing(Forgetful(url)) as forgetful:
        for one, other in zip(worlds(source), worlds(forgetful), strict=True):
            check(one, other)
    assert len(one.times) == POINTS - BEGIN
    assert len(one.gpus) == 16
    assert np.isfinite(one.calls.p95).any()
