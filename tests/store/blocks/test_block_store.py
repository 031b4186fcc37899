"""Head and blocks of one kind, with rows that are numbers in a file: cutting, merging, expiry, and damage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from foreshock_dashboard.store.blocks.block_meta import WalRange
from foreshock_dashboard.store.blocks.block_store import BlockStore
from foreshock_dashboard.store.blocks.disk import Disk, StoreError
from foreshock_dashboard.store.blocks.format import BlockFormat, HeadTable, RowBatch
from foreshock_dashboard.store.blocks.limits import StoreLimits

WAL = "w"
DAY = 86_400_000
LIMITS = StoreLimits(flush_rows=1, block_bytes=1, max_compacted_bytes=1_000)


class Numbers(BlockFormat[HeadTable]):
    """Blocks of one file with a byte per row."""

    kind, second = "numbers", 1_000

    def create(self, now: float) -> HeadTable:
        return HeadTable(now)

    def insert(self, table: HeadTable, batches: Sequence[RowBatch]) -> None:
        """Nothing: `write` needs only the number of rows."""

    def drop(self, table: HeadTable) -> None:
        """Nothing."""

    def write(self, table: HeadTable, folder: Path) -> tuple[int, tuple[str, ...]]:
        (folder / "rows").write_bytes(bytes(table.rows))
        return table.rows, ("m",)

    def merge(self, sources: list[Path], folder: Path) -> int:
        content = b"".join((source / "rows").read_bytes() for source in sources)
        (folder / "rows").write_bytes(content)
        return len(content)


class Bench:
    """A store in a folder."""

    def __init__(self, root: Path) -> None:
        for name in ("numbers", "tmp", "damaged"):
            (root / name).mkdir()
        self.root, self.record_id = root, 0
        self.store = self.opened()

    def opened(self) -> BlockStore[HeadTable]:
        """Open it again."""
        store = BlockStore(self.root, Numbers(), Disk(), lambda: 0.0, LIMITS)
        store.load()
        return store

    def cut(self, *times: int, rows: int = 1) -> None:
        """Make a block of each time."""
        for time in times:
            self.record_id += 1
            self.store.head.append(self.record_id, RowBatch({}, rows, time, time + 9, 1))
            self.store.head.flush()
            assert self.store.head.rotate()
            (held,) = self.store.cut_block(lambda ids: (WalRange(WAL, ids[0], ids[-1]),))
            assert held == WalRange(WAL, self.record_id, self.record_id)

    def sequences(self) -> list[tuple[int, int]]:
        """The first and last sequence number of each block."""
        return [meta.sequences for meta in self.store.blocks()]

    def damage(self, sequence: int) -> None:
        """Change the content of a block, but not its size."""
        (block,) = (block for block in self.store.manifest.blocks if block.meta.sequences[0] == sequence)
        file = block.folder / "rows"
        file.write_bytes(b"x" * file.stat().st_size)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A new store."""
    return Bench(tmp_path)


def test_six_neighboring_blocks_become_one_and_keep_what_they_say(bench: Bench) -> None:
    """Two-minute blocks become twelve minutes (docs/internals/store.md)."""
    bench.cut(0, 10, 20, 30, 40)
    assert not bench.store.compact()
    bench.cut(50, 60, rows=3)
    assert bench.store.compact()
    assert bench.sequences() == [(1, 6), (7, 7)]
    merged = bench.store.blocks()[0]
    assert (merged.level, merged.rows, merged.start, merged.end, merged.metrics) == (1, 8, 0, 59, ("m",))
    assert bench.store.wal_ranges() == [WalRange(WAL, number, number) for number in range(1, 8)]
    assert not bench.store.compact()
    again = bench.opened()
    assert again.blocks() == bench.store.blocks()
    assert len([*(bench.root / "numbers").iterdir()]) == 2


