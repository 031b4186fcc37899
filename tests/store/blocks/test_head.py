"""The head and the manifest by themselves: when rows move, a table is closed, and an obsolete part is removed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from foreshock_dashboard.store.blocks.block_dir import Block
from foreshock_dashboard.store.blocks.block_meta import (
    BlockMeta,
    WalRange,
    compaction_candidates,
    contiguous_ranges,
    merged_meta,
)
from foreshock_dashboard.store.blocks.format import BlockFormat, HeadTable, RowBatch
from foreshock_dashboard.store.blocks.head import Head, HeadUsage
from foreshock_dashboard.store.blocks.limits import StoreLimits
from foreshock_dashboard.store.blocks.manifest import Manifest

LIMITS = StoreLimits(flush_rows=10, block_bytes=1000, block_seconds=60.0)


class Rows(BlockFormat[HeadTable]):
    """Tables that hold nothing; `broken` refuses inserts."""

    def __init__(self) -> None:
        self.inserts: list[int] = []
        self.broken = False

    def create(self, now: float) -> HeadTable:
        return HeadTable(now)

    def insert(self, table: HeadTable, batches: Sequence[RowBatch]) -> None:  # noqa: ARG002
        if self.broken:
            raise MemoryError
        self.inserts.append(sum(batch.rows for batch in batches))

    def drop(self, table: HeadTable) -> None:
        raise NotImplementedError

    def write(self, table: HeadTable, folder: Path) -> tuple[int, tuple[str, ...]]:
        raise NotImplementedError

    def merge(self, sources: list[Path], folder: Path) -> int:
        raise NotImplementedError


class Bench:
    """A head with its manifest, and a clock that the test sets."""

    def __init__(self) -> None:
        self.time = 100.0
        self.rows = Rows()
        self.removed: list[object] = []
        self.manifest: Manifest[HeadTable] = Manifest(self.removed.append)
        self.head = Head(self.rows, self.manifest, lambda: self.time, LIMITS)
        self.record_id = 0

    def append(self, rows: int, size: int = 0, start: int = 0, end: int = 0) -> None:
        """Append a batch."""
        self.record_id += 1
        self.head.append(self.record_id, RowBatch({}, rows, start, end, size))


@pytest.fixture
def bench() -> Bench:
    """A new head."""
    return Bench()


def test_rows_move_once_there_are_enough_and_in_bounded_inserts(bench: Bench) -> None:
    bench.append(9)
    bench.head.flush_if_due()
    assert bench.rows.inserts == []
    for rows in (1, 4, 7, 0, 3):
        bench.append(rows)
    bench.head.flush_if_due()
    assert bench.rows.inserts == [10, 11, 3]
    assert bench.manifest.tables[0].record_ids == [1, 2, 3, 4, 5, 6]
    assert bench.head.contents() == ([], bench.manifest.tables)
    bench.append(0)
    bench.head.flush()
    assert bench.rows.inserts == [10, 11, 3], "a batch without rows needs no insert"
    assert bench.manifest.tables[0].record_ids[-1] == 7


def test_a_failed_flush_is_tried_again_after_as_many_rows(bench: Bench) -> None:
    """Not at each append. Nothing is lost, and nothing is inserted twice."""
    bench.rows.broken = True
    bench.append(10)
    with pytest.raises(MemoryError):
        bench.head.flush_if_due()
    bench.append(9)
    bench.head.flush_if_due()
    bench.append(1)
    with pytest.raises(MemoryError):
        bench.head.flush_if_due()
    bench.rows.broken = False
    bench.append(10)
    bench.head.flush_if_due()
    assert sum(bench.rows.inserts) == 30
    bench.append(10)
    bench.head.flush_if_due()
    assert sum(bench.rows.inserts) == 40, "after a success, the first number holds again"


def test_the_usage_is_of_pending_rows_and_of_tables(bench: Bench) -> None:
    assert bench.head.usage() == HeadUsage(0, 0, None, None)
    bench.append(2, 20, start=50, end=60)
    bench.append(0, 7)
    assert bench.head.usage() == HeadUsage(2, 20, 50, 60)
    bench.head.flush()
    assert bench.head.usage() == HeadUsage(2, 20, 50, 60)
    bench.append(1, 10, start=40, end=55)
    assert bench.head.usage() == HeadUsage(3, 30, 40, 60)
    bench.head.flush()
    bench.append(1, 10, start=45, end=70)
    assert bench.head.usage() == HeadUsage(4, 40, 40, 70)
    bench.head.flush()
    assert bench.head.usage() == HeadUsage(4, 40, 40, 70)


@pytest.mark.parametrize(
    ("stored", "waiting", "age", "early", "due"),
    [
        (0, 0, 1e9, True, False),
        (999, 0, 0, False, False),
        (1000, 0, 0, False, True),
        (500, 500, 0, False, True),
        (1, 0, 59.9, False, False),
        (1, 0, 60.0, False, True),
        (249, 0, 0, True, False),
        (250, 0, 0, True, True),
        (250, 0, 0, False, False),
    ],
)
def test_a_table_is_closed_at_its_size_or_age(
    bench: Bench, stored: int, waiting: int, age: float, early: bool, due: bool
) -> None:
    """Early at a quarter of the size. The age counts from its first row; an empty table stays."""
    bench.time += 1000
    if stored:
        bench.append(1, stored)
        bench.head.flush()
    if waiting:
        bench.append(1, waiting)
    bench.time += age
    assert bench.head.rotate(early=early) is due
    assert (bench.head.closed_table() is not None) is due
    assert len(bench.manifest.tables) == 1 + due


def test_only_one_closed_table_waits_to_be_written(bench: Bench) -> None:
    for _ in range(2):
        bench.append(1, 1000)
        bench.head.flush()
        assert bench.head.rotate()
        assert len(bench.manifest.tables) == 2
    closed = bench.head.closed_table()
    assert closed is bench.manifest.tables[0]
    assert (bench.manifest.tables[1].rows, bench.manifest.tables[1].record_ids) == (1, [2])
    bench.manifest.replace([closed])
    assert bench.head.closed_table() is None
    assert bench.removed == [closed]


def block(sequence: int, **fields: Any) -> Block:  # noqa: ANN401 - of several types
    """A block of one sequence number; the fields override."""
    values: dict[str, Any] = {
        "kind": "metrics",
        "level": 0,
        "rows": 1,
        "start": sequence,
        "end": sequence,
        "wal_ranges": (),
    } | fields
    return Block(Path(f"{sequence}"), BlockMeta(sequences=(sequence, sequence), **values))


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [(0, 9, []), (0, 10, [10]), (10, 20, [10, 20]), (11, 19, []), (20, 99, [20]), (21, 99, [])],
)
def test_a_query_reads_the_blocks_and_tables_of_its_time(bench: Bench, start: int, end: int, found: list[int]) -> None:
    bench.manifest.blocks = [block(10)]
    bench.append(1, start=20, end=20)
    bench.head.flush()
    snapshot = bench.manifest.acquire(start, end)
    assert [part.meta.start for part in snapshot.blocks] + [part.start for part in snapshot.tables] == found
    assert [part.readers for part in snapshot.all()] == [1] * len(found)
    bench.manifest.release(snapshot)
    assert [part.readers for part in snapshot.all()] == [0] * len(found)
    assert bench.removed == []


def test_a_replaced_block_is_removed_after_its_last_reader(bench: Bench) -> None:
    """The new one takes its place in the order."""
    old, other, new = block(1), block(5), block(2)
    bench.manifest.blocks = [old, other]
    readers = [bench.manifest.acquire(1, 1) for _ in range(2)]
    bench.manifest.replace([old], new)
    assert bench.manifest.blocks == [new, other]
    assert (bench.manifest.lists(old), bench.manifest.lists(new)) == (False, True)
    bench.manifest.release(readers[0])
    assert bench.removed == []
    bench.manifest.release(readers[1])
    assert bench.removed == [old]
    bench.manifest.replace([other])
    assert bench.removed == [old, other]
    bench.manifest.replace([], block(9))
    assert [one.meta.start for one in bench.manifest.blocks] == [2, 9]
    bench.manifest.forget(new)
    assert [one.meta.start for one in bench.manifest.blocks] == [9]


def test_a_failed_removal_is_tried_again_until_it_succeeds() -> None:
    """And disturbs no reader."""
    removed: list[object] = []
    broken = [True]

    def remove(part: object) -> None:
        if broken[0]:
            raise OSError("busy")
        removed.append(part)

    manifest: Manifest[HeadTable] = Manifest(remove)
    old = [block(1), block(2)]
    manifest.blocks = list(old)
    manifest.replace(old)
    with pytest.raises(OSError, match="busy"):
        manifest.clean_tombstones()
    broken[0] = False
    manifest.clean_tombstones()
    manifest.clean_tombstones()
    assert removed == old


@pytest.mark.parametrize(
    ("ids", "present", "ranges"),
    [
        ([], [1, 2], []),
        ([1, 2, 3], [1, 2, 3], [(1, 3)]),
        ([1, 3], [1, 2, 3], [(1, 1), (3, 3)]),
        ([1, 3], [1, 3, 9], [(1, 3)]),
        ([2, 5, 9], [1, 2, 5, 6, 9], [(2, 5), (9, 9)]),
    ],
)
def test_ranges_cover_the_ids_and_no_other_record(
    ids: list[int], present: list[int], ranges: list[tuple[int, int]]
) -> None:
    assert contiguous_ranges(ids, present) == ranges


def metas(*fields: dict[str, Any]) -> list[BlockMeta]:
    """Neighboring blocks of 100 bytes each; the fields override."""
    return [
        block(
            number, **{"files": {"a": (60, 0), "b": (40, 0)}, "start": 10 * number, "end": 10 * number + 10} | given
        ).meta
        for number, given in enumerate(fields, 1)
    ]


@pytest.mark.parametrize(
    ("blocks", "count", "max_bytes", "max_span", "found"),
    [
        (metas({}, {}, {}), 2, 200, 20, [1, 2]),
        (metas({}, {}, {}), 3, 300, 30, [1, 2, 3]),
        (metas({}, {}, {}), 4, 999, 999, []),
        (metas({}, {}), 2, 199, 20, []),
        (metas({}, {}), 2, 200, 19, []),
        (metas({"level": 1}, {}, {}), 2, 200, 20, [2, 3]),
        (metas({}, {"level": 1}, {}), 2, 200, 20, []),
        (metas({}, {}, {})[::2], 2, 999, 999, []),
        (metas({"start": -50}, {}, {}), 2, 200, 20, [2, 3]),
        (metas({"end": 80}, {}, {}), 2, 200, 20, [2, 3]),
        ([], 1, 999, 999, []),
    ],
)
def test_neighbors_of_one_level_are_compacted_within_bytes_and_time(
    blocks: list[BlockMeta], count: int, max_bytes: int, max_span: int, found: list[int]
) -> None:
    assert [meta.sequences[0] for meta in compaction_candidates(blocks, count, max_bytes, max_span)] == found


def test_a_merged_block_replaces_those_within_its_sequences() -> None:
    held = [WalRange("w", 1, 2), WalRange("w", 5, 6)]
    first, second = metas(
        {"rows": 3, "metrics": ("b", "a"), "wal_ranges": (held[0],), "end": 99},
        {"rows": 4, "metrics": ("c", "a"), "wal_ranges": (held[1],), "start": 5},
    )
    merged = merged_meta([first, second])
    assert (merged.kind, merged.sequences, merged.level, merged.rows) == ("metrics", (1, 2), 1, 7)
    assert (merged.start, merged.end, merged.wal_ranges) == (5, 99, tuple(held))
    assert (merged.metrics, merged.name) == (("a", "b", "c"), "0000000001.1")
    assert [merged.replaces(one) for one in (first, second, merged)] == [True, True, False]
    third, fourth = metas({}, {}, {}, {})[2:]
    assert not merged.replaces(third)
    assert not merged_meta([third, fourth]).replaces(second)
    assert not first.replaces(second)


def test_the_default_limits_are_those_of_the_documentation() -> None:
    text = (Path(__file__).parents[3] / "docs/internals/store.md").read_text()
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \| [^|]+ \|$", text.partition("## Limits")[2], re.MULTILINE))
    limits = StoreLimits()
    assert rows["size or age of a head table"] == (
        f"{limits.block_bytes / 2**20:g} MiB or {limits.block_seconds / 60:g} min"
    )
    assert rows["size of all heads"] == f"{limits.max_head_bytes / 2**20:g} MiB"
    assert rows["series in the head"] == f"{limits.max_series:,}"
    assert rows["series of blocks known to queries"] == f"{limits.max_block_series:,}"
    assert rows["samples of one query"] == f"{limits.max_query_samples:,}"
    assert rows["series × steps of one query"] == f"{limits.max_query_cells:,}"
    assert rows["spans of one trace"] == f"{limits.max_trace_spans:,}"
    assert rows["buffers of DuckDB"] == limits.duckdb_memory.replace("MB", " MB")
