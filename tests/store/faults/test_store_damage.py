"""Damage costs only the damaged part: the store starts, answers from the rest, counts the damage and names it."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from foreshock_dashboard.store import Store, StoreError
from foreshock_dashboard.store.blocks.disk import Disk

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.store.conftest import Bench, Scrape, Values


def flip_bit(path: Path, at: int) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at // 8 % len(data)] ^= 1 << at % 8
    path.write_bytes(data)


def store_with_blocks(bench: Bench, scrape: Scrape, count: int = 3) -> Store:
    """Open a store with the scrapes 0 … count - 1 in one block each."""
    store = bench.open()
    for n in range(count):
        store.append_samples([scrape(n)])
        store.maintain()
    return store


def test_a_block_with_a_flipped_bit_is_quarantined_counted_and_named(
    bench: Bench,
    scrape: Scrape,
    values: Values,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Any bit of any file; the other blocks still answer."""
    store_with_blocks(bench, scrape).close()
    block = bench.path / "metrics" / "0000000002.0"
    pristine = bench.path.parent / "pristine"
    shutil.copytree(bench.path, pristine)
    chance = random.Random(1)
    for name in ("samples.parquet", "series.parquet", "segment.json"):
        for _ in range(7):
            shutil.rmtree(bench.path)
            shutil.copytree(pristine, bench.path)
            flip_bit(block / name, chance.randrange(8 * (block / name).stat().st_size))
            caplog.clear()
            store = bench.open()
            assert set(values(store, 3)) == {0, 2}
            assert store.stats().corrupt == 1
            assert "0000000002.0" in caplog.text
            assert [path.name for path in (bench.path / "damaged").iterdir()] == ["metrics-0000000002.0"]
            store.close()


def test_a_missing_file_costs_its_block_only(bench: Bench, scrape: Scrape, values: Values) -> None:
    """A file is deleted while the store is closed."""
    store_with_blocks(bench, scrape).close()
    (bench.path / "metrics" / "0000000001.0" / "series.parquet").unlink()
    assert set(values(bench.open(), 3)) == {1, 2}