@pytest.mark.parametrize(
    ("last", "rows", "merged"),
    [(DAY - 9, 1, True), (DAY - 8, 1, False), (50, 995, True), (50, 996, False)],
    ids=["a day", "longer", "of the size", "larger"],
)
def test_a_merged_block_spans_a_day_and_has_the_size_of_the_limit_at_most(
    bench: Bench, last: int, rows: int, merged: bool
) -> None:
    """Or retention would remove too much at once."""
    bench.cut(0, 10, 20, 30, 40)
    bench.cut(last, rows=rows)
    assert bench.store.compact() is merged


def test_a_damaged_block_is_set_aside_by_a_merge_a_scrub_or_a_query(bench: Bench) -> None:
    """The others stay."""
    bench.cut(0, 10, 20, 30, 40, 50)
    bench.store = bench.opened()
    bench.damage(2)
    assert not bench.store.compact()
    bench.damage(4)
    for _ in range(9):
        bench.store.scrub()
    assert bench.sequences() == [(1, 1), (3, 3), (5, 5), (6, 6)]
    bench.store = bench.opened()
    bench.damage(5)
    with bench.store.snapshot(40, 49) as snapshot:
        assert snapshot.blocks == ()
    assert [path.name for path in sorted((bench.root / "damaged").iterdir())] == [
        f"numbers-000000000{number}.0" for number in (2, 4, 5)
    ]
    bench.cut(60)
    assert bench.sequences() == [(1, 1), (3, 3), (6, 6), (7, 7)]


def test_a_failed_query_verifies_its_blocks_again(bench: Bench) -> None:
    """They may be damaged since they were verified."""
    bench.cut(0, 10)

    def fail() -> None:
        with bench.store.snapshot(0, 9) as snapshot:
            assert len(snapshot.blocks) == 1
            bench.damage(1)
            raise StoreError("cannot read")

    with pytest.raises(StoreError):
        fail()
    with bench.store.snapshot(0, 19) as snapshot:
        assert [block.meta.start for block in snapshot.blocks] == [10]
    assert bench.store.block_dir.corrupt == 1


def test_a_query_reads_what_overlaps_its_range_from_blocks_and_the_head(bench: Bench) -> None:
    bench.cut(0, 10)
    bench.store.head.append(9, RowBatch({}, 1, 20, 29, 1))
    bench.store.head.flush()
    found = []
    for start, end in ((0, 9), (9, 10), (19, 20), (30, 40)):
        with bench.store.snapshot(start, end) as snapshot:
            found.append(([block.meta.start for block in snapshot.blocks], len(snapshot.tables)))
    assert found == [([0], 0), ([0, 10], 0), ([10], 1), ([], 0)]


def test_blocks_that_ended_before_a_time_expire_and_the_oldest_goes_first(bench: Bench) -> None:
    """By their end, whatever their order of arrival."""
    assert (bench.store.newest(), bench.store.drop_oldest()) == (None, 0)
    bench.cut(30, 0, 10, 20)
    assert bench.store.newest() == 39
    assert (bench.store.expire(9), bench.store.expire(10), bench.store.expire(10)) == (0, 1, 0)
    assert bench.store.drop_oldest() == 1
    assert [meta.start for meta in bench.store.blocks()] == [30, 20]
    assert len([*(bench.root / "numbers").iterdir()]) == 2
    bench.store.head.append(9, RowBatch({}, 1, 50, 51, 1))
    assert bench.store.newest() == 51


def test_without_a_closed_table_nothing_is_cut_and_a_table_without_rows_makes_no_block(bench: Bench) -> None:
    """Its WAL records can still be deleted."""
    assert bench.store.cut_block(lambda _: pytest.fail("claimed")) == ()
    bench.store.head.append(1, RowBatch({}, 0, 0, 0, 0, refused=1))
    bench.store.head.append(2, RowBatch({}, 0, 0, 0, 0, refused=1))
    bench.store.head.flush()
    bench.store.manifest.tables.append(HeadTable(0.0))
    assert bench.store.cut_block(lambda ids: (WalRange(WAL, ids[0], ids[-1]),)) == (WalRange(WAL, 1, 2),)
    assert (bench.store.blocks(), len(bench.store.manifest.tables)) == ([], 1)
    bench.cut(5)
    assert bench.sequences() == [(1, 1)]
