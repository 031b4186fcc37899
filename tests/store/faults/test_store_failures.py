"""Failures after the WAL commit: acknowledged data exists once, maintenance goes on, readiness gives the reason."""

from __future__ import annotations

import itertools
import logging
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.conftest import CUT_ALWAYS, FullDisk

from foreshock_dashboard.model.query import Query
from foreshock_dashboard.model.samples import Sample, SampleBatch
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.store import Store, StoreError, StoreLimits
from foreshock_dashboard.store.blocks.block_meta import contiguous_ranges
from foreshock_dashboard.store.blocks.disk import Disk
from foreshock_dashboard.store.trusted_clock import TRUSTED_AFTER_SECONDS

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.store.conftest import Bench, MakeSpan, Scrape, Values

ERRORS = [duckdb.OutOfMemoryException("failed to offload data block"), MemoryError()]
NAMES = ["duckdb", "python"]


@dataclass
class FailingEngine:
    """A DuckDB connection that fails while `error` is set."""

    real: Any
    error: Exception | None = None

    def cursor(self) -> duckdb.DuckDBPyConnection:
        if self.error is not None:
            raise self.error
        made: duckdb.DuckDBPyConnection = self.real.cursor()
        return made


def with_failing_engine(store: Store) -> FailingEngine:
    """Replace the engine of the sample format by one that can fail."""
    form: Any = store._samples.block_format
    form.engine = engine = FailingEngine(form.engine)
    return engine


def append_together(store: Store, scrapes: list[SampleBatch], eventually: Eventually) -> list[bool]:
    """Append scrapes in one commit, each from its own thread. Return which were acknowledged."""
    acknowledged = [False] * len(scrapes)

    def send(at: int) -> None:
        try:
            store.append_samples([scrapes[at]])
            acknowledged[at] = True
        except StoreError:
            pass

    threads = [threading.Thread(target=send, args=(at,)) for at in range(len(scrapes))]
    with store._commits.lock:
        for thread in threads:
            thread.start()
        eventually(lambda: len(store._commits.queue) == len(scrapes), "all wait for the commit")
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return acknowledged


@pytest.mark.parametrize("error", ERRORS, ids=NAMES)
def test_acknowledged_data_survives_a_failing_head_between_appends_of_one_commit(
    bench: Bench, scrape: Scrape, values: Values, eventually: Eventually, error: Exception
) -> None:
    """Three senders share a commit, DuckDB fails, a later append succeeds, a block is cut, the store reopens."""
    store = bench.open(replace(CUT_ALWAYS, flush_rows=1))
    engine = with_failing_engine(store)
    store.append_samples([scrape(0)])
    engine.error = error
    assert append_together(store, [scrape(n) for n in (1, 2, 3)], eventually) == [True] * 3
    engine.error = None
    store.append_samples([scrape(4)])
    assert set(values(store, 5)) == set(range(5))
    store.maintain()
    store.maintain()
    assert store.stats().wal_rows == 0
    assert set(values(store, 5)) == set(range(5))
    store.close()
    store = bench.open()
    assert set(values(store, 5)) == set(range(5))
    assert sum(meta.rows for meta in store._samples.blocks()) == 15


Step = tuple[str, int]
step_lists = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 3)),
        st.tuples(st.sampled_from(["break", "repair", "maintain", "read", "spans", "reopen"]), st.just(0)),
    ),
    max_size=14,
)


