"""The ledger of GPU time from the embedded store and from a real Prometheus: the same, and what the data say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import numpy as np
import pytest
from tests.replay.fleet_hours import CHAT, EMBED, END, HOURS, NOTEBOOK, scrapes
from tests.sources.prometheus.conftest import Server

from foreshock_dashboard.analysis.cost.report import cost_report
from foreshock_dashboard.model.cost.ledger import CostLedger, Figure, Holding
from foreshock_dashboard.model.cost.prices import Price, Prices
from foreshock_dashboard.model.query import Matrix, MetricSource, Query, SourceError
from foreshock_dashboard.replay.cost_history import CostHistory
from foreshock_dashboard.sources.prometheus.api import PrometheusSource
from foreshock_dashboard.store import Store

PRICES = Prices("USD", {"H100": Price(3.0, spot_hourly=1.0), "A100": Price(2.1)}, {"dev": Price(spot=True)})
DAY = 86_400.0


def read(source: MetricSource, now: float = END + 1200) -> CostLedger:
    """The whole ledger."""
    history = CostHistory(source, hours=72)
    for _ in history.read(now):
        pass
    return history.ledger


@pytest.fixture(name="store")
def _store(fresh_store: Callable[[], Store]) -> Store:
    store = fresh_store()
    store.append_samples([*scrapes()])
    return store


def test_who_held_and_used_a_day_of_gpu_time(store: Store) -> None:
    """With prices, energy, and what is idle; the hour without data is no zero."""
    ledger = read(store, END)
    report = cost_report(ledger, DAY, PRICES)
    waits = {key.service: value for key, value in ledger.total(Figure.GPU_WAIT, report.start, report.end).items()}
    rows = {
        (str(row.key.service or row.key.holding), row.key.pool): [
            round(value / 3600, 1) if np.isfinite(value) else None
            for value in (row.allocated, row.busy, row.waiting, row.idle, row.unused)
        ]
        for row in report.rows
    }
    of = {row.key.service or row.key.holding: row for row in report.rows}

    assert rows == {
        (str(CHAT), "chat"): [24, 12, 2.4, 9.6, 0],
        (str(NOTEBOOK), "dev"): [24, 0, 0, 24, 24],
        (str(EMBED), "chat"): [12, None, None, None, None],
        ("unallocated", "chat"): [12, 0, 0, 0, 0],
        ("unallocated", "spare"): [24, 0, 0, 0, 0],
    }
    assert report.seconds == DAY
    assert (waits[CHAT] / 3600, waits[NOTEBOOK]) == pytest.approx((2.4, 0), rel=1e-3)
    assert (of[CHAT].sm_active, of[CHAT].joules / 3.6e6) == pytest.approx((0.4, 9.6), rel=1e-3)
    assert (of[CHAT].money, of[NOTEBOOK].money) == pytest.approx((72, 24), rel=1e-3)
    assert [(item.key.service, item.seconds, item.quality, item.can_pause) for item in report.idle] == [
        (NOTEBOOK, HOURS * 3600, "measured", False)
    ]


@pytest.mark.soak
def test_a_real_prometheus_gives_the_same_ledger(store: Store, own_prometheus: Server) -> None:
    """Hour by hour."""
    batches = [*scrapes()]
    for first in range(0, len(batches), 300):
        own_prometheus.write(batches[first : first + 300])
    with closing(PrometheusSource(own_prometheus.url)) as source:
        ours, theirs = read(store), read(source)

    assert ours.hours.keys() == theirs.hours.keys()
    for start, hour in ours.hours.items():
        other = theirs.hours[start]
        order = [other.keys.index(key) for key in hour.keys]
        assert hour.seconds == other.seconds
        np.testing.assert_allclose(hour.values, other.values[order], rtol=1e-6, atol=1e-3)


class Flaky(MetricSource):
    """Fails from the third request on, until allowed to answer."""

    def __init__(self, source: MetricSource) -> None:
        self._source, self.fails, self.starts = source, True, list[float]()

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """As the source."""
        if query.metric == "up":
            self.starts.append(start)
        if self.fails and len(self.starts) > 2:
            raise SourceError("cannot be reached")
        return self._source.fetch(query, start, end, step)

    def metric_names(self) -> frozenset[str]:
        """As the source."""
        return self._source.metric_names()


def test_the_newest_hours_are_read_first_and_each_only_once(store: Store) -> None:
    """A failure keeps what was read; only the present hour is read again."""
    source = Flaky(store)
    history = CostHistory(source, hours=26)
    with pytest.raises(SourceError):
        list(history.read(END + 600))
    first = history.ledger
    source.fails = False
    list(history.read(END + 600))
    before, whole = len(source.starts), history.ledger
    list(history.read(END + 1200))

    assert first.hours
    assert first.unread_hours > 0
    assert min(first.hours) > END - 26 * 3600
    assert (min(whole.hours), whole.unread_hours) == (END - 25 * 3600, 0)
    assert source.starts[before:] == [END + 600]
    assert {key.holding for hour in whole.hours.values() for key in hour.keys} == {
        Holding.SERVICE,
        Holding.UNALLOCATED,
    }
