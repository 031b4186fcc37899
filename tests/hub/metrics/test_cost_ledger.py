"""The hub's ledger of GPU time: live, of a past instant, after a failure, and after a restart."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.replay.fleet_hours import END, scrapes

from foreshock_dashboard.hub.cost import ledger_reader
from foreshock_dashboard.hub.cost.ledger_reader import CostLedgerReader
from foreshock_dashboard.model.query import Matrix, MetricSource, Query, SourceError
from foreshock_dashboard.store import Store


class Unsteady(MetricSource):
    """A source that may be out of reach, or answer wrongly."""

    def __init__(self, source: MetricSource) -> None:
        self._source = source
        self.error: Exception | None = None

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """As the source."""
        if self.error:
            raise self.error
        return self._source.fetch(query, start, end, step)

    def metric_names(self) -> frozenset[str]:
        """As the source."""
        return self._source.metric_names()


@pytest.fixture(name="source")
def _source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Unsteady]:
    """A day of a small fleet."""
    monkeypatch.setattr(ledger_reader, "PAUSE_SECONDS", 0.0)
    with closing(Store.open(tmp_path / "store", now=lambda: END)) as store:
        store.append_samples([*scrapes()])
        yield Unsteady(store)


def reader(source: MetricSource) -> CostLedgerReader:
    """A new one."""
    return CostLedgerReader(source, 1_000_000, threading.Event(), 100)


def test_a_failure_keeps_what_was_read_until_the_next_read(source: Unsteady) -> None:
    """Also one that is a defect: the reader goes on. A new reader, as after a restart, reads the same."""
    live = reader(source)
    assert live.refresh(END)
    hours = dict(live.ledger.hours)
    for error, said in ((SourceError("out of reach"), "out of reach"), (KeyError("x"), "reading GPU time failed: 'x'")):
        source.error = error
        assert not live.refresh(END + 600)
        assert live.ledger.error.startswith(said)
        assert live.ledger.hours.keys() == hours.keys()
    source.error = None
    assert live.refresh(END + 600)
    restarted = reader(source)
    assert restarted.refresh(END + 600)

    assert live.ledger.error == restarted.ledger.error == ""
    assert {start: hour.keys for start, hour in live.ledger.hours.items()} == {
        start: hour.keys for start, hour in restarted.ledger.hours.items()
    }


def test_a_defect_that_lasts_is_logged_once(source: Unsteady, caplog: pytest.LogCaptureFixture) -> None:
    """Each retry would repeat its stack trace."""
    live = reader(source)
    source.error = KeyError("x")
    for _ in range(3):
        assert not live.refresh(END)

    assert [record.message for record in caplog.records if record.exc_info] == ["reading GPU time failed"]


def test_a_past_ledger_is_read_at_the_first_request_and_again_after_a_failure(
    source: Unsteady, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was read stays; one that failed is tried again after a pause."""
    past = reader(source)
    source.error = SourceError("out of reach")
    assert (past.at(END).error, past.at(END).hours) == ("out of reach", {})
    source.error = None
    assert past.at(END).error == "out of reach"
    monkeypatch.setattr(ledger_reader, "RETRY_SECONDS", 0.0)
    past = reader(source)
    source.error = SourceError("out of reach")
    assert past.at(END).error
    source.error = None
    found = past.at(END)

    assert (found.error, found.end) == ("", END)
    assert 0 < len(found.hours) <= ledger_reader.PAST_HOURS
    assert past.at(END) is found
