"""Series churn: queries are correct while series appear and disappear, and unused series free their place."""

from __future__ import annotations

import sys
import threading
import tracemalloc
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.store.conftest import CUT_ALWAYS

from foreshock_dashboard.model.query import Query, SourceError
from foreshock_dashboard.model.samples import TARGET_METRICS, Labels, Sample, SampleBatch
from foreshock_dashboard.store import Store, StoreLimits
from foreshock_dashboard.store.blocks.block_store import BLOCKS_PER_COMPACTION
from foreshock_dashboard.store.blocks.format import Columns
from foreshock_dashboard.store.samples import format as samples_format
from foreshock_dashboard.store.samples import series_index
from foreshock_dashboard.store.samples.format import SAMPLES_FILE, SERIES_FILE, SampleFormat
from foreshock_dashboard.store.samples.series_index import SeriesIndex, positions, series_text

if TYPE_CHECKING:
    from tests.store.conftest import Bench


def batch(time: float, names: Iterable[int]) -> SampleBatch:
    """One sample of each of some series."""
    return SampleBatch(time, "t", tuple(Sample("m", (("i", str(name)),), float(name)) for name in names))


def test_queries_work_while_other_threads_add_series(bench: Bench) -> None:
    """A series that appears between selection and reading is not in that answer."""
    store = bench.open(StoreLimits(flush_rows=1, duckdb_threads=1))
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
            values = {labels[0][1]: value for labels, (value,) in zip(matrix.labels, matrix.values, strict=True)}
            assert {"0", "1", "2"} <= set(values)
            assert all(float(name) == value for name, value in values.items())
    finally:
        sys.setswitchinterval(interval)
        done.set()
        for thread in threads:
            thread.join(30)


def test_a_series_that_appears_during_a_query_does_no_harm(bench: Bench) -> None:
    """Exactly between selection and reading."""
    store = bench.open(StoreLimits(duckdb_threads=1))
    store.append_samples([batch(bench.time, range(3))])
    reader = store._sample_reader
    statements = reader._statements

    def late(*arguments: object) -> object:
        store.append_samples([batch(bench.time, range(3, 30))])
        store._samples.head.flush()
        return statements(*arguments)  # type: ignore[arg-type]  # passed through

    reader._statements = late  # type: ignore[method-assign, assignment]  # the moment to hit
    assert len(store.fetch(Query("m", window=5), bench.time, bench.time, 1).values) == 3
    reader._statements = statements  # type: ignore[method-assign]
    assert len(store.fetch(Query("m", window=5), bench.time, bench.time, 1).values) == 30


@pytest.mark.parametrize(
    ("ascending", "refs", "found"),
    [
        ([2, 5, 9], [5, 2, 9, 5], [1, 0, 2, 1]),
        ([2, 5, 9], [1, 3, 10], [-1, -1, -1]),
        ([], [1, 0], [-1, -1]),
        ([2], [], []),
    ],
)
def test_a_series_that_is_not_selected_has_no_position(ascending: list[int], refs: list[int], found: list[int]) -> None:
    assert positions(np.array(ascending, np.int32), np.array(refs, np.int32)).tolist() == found


def names_of(store: Store, metric: str, time: float) -> set[str]:
    """Names of the series with a sample at a time."""
    return {labels[0][1] for labels in store.fetch(Query(metric, window=5), time, time, 1).labels}


def test_series_in_blocks_only_do_not_count_for_the_limit(bench: Bench) -> None:
    """Days of pod churn: one series stays, the others are new in each round; none is dropped, all can be read."""
    store = bench.open(replace(CUT_ALWAYS, max_series=20))
    for n in range(30):
        names = [0, *range(1 + 8 * n, 9 + 8 * n)]
        store.append_samples([batch(bench.time + 10 * n, names)])
        if n % 3 == 0:  # series of blocks have a limit of their own
            assert names_of(store, "m", bench.time + 10 * n) == set(map(str, names))
        store.maintain()
    assert store.stats().dropped_samples == 0
    assert store.stats().series <= 20
    for n in range(30):
        assert names_of(store, "m", bench.time + 10 * n) == {"0", *map(str, range(1 + 8 * n, 9 + 8 * n))}
    assert store.fetch(Query("m", by=(), window=299), bench.time, bench.time + 40, 10).values.shape == (1, 5)


