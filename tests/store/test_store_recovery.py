"""A damaged WAL costs only what is damaged, also if the process is killed while it is recovered, and is reported."""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import struct
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.store.conftest import CUT_ALWAYS
from tests.store.snapshots import SnapshotDisk

from foreshock_dashboard.store import Store, StoreError, sqlite_file, sqlite_pages, wal_recovery
from foreshock_dashboard.store.sqlite_pages import Pages, read_journal
from foreshock_dashboard.store.wal import PAGE_BYTES, WAL_FILE, Wal

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.store.conftest import Bench, MakeSpan, Scrape, Values

Damage = Callable[[Path], None]
JOURNAL = f"{WAL_FILE}-wal"


def overwrite(path: Path, at: int, data: bytes) -> None:
    """Write bytes into a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def as_killed(store: Store, folder: Path) -> Path:
    """Copy an open store's folder: what `kill -9` would leave now."""
    shutil.copytree(store.path, folder)
    return folder


def zero_header(folder: Path) -> None:
    """SQLite takes the file for no database."""
    overwrite(folder / WAL_FILE, 0, bytes(100))


def zero_first_page(folder: Path) -> None:
    """Header and schema are gone."""
    overwrite(folder / WAL_FILE, 0, bytes(PAGE_BYTES))


def unknown_schema_format(folder: Path) -> None:
    """SQLite reports an unsupported file."""
    overwrite(folder / WAL_FILE, 47, b"\x09")


def write_protected_header(folder: Path) -> None:
    """SQLite would report a file that may not be written."""
    overwrite(folder / WAL_FILE, 18, b"\x12")


def foreign_identity(folder: Path) -> None:
    """The table is intact, and its content is not."""
    with sqlite3.connect(folder / WAL_FILE) as connection:
        connection.execute("update meta set value = 'x' where key = 'identity'")
    connection.close()


def unreadable_deletion(folder: Path) -> None:
    """No id is known up to which records were deleted."""
    zero_header(folder)
    content = (folder / WAL_FILE).read_bytes()
    (folder / WAL_FILE).write_bytes(re.sub(rb"deleted\d+ ", lambda found: found[0][:-2] + b"x ", content))


HARMLESS: list[Damage] = [
    zero_header,
    zero_first_page,
    unknown_schema_format,
    write_protected_header,
    foreign_identity,
]
"""Damage that hits no record."""


