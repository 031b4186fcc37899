"""Every limit has a clear effect: full disk, second owner, retention, too many series, too large queries."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pytest
from tests.store.conftest import CUT_ALWAYS, FullDisk

from foreshock_dashboard.hub.memory import Memory
from foreshock_dashboard.model.query import Query, SizeError
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.store import Retention, Store, StoreError, StoreLocked
from foreshock_dashboard.store.blocks.duckdb_engine import connect
from foreshock_dashboard.store.spans.format import CHUNKS_FILE, COLUMNS_FILE, SpanFormat
from foreshock_dashboard.world.builder import catalog
from foreshock_dashboard.world.observer import Observer

if TYPE_CHECKING:
    from tests.store.conftest import Bench, MakeSpan, Scrape, Values


def test_a_second_owner_is_refused_with_the_process_id_of_the_first(bench: Bench) -> None:
    """The folder is free once the first owner has closed it."""
    first = bench.open()
    with pytest.raises(StoreLocked, match=rf"{bench.path}.*process {os.getpid()}.*FORESHOCK_STORE_PATH"):
        bench.open()
    first.close()
    bench.open()


def test_the_lock_ends_with_its_process(bench: Bench) -> None:
    """A killed owner leaves nothing to clean up."""
    code = (
        "import os, sys, time; from pathlib import Path; from foreshock_dashboard.store import Store; "
        "Store.open(Path(sys.argv[1]), now=time.time); os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code, str(bench.path)], env=environment, check=False)
    assert done.returncode == -9
    bench.open()


def test_blocks_wait_for_memory_before_they_are_merged(
    bench: Bench, scrape: Scrape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until too many wait: queries would become slow."""
    monkeypatch.setattr("foreshock_dashboard.store.compactor.MAX_UNMERGED_BLOCKS", 8)
    store, counts = bench.open(limits=CUT_ALWAYS), []
    for number in range(9):
        store.append_samples([scrape(number)])
        store.maintain(merge=False)
        counts.append(store.stats().blocks)
    assert counts == [*range(1, 9), 4]


def with_random_bytes(batch: SampleBatch, size: int = 4_000) -> SampleBatch:
    """Add bytes to the scrape that do not compress."""
    return SampleBatch(
        batch.time, batch.target, (*batch.samples, Sample("x", (("junk", os.urandom(size).hex()),), 1.0))
    )


def append_until_refused(store: Store, scrape: Scrape, most: int = 1_000) -> tuple[int, str]:
    """Return the number of stored scrapes, and the refusal."""
    for n in range(most):
        try:
            store.append_samples([with_random_bytes(scrape(n))])
        except StoreError as error:
            return n, str(error)
    pytest.fail("nothing was refused")


