"""Series come and go: queries are right while they come, and what has gone makes room."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest

from foreshock_dashboard.model.query import Query
from foreshock_dashboard.model.samples import Sample, SampleBatch
from foreshock_dashboard.store import Sealing

if TYPE_CHECKING:
    from tests.store.conftest import Bench


def batch(time: float, names: range) -> SampleBatch:
    """One sample of each of some series."""
    return SampleBatch(time, "t", tuple(Sample("m", (("i", str(name)),), float(name)) for name in names))


def test_queries_go_on_while_other_threads_bring_new_series(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A series that appears between a query's choice of series and its reading is simply not in that answer."""
    monkeypatch.setattr("foreshock_dashboard.store.shelf.FLUSH_ROWS", 1)
    store = bench.open(sealing=Sealing())
    store.append_samples([batch(bench.time, range(3))])
    done = threading.Event()

    def write(first: int) -> None:
        for n in range(first, first + 2_000, 2):
            if done.is_set():
                return
            store.append_samples([batch(bench.time, range(n, n + 2))])

    threads = [threading.Thread(target=write, args=(first,)) for first in (10_000, 20_000)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for _ in range(150):
            matrix = store.fetch(Query("m", window=5), bench.time, bench.time, 1)
            found = {labels[0][1]: value for labels, (value,) in zip(matrix.labels, matrix.values, strict=True)}
            assert {"0", "1", "2"} <= set(found)
            assert all(float(name) == value for name, value in found.items())
    finally:
        sys.setswitchinterval(interval)
        done.set()
        for thread in threads:
            thread.join(30)


def test_a_series_that_appears_in_the_middle_of_a_query_does_no_harm(bench: Bench) -> None:
    """Exactly between choosing and reading."""
    store = bench.open(sealing=Sealing())
    store.append_samples([batch(bench.time, range(3))])
    reader = store._sample_reader
    where = reader._where

    def late(*given: object) -> object:
        store.append_samples([batch(bench.time, range(3, 30))])
        store._samples.flush()
        return where(*given)  # type: ignore[arg-type]  # passed through

    reader._where = late  # type: ignore[method-assign, assignment]  # the moment to hit
    assert len(store.fetch(Query("m", window=5), bench.time, bench.time, 1).values) == 3
    reader._where = where  # type: ignore[method-assign]
    assert len(store.fetch(Query("m", window=5), bench.time, bench.time, 1).values) == 30
