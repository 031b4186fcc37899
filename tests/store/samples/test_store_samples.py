"""Samples in the store: order, duplicates, staleness, and answers that do not depend on where the samples are."""

from __future__ import annotations

import math
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.store.conftest import CUT_ALWAYS

from foreshock_dashboard.model.query import Matcher, Query, Reduce
from foreshock_dashboard.model.samples import STALE, Sample, SampleBatch, labels_of
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.store import Store, StoreLimits
from foreshock_dashboard.store.store import RECORD_SAMPLES

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.store.conftest import Bench, Scrape, Values

T0 = 1_790_000_000


def test_samples_that_arrive_out_of_order_are_read_in_order(bench: Bench, scrape: Scrape, values: Values) -> None:
    """Across head and blocks."""
    store = bench.open()
    for n in (3, 0, 2, 1):
        store.append_samples([scrape(n)])
        if n == 0:
            store.maintain()
    assert values(store, 4) == {n: [float(n)] * 3 for n in range(4)}


def test_of_samples_with_equal_times_the_first_counts(bench: Bench, scrape: Scrape, values: Values) -> None:
    """As in Prometheus; also after cutting, compacting and reopening."""
    store = bench.open()
    for n in range(6):
        store.append_samples([scrape(n), scrape(n, value=-1.0)])
        store.maintain()
        store.append_samples([scrape(n, value=-2.0)])
    store.maintain()
    assert any(meta.level == 1 for meta in store._samples.blocks())
    assert values(store, 6) == {n: [float(n)] * 3 for n in range(6)}
    store.close()
    assert values(bench.open(), 6) == {n: [float(n)] * 3 for n in range(6)}


def test_a_stale_series_is_absent_until_its_next_sample(bench: Bench, scrape: Scrape) -> None:
    """The staleness marker survives WAL, DuckDB and Parquet bit for bit."""
    store = bench.open()
    store.append_samples([scrape(0), scrape(1, value=STALE), scrape(3), scrape(4, value=math.nan)])
    for _ in range(2):
        matrix = store.fetch(Query("m", window=25), T0 + 5, T0 + 45, 10)
        assert [None if math.isnan(v) else v for v in matrix.values[0]] == [0.0, None, None, 3.0, None]
        store.maintain()
    bits = store._engine.execute(
        "select bits from read_parquet($f) where time = $t",
        {"f": str(bench.path / "metrics/0000000001.0/samples.parquet"), "t": (T0 + 10) * 1000},
    ).fetchall()
    assert {bit for (bit,) in bits} == {0x7FF0000000000002}


def test_metric_names_are_those_with_samples(bench: Bench, scrape: Scrape) -> None:
    """In the head, in blocks, and after reopening before any query."""
    store = bench.open()
    store.append_samples([scrape(0, metric="on_disk")])
    store.maintain()
    store.append_samples([scrape(1, metric="in_memory")])
    assert store.metric_names() == {"on_disk", "in_memory"}
    store.close()
    assert bench.open().metric_names() == {"on_disk", "in_memory"}


def test_a_sample_is_visible_as_soon_as_append_returns(bench: Bench, scrape: Scrape, values: Values) -> None:
    """From many threads, while another one cuts and compacts."""
    store = bench.open()
    failures: list[str] = []
    stop = threading.Event()

    def append(number: int) -> None:
        for n in range(number, 120, 4):
            store.append_samples([scrape(n)])
            if values(store, 120).get(n) != [float(n)] * 3:
                failures.append(f"scrape {n} is not visible, or incomplete")

    def maintain() -> None:
        while not stop.is_set():
            store.maintain()

    threads = [threading.Thread(target=append, args=(number,)) for number in range(4)]
    maintainer = threading.Thread(target=maintain)
    maintainer.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    maintainer.join()
    assert not failures
    assert values(store, 120) == {n: [float(n)] * 3 for n in range(120)}


def test_a_request_of_several_wal_records_is_stored_as_a_whole(bench: Bench) -> None:
    """It is one transaction."""
    store = bench.open()
    labels = [labels_of({"n": str(n)}) for n in range(1_000)]
    batches = [SampleBatch(T0 + 10 * k, "t", tuple(Sample("m", pair, float(k)) for pair in labels)) for k in range(120)]
    store.append_samples(batches)
    assert store.stats().wal_rows == 120_000 // RECORD_SAMPLES
    assert store.fetch(Query("m", by=()), T0, T0 + 1190, 10).values.sum() == 1_000 * sum(range(120))