def test_a_full_wal_refuses_appends_keeps_its_data_and_recovers(
    bench: Bench,
    scrape: Scrape,
    values: Values,
) -> None:
    """SQLite reports "full": readiness fails, and recovers after a block is cut."""
    store = bench.open(replace(CUT_ALWAYS, max_wal_pages=40))
    stored, refusal = append_until_refused(store, scrape)
    assert stored > 0
    assert "full; free space on that disk or lower the store's retention" in refusal
    assert store.ready() == (False, refusal)
    assert store.stats().last_error == refusal
    assert set(values(store, stored)) == set(range(stored))
    store.maintain()
    assert store.ready() == (True, "")
    store.append_samples([scrape(stored)])
    store.close()
    assert set(values(bench.open(), stored + 1)) == set(range(stored + 1))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_full_file_system_loses_no_acknowledged_data(
    bench: Bench,
    scrape: Scrape,
    values: Values,
    small_disk: Path,
) -> None:
    """A real ENOSPC at any operation of the store. Freed space ends it without a restart."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    store = bench.open(replace(CUT_ALWAYS, block_bytes=200_000), folder=small_disk / "store")
    stored: list[int] = []
    refused = 0
    for n in range(2_000):
        try:
            store.append_samples([with_random_bytes(scrape(n))])
            stored.append(n)
        except StoreError:
            refused += 1
        store.maintain()
        if refused == 20:
            break
    assert refused == 20
    assert store.ready()[0] is False
    ballast.unlink()
    store.maintain()
    assert store.ready() == (True, "")
    store.append_samples([with_random_bytes(scrape(n + 1))])
    store.close()
    store = bench.open(folder=small_disk / "store")
    assert set(values(store, n + 2)) >= {*stored, n + 1}
    store.close()


def test_blocks_that_cannot_be_written_are_retried(bench: Bench, scrape: Scrape, values: Values) -> None:
    """The data stays in head and WAL; the error is reported until a retry succeeds."""
    disk = FullDisk()
    store = bench.open(disk=disk)
    store.append_samples([scrape(0)])
    disk.full = True
    store.maintain()
    assert "No space left" in store.stats().last_error
    assert store.ready()[0], "the WAL still accepts data"
    store.append_samples([scrape(1)])
    store.maintain()
    assert set(values(store, 2)) == {0, 1}
    disk.full = False
    store.maintain()
    store.maintain()
    assert store.stats().last_error == ""
    assert store.stats().wal_rows == store.stats().head_samples == 0
    assert set(values(store, 2)) == {0, 1}


def test_appends_are_refused_when_the_head_is_full_because_blocks_fail(
    bench: Bench,
    scrape: Scrape,
) -> None:
    """The refusal gives the reason, and ends with it."""
    disk = FullDisk()
    store = bench.open(replace(CUT_ALWAYS, max_head_bytes=1_000), disk=disk)
    store.append_samples([scrape(0)])
    disk.full = True
    store.maintain()
    _, refusal = append_until_refused(store, scrape)
    assert re.search("wait to be written to blocks.*No space left", refusal)
    disk.full = False
    store.maintain()
    assert store.ready() == (True, "")


def test_retention_by_age_removes_expired_blocks(bench: Bench, scrape: Scrape, span: MakeSpan, values: Values) -> None:
    """Samples and spans have an age limit each."""
    store = bench.open(retention=Retention(metrics_seconds=10_000, spans_seconds=5_000))
    store.append_samples([scrape(0)])
    store.append_spans([span()])
    store.maintain()
    bench.time += 5_100
    store.append_samples([scrape(510)])
    store.maintain()
    assert (len(store._samples.blocks()), len(store._spans.blocks())) == (2, 0)
    assert store.get(f"{1:032x}") == ()
    bench.time += 10_010
    store.append_samples([scrape(1_511, metric="n")])
    store.maintain()
    assert store.stats().blocks == 1
    assert values(store, 511) == {}
    assert store.metric_names() == {"n"}
    assert store.stats().expired == 3
    assert len(list((bench.path / "metrics").iterdir())) == 1


def test_retention_by_size_removes_blocks_of_the_larger_kind(
    bench: Bench,
    scrape: Scrape,
    span: MakeSpan,
    values: Values,
) -> None:
    """A flood of spans does not remove samples."""
    store = bench.open(retention=Retention(max_bytes=40_000))
    for n in range(5):
        store.append_samples([scrape(n)])
        store.append_spans([span(n, k, start=10 * n, attributes={"x": os.urandom(50).hex()}) for k in range(1, 200)])
        store.maintain()
    assert store.stats().block_bytes <= 40_000
    assert set(values(store, 5)) == set(range(5))
    assert store.get(f"{0:032x}") == ()
    assert len(store.get(f"{4:032x}")) == 199


def test_samples_of_series_beyond_the_limit_are_dropped_and_counted(
    bench: Bench, scrape: Scrape, values: Values
) -> None:
    """Existing series continue, also after a restart."""
    store = bench.open(replace(CUT_ALWAYS, max_series=4))
    store.append_samples([scrape(0)])
    new = [Sample("e", labels_of({"n": str(n)}), 1.0) for n in range(5)]
    assert store.refused_series((each.metric, each.labels) for each in new) == set()
    store.append_samples([SampleBatch(scrape(1).time, "t", (*scrape(1).samples, *new))])
    assert store.stats().dropped_samples == 4
    assert store.stats().series == 4
    assert store.refused_series((each.metric, each.labels) for each in new) == {
        (each.metric, each.labels) for each in new[1:]
    }
    store.maintain()
    store.close()
    store = bench.open(replace(CUT_ALWAYS, max_series=4))
    assert {n: len(column) for n, column in values(store, 2).items()} == {0: 3, 1: 3}


def test_a_query_that_is_too_large_is_refused(bench: Bench, scrape: Scrape) -> None:
    """The error names the remedy."""
    store = bench.open()
    store.append_samples([scrape(n) for n in range(20)])
    start = scrape(0).time
    with pytest.raises(ValueError, match="at most 11000"):
        store.fetch(Query("m"), start, start + 1e6, 1)
    store.close()
    store = bench.open(replace(CUT_ALWAYS, max_query_samples=10))
    with pytest.raises(SizeError, match=r"more than 10 samples.*narrow"):
        store.fetch(Query("m"), start, start + 200, 10)
    store.close()
    store = bench.open(replace(CUT_ALWAYS, max_query_cells=10))
    with pytest.raises(SizeError, match="3 series over 21 steps; narrow"):
        store.fetch(Query("m"), start, start + 200, 10)


def test_a_history_that_is_too_large_for_one_query_is_read_in_smaller_pieces(bench: Bench, scrape: Scrape) -> None:
    """The hub reads as many grid points at once as the store answers."""
    store = bench.open(replace(CUT_ALWAYS, max_query_samples=60))
    store.append_samples([scrape(n, metric="up") for n in range(100)])
    start = scrape(0).time
    observer = Observer(store, catalog(59.0), 10.0, lambda answers: answers, begin=lambda _: start)
    up = observer.read(start + 990.0)["up"]
    assert up.times.tolist() == [start + 10.0 * n for n in range(100)]
    assert up.values.tolist() == [[3.0 * n for n in range(100)]]  # the three series have no label of a target


def test_a_scrape_with_an_invalid_time_is_refused_with_its_target(bench: Bench, scrape: Scrape) -> None:
    """Nothing of the request is stored."""
    store = bench.open()
    with pytest.raises(StoreError, match=r"target host-7.*nan"):
        store.append_samples([scrape(0), SampleBatch(float("nan"), "host-7", scrape(0).samples)])
    assert store.stats().head_samples == 0


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    """A file has its name."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/store: cannot create the folder.*choose another"):
        Store.open(tmp_path / "file" / "store", now=lambda: 0.0)