def test_a_series_that_is_scraped_again_keeps_its_ref(bench: Bench) -> None:
    """Refs are never reused: a hub with 100,000 series would run out of them in weeks."""
    store = bench.open(CUT_ALWAYS)
    for n in range(3):
        store.append_samples([batch(bench.time + 10 * n, range(5))])
        store.maintain()
    assert store._index._next_ref == 5
    for n in range(3, 6):  # the series end
        store.append_samples([batch(bench.time + 10 * n, [9])])
        store.maintain()
    assert store.stats().series == 1


@pytest.mark.parametrize("reopened", [False, True], ids=["running", "after a restart"])
def test_a_full_index_takes_the_state_of_new_targets(bench: Bench, reopened: bool) -> None:
    """Else a target that is found later would seem never to have been scraped."""
    limits = StoreLimits(max_series=20)
    store = bench.open(limits)
    store.append_samples([batch(bench.time, range(40))])
    for target in ("a:9400", "b:9400"):
        labels = (("instance", target),)
        samples = (Sample("m", labels, 1.0), *(Sample(metric, labels, 1.0) for metric in TARGET_METRICS))
        store.append_samples([SampleBatch(bench.time, target, samples, own=len(TARGET_METRICS))])
    if reopened:
        store.close()
        store = bench.open(limits)
    assert store.stats().series == 20 + 2 * len(TARGET_METRICS)
    for metric in TARGET_METRICS:
        assert names_of(store, metric, bench.time) == {"a:9400", "b:9400"}
    assert names_of(store, "m", bench.time) == {str(name) for name in range(20)}
    assert store.refused_series([("m", (("i", "99"),))])


def numbered(metric: str, count: int) -> list[tuple[str, Labels]]:
    return [(metric, (("i", str(n)),)) for n in range(count)]