def test_empty_requests_leave_no_trace(bench: Bench) -> None:
    """Empty requests leave no trace."""
    store = bench.open()
    store.append_samples([])
    store.append_spans([])
    store.append_samples([SampleBatch(T0, "t", ())])
    store.maintain()
    assert store.stats().blocks == 0
    assert len(store.fetch(Query("m"), T0, T0 + 10, 1)) == 0


def test_stats_show_where_the_data_is(bench: Bench, scrape: Scrape) -> None:
    """Including the time of the oldest sample."""
    store = bench.open()
    assert store.stats().oldest is None
    store.append_samples([scrape(5)])
    before = store.stats()
    assert (before.wal_rows, before.head_samples, before.blocks, before.oldest) == (1, 3, 0, T0 + 50)
    store.maintain()
    after = store.stats()
    assert (after.wal_rows, after.head_samples, after.blocks, after.oldest) == (0, 0, 1, T0 + 50)
    assert after.block_bytes < after.disk_bytes


values_ = st.sampled_from([0.0, 1.5, -3.0, 1e9, math.nan, math.inf, STALE])
points = st.tuples(st.integers(0, 60), st.sampled_from(["m", "n_bucket"]), st.sampled_from("abc"), values_)
batches_ = st.lists(points, min_size=1, max_size=8)
QUESTIONS = [
    Query("m", (Matcher("pod", "=~", "a|b"),), None, "last", 29),
    Query("m", (), ("pod",), "rate", 29),
    Query("m", (), None, "increase", 29),
    Query("n", (), None, "buckets", 29),
]


class Anywhere(RuleBasedStateMachine):
    """Answers equal those of a store that only appends, whatever is cut, compacted or reopened in between."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        self.path = root / "moved"
        never = StoreLimits(block_bytes=1 << 40, block_seconds=1e9, duckdb_threads=1)
        self.still = Store.open(root / "still", now=lambda: float(T0), limits=never)
        self.moved = self._open()

    def _open(self) -> Store:
        return Store.open(self.path, now=lambda: float(T0), limits=CUT_ALWAYS)

    @rule(samples=batches_)
    def append(self, samples: list[tuple[int, str, str, float]]) -> None:
        batches = [
            SampleBatch(T0 + time, "t", (Sample(metric, labels_of({"pod": pod, "le": "1"}), value),))
            for time, metric, pod, value in samples
        ]
        self.still.append_samples(batches)
        self.moved.append_samples(batches)

    @rule(samples=batches_)
    def append_spans(self, samples: list[tuple[int, str, str, float]]) -> None:
        spans = []
        for time, name, pod, _ in samples:
            ids, start = (f"{time % 7:032x}", f"{time:016x}"), (T0 + time) * 10**9
            spans.append(Span(*ids, "", name, "server", start, start + 5, "unset", "", {}, {"pod": pod}))
        self.still.append_spans(spans)
        self.moved.append_spans(spans)

    @rule()
    def cut_and_compact(self) -> None:
        self.moved.maintain()

    @rule()
    def reopen(self) -> None:
        self.moved.close()
        self.moved = self._open()

    @precondition(lambda self: hasattr(self, "moved"))
    @invariant()
    def answers_are_equal(self) -> None:
        for query in QUESTIONS:
            one = self.still.fetch(query, T0 - 5.5, T0 + 90.5, 4)
            other = self.moved.fetch(query, T0 - 5.5, T0 + 90.5, 4)
            assert one.labels == other.labels
            np.testing.assert_array_equal(one.values, other.values)
        assert self.still.metric_names() == self.moved.metric_names()
        for trace in range(7):
            one_, other_ = self.still.get(f"{trace:032x}"), self.moved.get(f"{trace:032x}")
            assert [(s.span_id, s.start_ns) for s in one_] == [(s.span_id, s.start_ns) for s in other_]
        assert self.moved.stats().corrupt == 0

    def teardown(self) -> None:
        if hasattr(self, "moved"):
            self.still.close()
            self.moved.close()
            self.folder.cleanup()


Anywhere.TestCase.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
TestAnywhere = pytest.mark.filterwarnings("error")(Anywhere.TestCase)


@pytest.mark.parametrize("reduce", ["last", "rate", "increase", "buckets"])
def test_an_unknown_metric_has_no_series(bench: Bench, scrape: Scrape, reduce: Reduce) -> None:
    """The times are those of the grid."""
    store = bench.open()
    store.append_samples([scrape(0)])
    matrix = store.fetch(Query("absent", reduce=reduce), T0, T0 + 30, 10)
    assert len(matrix) == 0
    assert matrix.times.tolist() == [T0, T0 + 10, T0 + 20, T0 + 30]