def test_a_closed_store_refuses_appends(bench: Bench, scrape: Scrape) -> None:
    """Closing twice is harmless."""
    store = bench.open()
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.append_samples([scrape(0)])
    assert store.ready()[0] is False


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_text('/etc/hostname')",
        "select * from read_csv('/etc/passwd')",
        "copy (select 1) to '/tmp/foreshock-escaped.csv'",
        "attach '/tmp/foreshock-escaped.db'",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "set memory_limit = '64GB'",
        "set allowed_directories = ['/']",
    ],
)
def test_duckdb_reaches_nothing_outside_the_folder(bench: Bench, sql: str) -> None:
    """Injected SQL reaches no files, network, extensions or settings."""
    store = bench.open()
    with pytest.raises(duckdb.Error):
        store._engine.execute(sql)


SPAN_ROWS = """
copy (
  select hash(i + $file * 1000000) trace_hi, hash(i) trace_lo, hash(i + 7) span, i % 5 = 0 root, (i % 5)::utinyint kind,
    0::utinyint status, i start_ns, i + 10 end_ns, i place, {names}
  from range(60000) spans(i) order by trace_hi, trace_lo
) to $out (format parquet)
"""


def test_an_hour_of_spans_is_merged_in_the_memory_of_a_hub_of_512_mib(tmp_path: Path) -> None:
    """Rows of many texts, more of them than fit: DuckDB spills them."""
    (tmp_path / "tmp" / "spill").mkdir(parents=True)
    names = ", ".join(f"'value-' || (i * {n} % 9000) as \"a:attribute.{n}\"" for n in range(1, 16))
    with duckdb.connect() as writer:
        for number in range(6):
            folder = tmp_path / f"{number}"
            folder.mkdir()
            (folder / CHUNKS_FILE).touch()
            parameters = {"file": number, "out": str(folder / COLUMNS_FILE)}
            writer.execute(SPAN_ROWS.format(names=names), parameters)
    memory = Memory(512 << 20).store_limits().duckdb_memory
    with connect(tmp_path, memory, 2, max_spill="1GB") as engine:
        out = tmp_path / "merged"
        out.mkdir()
        assert SpanFormat((), engine).merge([tmp_path / f"{number}" for number in (*range(6), 0)], out) == 360_000
        read = engine.execute("select trace_hi from read_parquet($1)", [str(out / COLUMNS_FILE)])
        merged = read.fetchnumpy()["trace_hi"]
    assert (np.diff(merged.astype(np.float64)) >= 0).all()