def test_the_state_of_targets_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target may expose as many series of `up` as it likes: they take none of the room for those of the scraper."""
    monkeypatch.setattr(series_index, "MAX_TARGET_SERIES", 3)
    index = SeriesIndex(2)
    assert index.intern(numbered("m", 3))[0] == [0, 1, -1]
    assert index.intern(numbered("up", 2))[0] == [-1, -1]
    assert index.intern(numbered("up", 5), [False, True, True, True, True])[0] == [-1, 2, 3, 4, -1]
    assert len(index) == 5
    assert index.refused(numbered("up", 5)) == {numbered("up", 5)[place] for place in (0, 4)}


def test_a_target_that_exposes_series_about_targets_hides_no_other_target(bench: Bench) -> None:
    """A federation page has `up` of thousands of targets."""
    store = bench.open(StoreLimits(max_series=4))
    labels = (("instance", "federation:9090"),)
    exposed = [Sample(metric, labels, 1.0) for metric, labels in numbered("up", 20)]
    own = [Sample(metric, labels, 1.0) for metric in TARGET_METRICS]
    store.append_samples([SampleBatch(bench.time, "federation:9090", (*exposed, *own), own=len(own))])
    assert store.stats().series == 4 + len(TARGET_METRICS)
    assert "federation:9090" in names_of(store, "up", bench.time)


def test_blocks_are_cut_after_millions_of_series(bench: Bench) -> None:
    """After some hours of 10,000 series, a table by ref no longer fitted into memory, and the head only grew."""
    store = bench.open(replace(CUT_ALWAYS, duckdb_memory="32MB"))
    store._index._next_ref = 20_000_000
    store.append_samples([batch(bench.time, [3, 1, 2])])
    store.maintain()
    assert store.ready() == (True, "")
    assert store.stats().blocks == 1
    assert names_of(store, "m", bench.time) == {"1", "2", "3"}


def test_blocks_are_merged_a_few_rows_at_a_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """So merging takes little memory. Blocks have some series in common, and a metric of which not all have samples."""
    monkeypatch.setattr(samples_format, "MERGED_ROWS", 7)
    store = bench.open(replace(CUT_ALWAYS, max_series=100))
    written = [range(n, 40 - n * n) for n in range(BLOCKS_PER_COMPACTION)]
    for n, names in enumerate(written):
        own = SampleBatch(bench.time + n, "t", (Sample(f"a{n}", (), 1.0),))
        store.append_samples([batch(bench.time + n, names), batch(bench.time + n - 0.5, names), own])
        store.maintain()
    (block,) = store._samples.manifest.blocks
    assert block.meta.level == 1
    sql = "select * from read_parquet($file)"
    rows = store._engine.execute(sql, {"file": str(block.folder / SAMPLES_FILE)}).fetchall()
    assert [row[:2] for row in rows] == sorted(row[:2] for row in rows)
    assert len(rows) == sum(2 * len(names) + 1 for names in written)
    for n, names in enumerate(written):
        assert names_of(store, "m", bench.time + n) >= set(map(str, names))
        matrix = store.fetch(Query("m", window=0.4), bench.time + n, bench.time + n, 1)
        assert {labels[0][1]: value for labels, (value,) in zip(matrix.labels, matrix.values, strict=True)} == {
            str(name): float(name) for name in names
        }
        assert store.fetch(Query(f"a{n}", window=0.4), bench.time + n, bench.time + n, 1).values.tolist() == [[1.0]]


def test_a_merge_reads_few_rows_at_a_time_however_they_are_spread(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three series are in every scrape; of 120 pods, each is in one only."""
    store = bench.open(CUT_ALWAYS)
    for n in range(BLOCKS_PER_COMPACTION):
        lasting = tuple(Sample("a", (("i", str(name)),), 1.0) for name in range(3))
        store.append_samples(
            [batch(bench.time + n, range(20 * n, 20 * n + 20)), SampleBatch(bench.time + n, "t", lasting)]
        )
        store.maintain(merge=False)
    sizes: list[int] = []
    ordered = samples_format._ordered

    def counted(columns: Columns) -> Columns:
        sizes.append(len(columns["time"]))
        return ordered(columns)

    monkeypatch.setattr(samples_format, "MERGED_ROWS", 7)
    monkeypatch.setattr(samples_format, "_ordered", counted)
    store.maintain()
    assert store.stats().blocks == 1
    assert sum(sizes) == 23 * BLOCKS_PER_COMPACTION
    assert max(sizes) == 7
    assert len(sizes) <= 20


def test_blocks_are_cut_and_merged_with_few_texts_of_series_in_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them would be the largest part of a hub's peak."""
    monkeypatch.setattr(samples_format, "SERIES_ROWS", 128)
    store, peaks = bench.open(CUT_ALWAYS), []
    names = [(f"m{number % 20}", (("text", f"{number} {'x' * 1_000}"),)) for number in range(3_000)]
    for n in range(BLOCKS_PER_COMPACTION):
        store.append_samples([SampleBatch(bench.time + n, "t", tuple(Sample(*name, 1.0) for name in names))])
        tracemalloc.start()
        store.maintain()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    (block,) = store._samples.manifest.blocks
    assert (block.meta.level, block.meta.rows) == (1, BLOCKS_PER_COMPACTION * len(names))
    assert max(peaks[1:]) < 2 / 3 * 1_000 * len(names)  # the first cut imports modules
    assert len(names_of(store, "m7", bench.time)) == len(names) / 20