def test_a_damaged_block_that_cannot_be_set_aside_stays_in_queries(
    bench: Bench, scrape: Scrape, values: Values, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The query is refused with a sentence, and no compaction passes over the block."""
    store_with_blocks(bench, scrape).close()
    flip_bit(bench.path / "metrics" / "0000000002.0" / "samples.parquet", 100)
    store = bench.open()

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(Disk, "rename", fail)
        for _ in range(2):
            with pytest.raises(StoreError, match=r"cannot set the damaged block .*0000000002\.0 aside"):
                values(store, 3)
    assert (len(store._samples.blocks()), store.stats().corrupt) == (3, 0)
    assert set(values(store, 3)) == {0, 2}
    assert (len(store._samples.blocks()), store.stats().corrupt) == (2, 1)


def test_a_quarantined_block_can_be_put_back(bench: Bench, scrape: Scrape, values: Values) -> None:
    """No merged block takes its place: the next start would delete it as merged."""
    store_with_blocks(bench, scrape).close()
    file = bench.path / "metrics" / "0000000003.0" / "samples.parquet"
    content = file.read_bytes()
    flip_bit(file, 100)
    store = bench.open()
    assert set(values(store, 3)) == {0, 1}
    for n in range(3, 10):
        store.append_samples([scrape(n)])
        store.maintain()
    store.close()
    assert (bench.path / "metrics" / "0000000004.1").exists()
    (bench.path / "damaged" / "metrics-0000000003.0").rename(file.parent)
    file.write_bytes(content)

    assert set(values(bench.open(), 10)) == set(range(10))


def test_maintenance_finds_damage_that_no_query_has_met(bench: Bench, scrape: Scrape) -> None:
    """Each run verifies one more block."""
    store_with_blocks(bench, scrape).close()
    flip_bit(bench.path / "metrics" / "0000000003.0" / "samples.parquet", 100)
    store = bench.open()
    for _ in range(3):
        store.maintain()
    assert store.stats().corrupt == 1


def test_a_damaged_wal_record_costs_itself(bench: Bench, scrape: Scrape, values: Values) -> None:
    """A flipped bit in a payload does not decode to other samples."""
    store = bench.open()
    for n in range(3):
        store.append_samples([scrape(n)])
    store.close()
    connection = sqlite3.connect(bench.path / "inbox.sqlite")
    (payload,) = connection.execute("select payload from rows where id = 2").fetchone()
    broken = payload[:-5] + bytes([payload[-5] ^ 4]) + payload[-4:]
    connection.execute("update rows set payload = ? where id = 2", (broken,))
    connection.commit()
    connection.close()
    store = bench.open()
    assert set(values(store, 3)) == {0, 2}
    assert store.stats().corrupt == 1


def test_a_wal_record_with_a_damaged_kind_is_counted(bench: Bench, scrape: Scrape, values: Values) -> None:
    """Its checksum is valid, but no replay would read it."""
    store = bench.open()
    for n in range(3):
        store.append_samples([scrape(n)])
    store.close()
    connection = sqlite3.connect(bench.path / "inbox.sqlite")
    connection.execute("update rows set kind = 'ramples' where id = 2")
    connection.commit()
    connection.close()
    store = bench.open()
    assert set(values(store, 3)) == {0, 2}
    assert store.stats().corrupt == 1


def test_any_flipped_bit_in_the_wal_lets_the_store_open_with_the_sound_records(
    bench: Bench,
    scrape: Scrape,
    values: Values,
) -> None:
    """Forty flips anywhere in the file: no value is wrong, and missing records are counted."""
    store = bench.open()
    for n in range(40):
        store.append_samples([scrape(n)])
    store.close()
    pristine = (bench.path / "inbox.sqlite").read_bytes()
    chance = random.Random(2)
    for _ in range(40):
        shutil.rmtree(bench.path / "damaged")
        (bench.path / "inbox.sqlite").write_bytes(pristine)
        flip_bit(bench.path / "inbox.sqlite", chance.randrange(8 * len(pristine)))
        store = bench.open()
        remaining = values(store, 40)
        assert all(column == [float(n)] * 3 for n, column in remaining.items())
        assert len(remaining) == 40 or store.stats().corrupt > 0, "data went missing in silence"
        store.append_samples([scrape(50)])
        store.close()
        for extra in bench.path.glob("inbox.sqlite*"):
            extra.unlink()


def test_a_wal_that_is_not_a_database_is_quarantined(bench: Bench, scrape: Scrape, values: Values) -> None:
    """Blocks stay, new data is stored, and new records are not mistaken for those in blocks."""
    store_with_blocks(bench, scrape).close()
    (bench.path / "inbox.sqlite").write_bytes(b"this is no database" * 500)
    store = bench.open()
    for n in range(3, 6):
        store.append_samples([scrape(n)])
    store.close()
    assert set(values(bench.open(), 6)) == set(range(6))


def test_a_crash_before_truncating_the_wal_duplicates_nothing(bench: Bench, scrape: Scrape, values: Values) -> None:
    """Opening the store deletes the records that the block holds."""
    store = bench.open()
    store.append_samples([scrape(0)])
    store._samples.head.flush()
    store._compactor.cut_blocks(store._samples)
    assert store.stats().wal_rows == 1
    store.close()
    store = bench.open()
    assert store.stats().wal_rows == 0
    assert values(store, 1) == {0: [0.0] * 3}
    assert store.stats().head_samples == 0


@pytest.mark.parametrize("spoil", [False, True], ids=["whole", "damaged"])
def test_a_crash_during_a_compaction_duplicates_nothing(
    bench: Bench,
    scrape: Scrape,
    values: Values,
    spoil: bool,
) -> None:
    """A sound merged block replaces its parts; a damaged one does not."""
    store = store_with_blocks(bench, scrape, 5)
    parts = bench.path.parent / "parts"
    store.append_samples([scrape(5)])
    store._samples.head.flush()
    store._compactor.cut_blocks(store._samples)
    shutil.copytree(bench.path / "metrics", parts)
    store.maintain()
    store.close()
    assert [path.name for path in (bench.path / "metrics").iterdir()] == ["0000000001.1"]
    if spoil:
        flip_bit(bench.path / "metrics" / "0000000001.1" / "samples.parquet", 99)
    shutil.copytree(parts, bench.path / "metrics", dirs_exist_ok=True)
    store = bench.open()
    assert set(values(store, 6)) == set(range(6))
    assert sum(meta.rows for meta in store._samples.blocks()) == 18
    assert store.stats().corrupt == int(spoil)


def test_a_folder_of_another_format_is_refused_unchanged(bench: Bench, scrape: Scrape) -> None:
    """It belongs to another version."""
    store_with_blocks(bench, scrape).close()
    (bench.path / "format").write_text("1\n")
    before = sorted((path, path.stat().st_mtime_ns) for path in bench.path.rglob("*") if path.name != "lock")
    with pytest.raises(StoreError, match=r"format '1'.*another folder"):
        bench.open()
    assert before == sorted((path, path.stat().st_mtime_ns) for path in bench.path.rglob("*") if path.name != "lock")


def test_a_block_meta_keeps_the_names_of_0_1(bench: Bench, scrape: Scrape) -> None:
    """Stores of 0.1 are read, whatever the fields are called in the code."""
    store_with_blocks(bench, scrape, 1).close()
    _, _, body = (bench.path / "metrics" / "0000000001.0" / "segment.json").read_bytes().partition(b"\n")
    content = json.loads(body)

    assert content.keys() == {
        "format", "kind", "ranks", "level", "rows", "start", "end", "held", "metrics", "files",
    }  # fmt: skip
    assert (content["ranks"], content["level"], content["rows"]) == ([1, 1], 0, 3)
    assert [held.keys() for held in content["held"]] == [{"inbox", "first", "last"}]