@pytest.mark.parametrize("damage", HARMLESS)
def test_all_records_of_a_wal_with_a_damaged_header_are_recovered_once(
    bench: Bench, scrape: Scrape, values: Values, span: MakeSpan, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    """A part of them is in a block as well, as after a crash before the WAL was truncated."""
    store = bench.open()
    for n in range(3):
        store.append_samples([scrape(n)])
    store._samples.head.flush()
    store._compactor.cut_blocks(store._samples)
    for n in range(3, 6):
        store.append_samples([scrape(n)])
    store.append_spans([span(attributes={"long": os.urandom(40_000).hex()})])  # continues on overflow pages
    store.close()
    damage(bench.path)

    store = bench.open()

    assert set(values(store, 6)) == set(range(6))
    assert stored_samples(store) == 18
    assert len(store.get(f"{1:032x}")) == 1
    assert store.stats().corrupt == 1
    assert "7 of its records were recovered" in caplog.text
    assert len(list((bench.path / "damaged").iterdir())) == 1
    store.close()
    assert bench.open().stats().corrupt == 0


def stored_samples(store: Store) -> int:
    """Number of stored samples, duplicates included."""
    return store.stats().head_samples + sum(meta.rows for meta in store._samples.blocks())


@pytest.mark.parametrize("journal", [False, True], ids=["closed", "killed"])
def test_a_kill_at_any_step_of_a_recovery_loses_and_duplicates_nothing(
    bench: Bench, scrape: Scrape, values: Values, tmp_path: Path, journal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each folder that a kill leaves opens with all records, and counts the damage."""
    store = bench.open()
    store.append_samples([scrape(0)])
    store.maintain()
    for n in range(1, 9):
        store.append_samples([scrape(n)])
    if journal:
        bench.path = as_killed(store, tmp_path / "killed")
        overwrite(bench.path / JOURNAL, 0, bytes(16))
    else:
        store.close()
        zero_header(bench.path)
    disk = SnapshotDisk(bench.path, tmp_path / "snapshots")
    salvaged = wal_recovery.salvaged_records

    def killed_amid(pages: Pages) -> object:
        for number, record in enumerate(salvaged(pages)):
            disk.snapshot(f"record {number}")
            yield record

    monkeypatch.setattr(wal_recovery, "salvaged_records", killed_amid)
    store = bench.open(disk=disk)
    disk.snapshot("opened")
    assert set(values(store, 9)) == set(range(9))
    assert store.stats().corrupt == 1
    monkeypatch.undo()

    operations = [operation for operation, _ in disk.taken]
    assert f"rename {wal_recovery.RECOVERED_FILE} {WAL_FILE}" in operations
    assert "record 4" in operations
    for operation, folder in disk.taken:
        store = bench.open(folder=folder)
        assert set(values(store, 9)) == set(range(9)), operation
        assert stored_samples(store) == 27, operation
        assert store.stats().corrupt == int(operation != "opened"), operation
        store.close()


INTEGERS = [sign * (1 << bits) - below for bits in (0, 7, 15, 23, 31, 47, 62) for sign in (1, -1) for below in (0, 1)]


def test_pages_have_every_row_as_sqlite_reads_it(tmp_path: Path) -> None:
    """Integers of each size, texts, blobs over many pages, and nulls, in tables of both kinds."""
    path = tmp_path / "some.sqlite"
    rows = [(n, n, f"text {n}", bytes([n % 251]) * size) for n in INTEGERS for size in (0, 40, 600, 1_000, 5_000)]
    rows += [(0, 0, "text", bytes(size)) for size in range(930, 1_010)]  # around the longest without an overflow page
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("pragma page_size = 1024")
        connection.execute("create table a (id integer primary key, n integer, t text, b blob)")
        connection.execute("create table k (t text primary key, n integer) without rowid")
        connection.executemany("insert into a (n, t, b) values (?, ?, ?)", [row[1:] for row in rows])
        connection.executemany("insert into k values (?, ?)", [(f"key {n}", n) for n in {*INTEGERS}])
        stored = [list(row) for row in connection.execute("select id, n, t, b from a")]
    with closing(Pages(path, 1024)) as pages:
        found = sorted([rowid, *columns[1:]] for rowid, columns in pages.rows() if len(columns) == 4)
        keyed = sorted(map(repr, pages.keyed_rows()))
    assert found == stored
    assert keyed == sorted(repr([f"key {n}", n]) for n in {*INTEGERS})


def test_a_frame_of_the_journal_commits_if_it_ends_a_transaction(tmp_path: Path) -> None:
    """Pages of a transaction whose end is missing are not used."""
    path = tmp_path / "some.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table a (b blob)")
        connection.execute("pragma wal_checkpoint(truncate)")
        for n in range(3):
            connection.execute("insert into a values (?)", (bytes([n]) * 9_000,))
        journal = read_journal(path.with_name("some.sqlite-wal"), 4096)
        commits = [frame.commit for frame in journal.frames]
        assert (commits.count(True), commits[-1]) == (3, True)
        assert len(commits) > 6, "a transaction has several pages"
        copy = tmp_path / "cut.sqlite"
        shutil.copy(path, copy)
        content = path.with_name("some.sqlite-wal").read_bytes()
    copy.with_name("cut.sqlite-wal").write_bytes(content[: -(24 + 4096)])
    with closing(Pages(copy, 4096)) as pages:
        assert [columns[0] for _, columns in pages.rows() if columns and isinstance(columns[0], bytes)] == [
            bytes([n]) * 9_000 for n in range(2)
        ]


def test_a_journal_of_a_big_endian_machine_is_read(tmp_path: Path) -> None:
    """The lowest bit of its magic number says in which byte order the checksums are."""
    path = tmp_path / "some.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table a (b blob)")
        content = bytearray(path.with_name("some.sqlite-wal").read_bytes())
    content[3] |= 1
    checksum = sqlite_pages._checksum(bytes(content[:24]), (0, 0), ">u4")
    struct.pack_into(">2I", content, 24, *checksum)
    for at in range(32, len(content), 24 + 4096):
        checked = bytes(content[at : at + 8] + content[at + 24 : at + 24 + 4096])
        checksum = sqlite_pages._checksum(checked, checksum, ">u4")
        struct.pack_into(">2I", content, at + 16, *checksum)
    other = tmp_path / "other-wal"
    other.write_bytes(content)
    frames = read_journal(other, 512).frames
    assert frames
    assert all(frame.data for frame in frames)


class Interrupts(bytes):
    """A payload at which the process is interrupted."""

    def __radd__(self, _: bytes) -> bytes:
        """Interrupt the append."""
        raise KeyboardInterrupt


def test_an_append_that_is_interrupted_leaves_nothing_of_it(tmp_path: Path) -> None:
    """Whatever interrupts it: the next append must not find an open transaction."""
    wal = Wal(tmp_path / WAL_FILE)
    with pytest.raises(KeyboardInterrupt):
        wal.append([("spans", b"first"), ("spans", Interrupts())])
    wal.append([("spans", b"second"), ("spans", b"third")])
    assert [record.payload for record in wal.records("spans")] == [b"second", b"third"]
    wal.close()


def test_a_truncation_that_is_interrupted_deletes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> str:
        raise KeyboardInterrupt

    wal = Wal(tmp_path / WAL_FILE)
    (record_id,) = wal.append([("spans", b"kept")])
    with monkeypatch.context() as patched:
        patched.setattr("foreshock_dashboard.store.wal.deleted_text", interrupt)
        with pytest.raises(KeyboardInterrupt):
            wal.truncate("spans", record_id, record_id)
    wal.append([("spans", b"second"), ("spans", b"third")])
    assert [record.payload for record in wal.records("spans")] == [b"kept", b"second", b"third"]
    wal.close()


def test_records_behind_a_damaged_frame_of_the_journal_are_recovered(
    bench: Bench, scrape: Scrape, values: Values, tmp_path: Path
) -> None:
    """SQLite would drop all that was acknowledged after it."""
    store = bench.open()
    for n in range(12):
        store.append_samples([scrape(n)])
    pristine = as_killed(store, tmp_path / "pristine")
    frames = len(read_journal(pristine / JOURNAL, PAGE_BYTES).frames)
    assert frames > 20
    for frame in range(frames - 6):
        folder = shutil.copytree(pristine, tmp_path / f"{frame}")
        overwrite(folder / JOURNAL, 32 + frame * (24 + PAGE_BYTES) + 24 + 9_000, os.urandom(8_000))
        opened = bench.open(folder=folder)
        assert len(values(opened, 12)) >= 11, frame
        assert opened.stats().corrupt == 1, frame
        opened.close()


@pytest.mark.parametrize("at", [0, 9, 20, 25], ids=["magic", "page size", "salt", "checksum"])
def test_a_journal_with_a_damaged_header_is_recovered(
    bench: Bench, scrape: Scrape, values: Values, tmp_path: Path, at: int
) -> None:
    """SQLite would ignore the whole journal."""
    store = bench.open()
    for n in range(12):
        store.append_samples([scrape(n)])
    folder = as_killed(store, tmp_path / "killed")
    overwrite(folder / JOURNAL, at, b"\xff")
    opened = bench.open(folder=folder)
    assert set(values(opened, 12)) == set(range(12))
    assert opened.stats().corrupt == 1


def test_a_journal_whose_last_transaction_was_cut_short_is_no_damage(
    bench: Bench, scrape: Scrape, values: Values, tmp_path: Path
) -> None:
    """A power loss does that to a transaction that was not acknowledged."""
    store = bench.open()
    for n in range(4):
        store.append_samples([scrape(n)])
    before = (bench.path / JOURNAL).stat().st_size
    store.append_samples([scrape(4)])
    pristine = as_killed(store, tmp_path / "pristine")
    size = (pristine / JOURNAL).stat().st_size
    assert size > before
    for number, end in enumerate(random.Random(7).sample(range(before, size), 8)):
        folder = shutil.copytree(pristine, tmp_path / f"cut{number}")
        os.truncate(folder / JOURNAL, end)
        opened = bench.open(folder=folder)
        assert set(values(opened, 5)) == set(range(4))
        assert opened.stats().corrupt == 0
        opened.close()
        folder = shutil.copytree(pristine, tmp_path / f"hole{number}")
        overwrite(folder / JOURNAL, min(end, size - 100), bytes(100))
        opened = bench.open(folder=folder)
        assert set(range(4)) <= set(values(opened, 5))
        assert opened.stats().corrupt == 0
        opened.close()


@pytest.mark.parametrize("damage", ["deleted", "emptied", "replaced"])
def test_a_missing_wal_that_blocks_name_is_counted_and_logged(
    bench: Bench, scrape: Scrape, values: Values, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The record ids go on behind those in blocks, so that no new record is taken for one of them."""
    store = bench.open()
    store.append_samples([scrape(0)])
    store.append_samples([scrape(1)])
    store.maintain()
    store.close()
    path = bench.path / WAL_FILE
    match damage:
        case "deleted":
            path.unlink()
        case "emptied":
            path.write_bytes(b"")
        case "replaced":
            path.unlink()
            with sqlite3.connect(path) as connection:
                connection.execute("pragma user_version = 1")
            connection.close()

    store = bench.open()

    assert store.stats().corrupt == 1
    assert "the WAL was damaged" in caplog.text
    store.append_samples([scrape(2)])
    assert store._wal.record_ids("metrics", 0, 100) == [3]
    store.close()
    store = bench.open()
    assert set(values(store, 3)) == {0, 1, 2}
    assert store.stats().corrupt == 0


def test_records_in_the_journal_of_a_deleted_wal_are_recovered(
    bench: Bench, scrape: Scrape, values: Values, tmp_path: Path
) -> None:
    """SQLite deletes a journal without its file."""
    store = bench.open()
    for n in range(3):
        store.append_samples([scrape(n)])
    folder = as_killed(store, tmp_path / "killed")
    (folder / WAL_FILE).unlink()
    opened = bench.open(folder=folder)
    assert set(values(opened, 3)) == {0, 1, 2}
    assert opened.stats().corrupt == 1


def test_a_first_start_that_was_cut_short_is_no_damage(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly before the new WAL has its identity."""

    def identity() -> uuid.UUID:
        shutil.copytree(bench.path, tmp_path / "cut")
        return uuid.UUID(int=1)

    monkeypatch.setattr("foreshock_dashboard.store.wal.uuid.uuid4", identity)
    bench.open()
    monkeypatch.undo()
    assert bench.open(folder=tmp_path / "cut").stats().corrupt == 0


def test_a_folder_without_wal_and_blocks_is_new(bench: Bench) -> None:
    """Nothing is damaged, also if the first start was killed before it made the WAL."""
    store = bench.open()
    store.close()
    (bench.path / WAL_FILE).unlink()
    assert bench.open().stats().corrupt == 0


@pytest.mark.parametrize("lost_before", [False, True], ids=["one WAL", "a WAL was lost before"])
def test_records_in_blocks_are_not_stored_twice_if_the_identity_of_the_wal_cannot_be_read(
    bench: Bench, scrape: Scrape, values: Values, span: MakeSpan, lost_before: bool
) -> None:
    """The last block may be of another WAL, and a block of samples holds no spans of the same ids."""
    store = bench.open()
    if lost_before:
        store.append_spans([span()])
        store.append_samples([scrape(0)])
        store.maintain()
        store.close()
        (bench.path / WAL_FILE).unlink()
        store = bench.open()
    else:
        store.append_samples([scrape(0)])
    store.append_spans([span(trace=2)])
    store.append_samples([scrape(1)])
    store._samples.head.flush()
    store._compactor.cut_blocks(store._samples)
    store.append_samples([scrape(2)])
    store.close()
    foreign_identity(bench.path)
    store = bench.open()
    assert set(values(store, 3)) == {0, 1, 2}
    assert stored_samples(store) == 9
    assert store.stats().spans == 1 + lost_before
    store.maintain()
    store.close()
    assert stored_samples(bench.open()) == 9


@pytest.mark.parametrize("damage", [*HARMLESS, unreadable_deletion], ids=lambda damage: damage.__name__)
def test_a_recovery_brings_back_no_data_that_retention_deleted(
    bench: Bench, scrape: Scrape, values: Values, damage: Damage
) -> None:
    """SQLite leaves deleted records on its free pages. One that may not be deleted is kept in case of doubt."""
    store = bench.open()
    for n in range(30):
        store.append_samples([scrape(n), scrape(n, metric=os.urandom(9_000).hex())])
    store.maintain()
    store._samples.drop_oldest()
    store.append_samples([scrape(40)])
    store.close()
    damage(bench.path)
    store = bench.open()
    found = set(values(store, 41))
    assert found == {40} if damage in HARMLESS else {40} < found
    assert store.stats().corrupt == 1
    store.append_samples([scrape(41)])
    assert set(values(store, 42)) == found | {41}
    store.close()
    zero_header(bench.path)
    assert set(values(bench.open(), 42)) == found | {41}


def test_a_wal_that_cannot_be_read_for_now_is_left_alone(
    bench: Bench, scrape: Scrape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has locked it: that is no damage."""
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0)
    store = bench.open()
    store.append_samples([scrape(0)])
    store.close()
    other = sqlite3.connect(bench.path / WAL_FILE, isolation_level=None)
    other.execute("pragma locking_mode = exclusive")
    other.execute("begin exclusive")
    with pytest.raises(StoreError, match="locked"):
        bench.open()
    other.close()
    assert not list((bench.path / "damaged").iterdir())
    assert bench.open(CUT_ALWAYS).stats().corrupt == 0
