"""Whatever fails behind the inbox: acknowledged data is there once, upkeep goes on, readiness says why."""

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
from tests.store.conftest import CUT_ALWAYS

from foreshock_dashboard.model.query import Query
from foreshock_dashboard.model.samples import Sample, SampleBatch
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.store import Store, StoreError, StoreLimits
from foreshock_dashboard.store.blocks.block_meta import contiguous_ranges

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.store.conftest import Bench, MakeSpan, Scrape, Values

ERRORS = [duckdb.OutOfMemoryException("failed to offload data block"), MemoryError()]
NAMES = ["duckdb", "python"]


@dataclass
class Engine:
    """A DuckDB that fails while `error` is set."""

    real: Any
    error: Exception | None = None

    def cursor(self) -> duckdb.DuckDBPyConnection:
        if self.error is not None:
            raise self.error
        made: duckdb.DuckDBPyConnection = self.real.cursor()
        return made


def faulty(store: Store) -> Engine:
    """Let samples be written to an engine that can be made to fail."""
    form: Any = store._samples.block_format
    form.engine = engine = Engine(form.engine)
    return engine


def together(store: Store, scrapes: list[SampleBatch], eventually: Eventually) -> list[bool]:
    """Append scrapes, each by a thread of its own, in one commit; tells which were acknowledged."""
    kept = [False] * len(scrapes)

    def send(at: int) -> None:
        try:
            store.append_samples([scrapes[at]])
            kept[at] = True
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
    return kept


@pytest.mark.parametrize("error", ERRORS, ids=NAMES)
def test_when_memory_fails_between_appends_of_one_commit_all_that_was_acknowledged_stays(
    bench: Bench, scrape: Scrape, values: Values, eventually: Eventually, error: Exception
) -> None:
    """Three senders share a commit, DuckDB fails, a later scrape goes well, a segment is written, the store reopens."""
    store = bench.open(replace(CUT_ALWAYS, flush_rows=1))
    engine = faulty(store)
    store.append_samples([scrape(0)])
    engine.error = error
    assert together(store, [scrape(n) for n in (1, 2, 3)], eventually) == [True] * 3
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
steps_ = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 3)),
        st.tuples(st.sampled_from(["break", "mend", "maintain", "read", "spans", "reopen"]), st.just(0)),
    ),
    max_size=14,
)


@settings(max_examples=25, deadline=None)
@given(steps=steps_, error=st.sampled_from(ERRORS))
def test_acknowledged_scrapes_are_there_once_whenever_memory_fails(steps: list[Step], error: Exception) -> None:
    """Any order of shared commits, failures, upkeep, queries and restarts."""
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
    """A store, and what it acknowledged."""

    def __init__(self, folder: Path, error: Exception) -> None:
        self.folder, self.error, self.told, self.number = folder, error, set[int](), 0
        self.open()

    def open(self) -> None:
        self.store = Store.open(
            self.folder, now=lambda: 1e9, limits=StoreLimits(block_bytes=1, flush_rows=4, duckdb_threads=1)
        )
        self.engine = faulty(self.store)

    def step(self, name: str, count: int) -> None:
        match name:
            case "append":
                self.append(count)
            case "break":
                self.engine.error = self.error
            case "mend":
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
        """A commit that several share: what one thread queued is kept by the next one that comes."""
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
        self.told.add(number)

    def check(self) -> None:
        if not self.number:
            return
        matrix = self.store.fetch(Query("m", window=1), 1e9, 1e9 + self.number - 1, 1)
        assert matrix.values.tolist() in ([], [[float(n) for n in range(self.number)]] * 2)
        assert self.told == set(range(self.number))
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


