"""A damaged piece costs what is in it: the store starts, answers from the rest, counts it and names it."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from foreshock_dashboard.store import Store, StoreError

if TYPE_CHECKING:
    from tests.store.conftest import Bench, Scrape, Values


def flip(path: Path, at: int) -> None:
    """Flip one bit."""
    data = bytearray(path.read_bytes())
    data[at // 8 % len(data)] ^= 1 << at % 8
    path.write_bytes(data)


def sealed(bench: Bench, scrape: Scrape, count: int = 3) -> Store:
    """A store whose scrapes 0 … count - 1 are in one segment each."""
    store = bench.open()
    for n in range(count):
        store.append_samples([scrape(n)])
        store.maintain()
    return store


def test_a_segment_with_a_flipped_bit_is_set_aside_counted_and_named(
    bench: Bench,
    scrape: Scrape,
    values: Values,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whichever bit of whichever file: the other segments still answer."""
    sealed(bench, scrape).close()
    victim = bench.path / "metrics" / "0000000002.0"
    pristine = bench.path.parent / "pristine"
    shutil.copytree(bench.path, pristine)
    chance = random.Random(1)
    for name in ("samples.parquet", "series.parquet", "segment.json"):
        for _ in range(7):
            shutil.rmtree(bench.path)
            shutil.copytree(pristine, bench.path)
            flip(victim / name, chance.randrange(8 * (victim / name).stat().st_size))
            caplog.clear()
            store = bench.open()
            assert set(values(store, 3)) == {0, 2}
            assert store.stats().corrupt == 1
            assert "0000000002.0" in caplog.text
            assert [path.name for path in (bench.path / "damaged").iterdir()] == ["metrics-0000000002.0"]
            store.close()


def test_a_missing_file_costs_its_segment_only(bench: Bench, scrape: Scrape, values: Values) -> None:
    """Somebody deletes a file while the store is closed."""
    sealed(bench, scrape).close()
    (bench.path / "metrics" / "0000000001.0" / "series.parquet").unlink()
    assert set(values(bench.open(), 3)) == {1, 2}


def test_upkeep_finds_damage_that_no_query_has_met(bench: Bench, scrape: Scrape) -> None:
    """Each upkeep looks at one more segment."""
    sealed(bench, scrape).close()
    flip(bench.path / "metrics" / "0000000003.0" / "samples.parquet", 100)
    store = bench.open()
    for _ in range(3):
        store.maintain()
    assert store.stats().corrupt == 1


def test_a_damaged_inbox_row_costs_itself(bench: Bench, scrape: Scrape, values: Values) -> None:
    """A flipped bit inside a row's bytes does not decode to other samples."""
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


def test_a_row_whose_kind_is_damaged_is_counted(bench: Bench, scrape: Scrape, values: Values) -> None:
    """Its checksum is sound, and nobody would ask for it."""
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


def test_any_flipped_bit_in_the_inbox_lets_the_store_open_and_keeps_what_is_sound(
    bench: Bench,
    scrape: Scrape,
    values: Values,
) -> None:
    """Forty flips anywhere in the file: it opens, no value is wrong, and what is missing was counted."""
    store = bench.open()
    for n in range(40):
        store.append_samples([scrape(n)])
    store.close()
    pristine = (bench.path / "inbox.sqlite").read_bytes()
    chance = random.Random(2)
    for _ in range(40):
        shutil.rmtree(bench.path / "damaged")
        (bench.path / "inbox.sqlite").write_bytes(pristine)
        flip(bench.path / "inbox.sqlite", chance.randrange(8 * len(pristine)))
        store = bench.open()
        kept = values(store, 40)
        assert all(column == [float(n)] * 3 for n, column in kept.items())
        assert len(kept) == 40 or store.stats().corrupt > 0, "data went missing in silence"
        store.append_samples([scrape(50)])
        store.close()
        for extra in bench.path.glob("inbox.sqlite*"):
            extra.unlink()


def test_an_inbox_that_is_no_database_is_set_aside(bench: Bench, scrape: Scrape, values: Values) -> None:
    """The segments stay, new data is kept, and nothing new is taken for what a segment holds already."""
    sealed(bench, scrape).close()
    (bench.path / "inbox.sqlite").write_bytes(b"this is no database" * 500)
    store = bench.open()
    for n in range(3, 6):
        store.append_samples([scrape(n)])
    store.close()
    assert set(values(bench.open(), 6)) == set(range(6))


def test_a_crash_between_sealing_and_emptying_doubles_nothing(bench: Bench, scrape: Scrape, values: Values) -> None:
    """The segment is there and its rows are in the inbox still: they are taken out when the store opens."""
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
def test_a_crash_between_merging_and_removing_doubles_nothing(
    bench: Bench,
    scrape: Scrape,
    values: Values,
    spoil: bool,
) -> None:
    """The merged segment counts where it is sound; where it is not, its parts are still there."""
    store = sealed(bench, scrape, 5)
    parts = bench.path.parent / "parts"
    store.append_samples([scrape(5)])
    store._samples.head.flush()
    store._compactor.cut_blocks(store._samples)
    shutil.copytree(bench.path / "metrics", parts)
    store.maintain()
    store.close()
    assert [path.name for path in (bench.path / "metrics").iterdir()] == ["0000000001.1"]
    if spoil:
        flip(bench.path / "metrics" / "0000000001.1" / "samples.parquet", 99)
    shutil.copytree(parts, bench.path / "metrics", dirs_exist_ok=True)
    store = bench.open()
    assert set(values(store, 6)) == set(range(6))
    assert sum(meta.rows for meta in store._samples.blocks()) == 18
    assert store.stats().corrupt == int(spoil)


def test_a_folder_of_another_format_is_refused_untouched(bench: Bench, scrape: Scrape) -> None:
    """Another version's data is not for this one."""
    sealed(bench, scrape).close()
    (bench.path / "format").write_text("1\n")
    before = sorted((path, path.stat().st_mtime_ns) for path in bench.path.rglob("*") if path.name != "lock")
    with pytest.raises(StoreError, match=r"format '1'.*another folder"):
        bench.open()
    assert before == sorted((path, path.stat().st_mtime_ns) for path in bench.path.rglob("*") if path.name != "lock")