@settings(max_examples=settings().max_examples // 5)
@given(steps=step_lists, error=st.sampled_from(ERRORS))
def test_acknowledged_scrapes_exist_once_whenever_the_head_fails(steps: list[Step], error: Exception) -> None:
    """Any order of shared commits, failures, maintenance, queries and restarts."""
    with tempfile.TemporaryDirectory() as folder:
        logging.disable(logging.CRITICAL)
        try:
            run = Run(Path(folder), error)
            for name, count in steps:
                run.step(name, count)
            run.end()
        finally:
            logging.disable(logging.NOTSET)


class Run:
    """A store, and the numbers of acknowledged scrapes."""

    def __init__(self, folder: Path, error: Exception) -> None:
        self.folder, self.error, self.acknowledged, self.number = folder, error, set[int](), 0
        self.open()

    def open(self) -> None:
        self.store = Store.open(
            self.folder, now=lambda: 1e9, limits=StoreLimits(block_bytes=1, flush_rows=4, duckdb_threads=1)
        )
        self.engine = with_failing_engine(self.store)

    def step(self, name: str, count: int) -> None:
        match name:
            case "append":
                self.append(count)
            case "break":
                self.engine.error = self.error
            case "repair":
                self.engine.error = None
            case "maintain":
                self.store.maintain()
            case "read" if self.engine.error is None:
                self.check()
            case "spans":
                self.store.append_spans([Span("a" * 32, "b" * 16, "", "GET /", "server", 1, 2, "ok", "", {}, {})])
            case "reopen":
                self.store.close()
                self.open()

    def append(self, count: int) -> None:
        """Append in one shared commit."""
        numbers = range(self.number, self.number + count)
        self.number += count
        batches = [SampleBatch(1e9 + n, "t", tuple(Sample("m", (("i", i),), float(n)) for i in "ab")) for n in numbers]
        threads = [threading.Thread(target=self.send, args=(n, b)) for n, b in zip(numbers, batches, strict=True)]
        with self.store._commits.lock:
            for thread in threads:
                thread.start()
        for thread in threads:
            thread.join(30)

    def send(self, number: int, batch: SampleBatch) -> None:
        self.store.append_samples([batch])
        self.acknowledged.add(number)

    def check(self) -> None:
        if not self.number:
            return
        matrix = self.store.fetch(Query("m", window=1), 1e9, 1e9 + self.number - 1, 1)
        assert matrix.values.tolist() in ([], [[float(n) for n in range(self.number)]] * 2)
        assert self.acknowledged == set(range(self.number))
        rows = self.store._samples.head.usage().rows + sum(meta.rows for meta in self.store._samples.blocks())
        assert rows == 2 * self.number

    def end(self) -> None:
        self.engine.error = None
        self.check()
        self.store.maintain()
        assert self.store.stats().wal_rows == 0
        self.check()
        self.store.close()
        self.open()
        self.check()
        self.store.close()


def test_an_unexpected_error_refuses_all_appends_of_the_commit(
    bench: Bench, scrape: Scrape, values: Values, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No append is acknowledged wrongly, and the next one works."""
    store = bench.open()

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("foreshock_dashboard.store.wal.isal_zlib.crc32", fail)
        assert append_together(store, [scrape(0), scrape(1)], eventually) == [False, False]
    assert store.ready()[0] is False
    store.append_samples([scrape(2)])
    assert store.ready() == (True, "")
    store.close()
    assert set(values(bench.open(), 3)) == {2}


def test_cutting_a_block_keeps_wal_records_that_no_block_holds(bench: Bench, scrape: Scrape, values: Values) -> None:
    """A record reached the WAL but not the head, between two that did: the next start replays it."""
    store = bench.open()
    store.append_samples([scrape(0)])
    head = store._samples.head
    append = head.append
    head.append = lambda record_id, batch: None  # type: ignore[method-assign]  # the loss to survive
    store.append_samples([scrape(1)])
    head.append = append  # type: ignore[method-assign]
    store.append_samples([scrape(2)])
    store.maintain()
    assert store.stats().wal_rows == 1
    store.close()
    store = bench.open()
    assert set(values(store, 3)) == {0, 1, 2}
    store.maintain()
    assert store.stats().wal_rows == 0
    assert set(values(store, 3)) == {0, 1, 2}


@given(ids=st.sets(st.integers(1, 40), min_size=1), others=st.sets(st.integers(1, 40)))
def test_contiguous_ranges_cover_the_ids_and_no_other_present_id(ids: set[int], others: set[int]) -> None:
    """They are as few as possible."""
    others -= ids
    ranges = contiguous_ranges(sorted(ids), sorted(ids | others))
    covered = {number for first, last in ranges for number in range(first, last + 1)}
    assert ids <= covered
    assert not covered & others
    for (_, last), (first, _) in itertools.pairwise(ranges):
        assert any(last < other < first for other in others)


# --- maintenance


@pytest.mark.parametrize("step", ["compact", "scrub", "expire", "rotate", "flush"])
def test_maintenance_survives_any_error_reports_it_once_and_runs_the_other_steps(
    bench: Bench,
    scrape: Scrape,
    span: MakeSpan,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: str,
) -> None:
    """Also an error without a message; span blocks are cut although a step of the samples fails."""
    store = bench.open()
    store.append_samples([scrape(0)])
    store.append_spans([span()])
    bench.time += TRUSTED_AFTER_SECONDS

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(store._samples if hasattr(store._samples, step) else store._samples.head, step, fail)
        for _ in range(3):
            store.maintain()
        assert "MemoryError" in store.stats().last_error
        assert len([record for record in caplog.records if "maintenance failed" in record.message]) == 1
        assert len(store._spans.blocks()) == 1
    store.maintain()
    assert store.stats().last_error == ""


def test_a_store_is_not_ready_after_a_minute_of_failing_maintenance(
    bench: Bench, scrape: Scrape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single failure is tolerated; the first success ends it."""
    store = bench.open()
    store.append_samples([scrape(0)])

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(store._samples, "compact", fail)
        store.maintain()
        assert store.ready() == (True, "")
        bench.time += 61
        store.maintain()
        assert store.ready() == (False, store.stats().last_error)
    store.maintain()
    assert store.ready() == (True, "")


def test_cutting_a_block_makes_room_in_a_full_head(bench: Bench, scrape: Scrape, values: Values) -> None:
    """Pending rows do not fit into the table, whose block is cut nevertheless."""
    store = bench.open()
    store.append_samples([scrape(0)])
    store._samples.head.flush()
    form: Any = store._samples.block_format
    insert = form.insert

    def until_sealed(table: object, chunks: object) -> None:
        if not store._samples.blocks():
            raise duckdb.OutOfMemoryException("no room")
        insert(table, chunks)

    form.insert = until_sealed
    store.append_samples([scrape(1)])
    store.maintain()
    assert "no room" in store.stats().last_error
    store.maintain()
    assert store.stats().last_error == ""
    assert store.stats().head_samples == 0
    assert set(values(store, 2)) == {0, 1}


class UnsyncedDisk(Disk):
    """A disk that fails to sync the folder of sample blocks while `failing`."""

    failing = True

    def sync(self, path: Path) -> None:
        if self.failing and path.name == "metrics":
            raise OSError(5, "Input/output error")
        super().sync(path)


def test_a_block_whose_last_sync_failed_is_written_again(bench: Bench, scrape: Scrape, values: Values) -> None:
    """It was renamed, but not synced: neither stuck nor duplicated."""
    disk = UnsyncedDisk()
    store = bench.open(disk=disk)
    store.append_samples([scrape(0)])
    store.maintain()
    assert "Input/output error" in store.stats().last_error
    disk.failing = False
    store.maintain()
    assert store.stats().last_error == ""
    assert sum(meta.rows for meta in store._samples.blocks()) == 3
    store.close()
    store = bench.open()
    assert set(values(store, 1)) == {0}
    assert sum(meta.rows for meta in store._samples.blocks()) == 3


def test_one_maintenance_makes_room_after_refused_appends(bench: Bench, scrape: Scrape, values: Values) -> None:
    """Even if a block that could not be written was waiting before."""
    disk = FullDisk()
    store = bench.open(replace(CUT_ALWAYS, max_head_bytes=3_000), disk=disk)
    store.append_samples([scrape(0)])
    disk.full = True
    store.maintain()
    disk.full = False
    acknowledged = 1
    while accepted(store, scrape(acknowledged)):
        acknowledged += 1
    ready, reason = store.ready()
    assert not ready
    assert "wait to be written to blocks" in reason
    store.maintain()
    assert store.ready() == (True, "")
    assert store.stats().head_samples == 0
    assert accepted(store, scrape(acknowledged))
    assert set(values(store, acknowledged + 1)) == set(range(acknowledged + 1))


def accepted(store: Store, batch: SampleBatch) -> bool:
    try:
        store.append_samples([batch])
    except StoreError:
        return False
    return True