def write_block(engine: duckdb.DuckDBPyConnection, folder: Path, samples: list[tuple[str, int]]) -> Path:
    """Write a block in which each series, in this order, has one sample."""
    folder.mkdir(parents=True)
    texts = [series_text(metric, ()) for metric, _ in samples]
    samples_format._write_series(engine, texts, folder)
    values = ", ".join(f"({n}::integer, {1_000 * n}::bigint, {bits}::bigint)" for n, (_, bits) in enumerate(samples))
    file = folder / SAMPLES_FILE
    engine.execute(f"copy (from (values {values}) as rows(series, time, bits)) to '{file}' (format parquet)")
    return folder


def test_a_block_whose_series_are_not_sorted_is_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its series would be twice in the merged block, in which each metric is one range."""
    monkeypatch.setattr(samples_format, "MERGED_ROWS", 2)
    with duckdb.connect() as engine:
        blocks = [
            write_block(engine, tmp_path / "a", [("c", 1), ("a", 2), ("d", 3)]),
            write_block(engine, tmp_path / "b", [("a", 4), ("b", 5), ("c", 6)]),
        ]
        (out := tmp_path / "out").mkdir()
        assert SampleFormat(SeriesIndex(10), engine).merge(blocks, out) == 6
        rows = engine.execute(
            "select text, bits from read_parquet($samples) join read_parquet($series) on id = series order by id, time",
            {"samples": str(out / SAMPLES_FILE), "series": str(out / SERIES_FILE)},
        ).fetchall()
        texts = engine.execute(
            "select text from read_parquet($f) order by id", {"f": str(out / SERIES_FILE)}
        ).fetchall()
    assert rows == [(series_text(metric, ()), bits) for metric, bits in zip("aabccd", (4, 2, 5, 1, 6, 3), strict=True)]
    assert [text for (text,) in texts] == [series_text(metric, ()) for metric in "abcd"]


def test_a_block_is_not_written_without_the_names_of_its_series(bench: Bench) -> None:
    """Its samples stay in memory, and the error is shown."""
    store = bench.open()
    store.append_samples([batch(bench.time, range(3)), SampleBatch(bench.time, "t", (Sample("n", (), 1.0),))])
    del store._index._by_metric["m"][(("i", "1"),)]
    store.maintain()
    assert (store.stats().blocks, store.stats().head_samples) == (0, 4)
    assert "1 of 4 series with samples in memory are not in the index" in store.stats().last_error


def test_a_query_of_more_block_series_than_the_limit_is_refused(bench: Bench) -> None:
    """Narrower queries are answered, however many series they have together."""
    store = bench.open(replace(CUT_ALWAYS, max_block_series=10))
    for n in range(3):
        store.append_samples([batch(bench.time + 10 * n, range(8 * n, 8 * n + 8))])
        store.maintain()
    with pytest.raises(SourceError, match="m has more than 10 series in that range; narrow the range"):
        store.fetch(Query("m", window=5), bench.time, bench.time + 20, 10)
    for n in (0, 1, 2, 0):
        assert names_of(store, "m", bench.time + 10 * n) == set(map(str, range(8 * n, 8 * n + 8)))


def test_a_series_in_head_and_blocks_is_one_series(bench: Bench) -> None:
    """It has a ref in each; a query returns it once, with all samples."""
    store = bench.open()
    for n in range(4):
        store.append_samples([batch(bench.time + 10 * n, range(n, n + 3))])
        if n < 3:
            store.maintain()
    matrix = store.fetch(Query("m", window=5), bench.time, bench.time + 30, 10)
    present = {
        labels[0][1]: (~np.isnan(row)).tolist() for labels, row in zip(matrix.labels, matrix.values, strict=True)
    }
    assert present == {str(name): [n <= name < n + 3 for n in range(4)] for name in range(6)}


def test_no_series_is_missing_during_churn_cuts_and_collection(bench: Bench) -> None:
    """Two writers of changing series, maintenance and queries run concurrently."""
    store = bench.open(replace(CUT_ALWAYS, max_series=5_000))
    appended: list[int] = []
    ended: list[str] = []

    def write(first: int) -> None:
        for n in range(first, first + 120):
            store.append_samples([batch(bench.time + n, [n, n + 1, 7])])
            appended.append(n)
        ended.append("writer")

    def maintain() -> None:
        while len(ended) < 2:
            store.maintain()

    threads = [threading.Thread(target=write, args=(first,)) for first in (1_000, 2_000)]
    threads.append(threading.Thread(target=maintain))
    for thread in threads:
        thread.start()
    while len(ended) < 2 and any(thread.is_alive() for thread in threads[:2]):
        for n in appended[-3:]:
            assert names_of(store, "m", bench.time + n) >= {str(n), str(n + 1), "7"}
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert len(appended) == 240
    assert store.stats().dropped_samples == 0
    assert store.stats().last_error == ""
    for n in appended[::10]:
        assert names_of(store, "m", bench.time + n) >= {str(n), str(n + 1), "7"}
    for n in (9_000, 9_001):  # the series of a cut are collected after the next one
        store.append_samples([batch(bench.time + n, [7])])
        store.maintain()
    assert store.stats().series == 1


class IndexMachine(RuleBasedStateMachine):
    """Series that are pinned or in the head stay; all others are collected; no ref is reused."""

    def __init__(self) -> None:
        super().__init__()
        self.index = SeriesIndex(50)
        self.stack = ExitStack()
        self.pinned: dict[int, str] = {}
        self.in_head: dict[int, str] = {}
        self.names: dict[int, str] = {}

    @rule(names=st.sets(st.sampled_from("abcdefgh"), min_size=1))
    def intern(self, names: set[str]) -> None:
        """Begin an append, which pins the series it interns."""
        self.stack.enter_context(self.index.pinned())
        refs, metrics = self.index.intern((n, ()) for n in sorted(names))
        for name, number, metric in zip(sorted(names), refs, metrics, strict=True):
            assert self.names.setdefault(number, name) == name
            assert self.index.metric_names([metric]) == {name}
            self.pinned[number] = name

    @rule(stays=st.booleans())
    def end(self, stays: bool) -> None:
        """End all appends. Their series are in the head then, or were refused."""
        if stays:
            self.in_head |= self.pinned
        self.pinned = {}
        self.stack.close()

    @rule()
    def cut(self) -> None:
        """Empty the head and collect unused series."""
        self.in_head = {}
        self.collect()
        assert len(self.index) >= len(self.pinned)
        if not self.pinned:
            assert len(self.index) == 0
            assert self.index.metric_ref("a") is None

    @rule()
    def collect(self) -> None:
        """Collect while there is data in the head."""
        epoch = self.index.next_epoch()
        self.index.collect(np.array(sorted(self.in_head), np.int32), epoch)

    @invariant()
    def refs_in_use_are_valid(self) -> None:
        """Refs in use lead to their series."""
        for number, name in (self.pinned | self.in_head).items():
            assert self.index.intern_texts([series_text(name, ())])[0] == [number]
            assert self.index.select(name, ()) == (np.array([number]), [()])


IndexMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestIndex = IndexMachine.TestCase


def test_blocks_share_the_labels_of_series_in_the_head(bench: Bench) -> None:
    """Labels that the head has collected are read from the block."""
    store = bench.open()
    store.append_samples([batch(bench.time, range(3))])
    store.maintain()
    for _ in range(2):
        store.append_samples([batch(bench.time, range(2))])
        store.maintain()
    live = {*map(id, store._index.own_labels("m"))}
    store.fetch(Query("m", window=5), bench.time, bench.time, 1)
    shared = [id(labels) in live for labels in store._sample_reader._block_index.select("m", ())[1]]
    assert sorted(shared) == [False, True, True]