def test_an_append_that_meets_something_unforeseen_is_refused_to_all_who_share_it(
    bench: Bench, scrape: Scrape, values: Values, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told "kept" for what was not, and the next append works."""
    store = bench.open()

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("foreshock_dashboard.store.wal.isal_zlib.crc32", fail)
        assert together(store, [scrape(0), scrape(1)], eventually) == [False, False]
    assert store.ready()[0] is False
    store.append_samples([scrape(2)])
    assert store.ready() == (True, "")
    store.close()
    assert set(values(bench.open(), 3)) == {2}


def test_sealing_leaves_inbox_rows_that_no_piece_holds(bench: Bench, scrape: Scrape, values: Values) -> None:
    """A row that reached the inbox but not the memory, between two that did: the next start finds it."""
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


@given(held=st.sets(st.integers(1, 40), min_size=1), strays=st.sets(st.integers(1, 40)))
def test_stretches_cover_what_is_held_and_nothing_else_that_is_present(held: set[int], strays: set[int]) -> None:
    """And they are as few as that allows."""
    strays -= held
    found = contiguous_ranges(sorted(held), sorted(held | strays))
    covered = {number for first, last in found for number in range(first, last + 1)}
    assert held <= covered
    assert not covered & strays
    for (_, last), (first, _) in itertools.pairwise(found):
        assert any(last < stray < first for stray in strays)


# --- upkeep


@pytest.mark.parametrize("step", ["compact", "scrub", "expire", "rotate", "flush"])
def test_upkeep_survives_anything_tells_it_once_and_does_the_rest(
    bench: Bench,
    scrape: Scrape,
    span: MakeSpan,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: str,
) -> None:
    """An error without a message, too; spans are sealed although the samples' upkeep fails."""
    store = bench.open()
    store.append_samples([scrape(0)])
    store.append_spans([span()])

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(store._samples if hasattr(store._samples, step) else store._samples.head, step, fail)
        for _ in range(3):
            store.maintain()
        assert "MemoryError" in store.stats().last_error
        assert len([record for record in caplog.records if "upkeep failed" in record.message]) == 1
        assert len(store._spans.blocks()) == 1
    store.maintain()
    assert store.stats().last_error == ""


def test_a_store_whose_upkeep_fails_for_a_minute_is_not_ready(
    bench: Bench, scrape: Scrape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One failure is no alarm; it ends with the first upkeep that goes well."""
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


def test_memory_that_cannot_take_more_is_emptied_by_sealing(bench: Bench, scrape: Scrape, values: Values) -> None:
    """What waits does not fit in: the table is sealed all the same, which makes the room."""
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


def test_a_segment_whose_name_was_given_when_the_disk_failed_is_written_again(
    bench: Bench, scrape: Scrape, values: Values, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rename was done, its sync was not: neither stuck nor doubled."""
    store = bench.open()
    store.append_samples([scrape(0)])
    disk = store._samples.block_dir._disk
    sync = disk.sync

    def fail(path: Path) -> None:
        if path.name == "metrics":
            raise OSError(5, "Input/output error")
        sync(path)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "sync", fail)
        store.maintain()
        assert "Input/output error" in store.stats().last_error
    store.maintain()
    assert store.stats().last_error == ""
    assert sum(meta.rows for meta in store._samples.blocks()) == 3
    store.close()
    store = bench.open()
    assert set(values(store, 1)) == {0}
    assert sum(meta.rows for meta in store._samples.blocks()) == 3


def test_after_so_much_waited_that_data_was_refused_one_upkeep_makes_room(
    bench: Bench, scrape: Scrape, values: Values, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a segment that could not be written is waiting before the burst."""
    store = bench.open(replace(CUT_ALWAYS, max_head_bytes=3_000))
    store.append_samples([scrape(0)])

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store._samples.block_format, "write", fail)
        store.maintain()
    kept = 1
    while accepted(store, scrape(kept)):
        kept += 1
    ready, reason = store.ready()
    assert not ready
    assert "wait to be written to segments" in reason
    store.maintain()
    assert store.ready() == (True, "")
    assert store.stats().head_samples == 0
    assert accepted(store, scrape(kept))
    assert set(values(store, kept + 1)) == set(range(kept + 1))


def accepted(store: Store, batch: SampleBatch) -> bool:
    try:
        store.append_samples([batch])
    except StoreError:
        return False
    return True
