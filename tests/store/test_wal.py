"""The write-ahead log by itself: what is acknowledged is on disk, in order, and under ids that are never used again."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from foreshock_dashboard.store import StoreError
from foreshock_dashboard.store.blocks.block_meta import WalRange
from foreshock_dashboard.store.blocks.disk import Disk
from foreshock_dashboard.store.wal import PAGE_BYTES, WAL_FILE, Wal, deleted_text, payload_of
from foreshock_dashboard.store.wal_recovery import open_wal

CRC_OF_123456789 = bytes.fromhex("cbf43926")
"""The check value of CRC-32 (ISO-HDLC) in catalogs of checksums."""


@pytest.fixture
def wal(tmp_path: Path) -> Iterator[Wal]:
    """A new WAL."""
    with closing(Wal(tmp_path / WAL_FILE)) as opened:
        yield opened


def payloads(wal: Wal, kind: str) -> list[bytes]:
    """The payloads of a kind, oldest first."""
    return [record.payload for record in wal.records(kind)]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_what_an_append_acknowledged_is_in_a_copy_of_the_files(wal: Wal, tmp_path: Path, batch: int) -> None:
    """Without closing: as after `kill -9`."""
    ids = wal.append([("spans", bytes([n])) for n in range(batch)])
    copy = shutil.copytree(tmp_path, tmp_path / "copy")
    with closing(Wal(copy / WAL_FILE)) as opened:
        assert [record.id for record in opened.records("spans")] == ids == list(range(1, batch + 1))
        assert payloads(opened, "spans") == [bytes([n]) for n in range(batch)]
        assert opened.identity == wal.identity
        assert re.fullmatch(r"[0-9a-f]{32}", opened.identity)


def test_each_commit_is_synced(wal: Wal) -> None:
    """SQLite's WAL mode syncs each commit with `synchronous = full` (https://www.sqlite.org/pragma.html)."""
    names = ("journal_mode", "synchronous", "page_size", "wal_autocheckpoint")
    settings = [wal._connection.execute(f"pragma {name}").fetchone()[0] for name in names]
    assert settings == ["wal", 2, PAGE_BYTES, 4 * 2**20 // PAGE_BYTES]


def test_kinds_are_apart_and_each_is_in_order(wal: Wal) -> None:
    wal.append([("spans", b"a"), ("metrics", b"b"), ("spans", b"c"), ("other", b"d")])
    assert payloads(wal, "spans") == [b"a", b"c"]
    assert payloads(wal, "metrics") == [b"b"]
    assert wal.record_ids("spans", 1, 4) == [1, 3]
    assert wal.record_ids("spans", 2, 2) == []
    assert wal.record_ids("spans", 3, 3) == [3]
    assert [wal.count_of_other_kinds(kinds) for kinds in (["spans", "metrics"], ["spans"], ["other"])] == [1, 2, 3]


@pytest.mark.parametrize(
    ("first", "last", "left", "deleted"),
    [(1, 1, [2, 3, 4], 1), (1, 3, [2, 4], 1), (3, 3, [1, 2, 4], 0), (2, 2, [1, 2, 3, 4], 0), (1, 9, [2, 4], 1)],
)
def test_a_truncation_deletes_a_range_of_one_kind(
    wal: Wal, first: int, last: int, left: list[int], deleted: int
) -> None:
    """The id up to which nothing is left is written down, with a checksum."""
    wal.append([("spans", b"1"), ("metrics", b"2"), ("spans", b"3"), ("metrics", b"4")])
    wal.truncate("spans", first, last)
    assert sorted(wal.record_ids("spans", 0, 9) + wal.record_ids("metrics", 0, 9)) == left
    [(text,)] = wal._connection.execute("select value from meta where key = 'deleted'").fetchall()
    assert text == deleted_text(deleted)


def test_ids_are_never_used_again(tmp_path: Path) -> None:
    """Blocks name the records that they hold by id."""
    with closing(Wal(tmp_path / WAL_FILE)) as wal:
        wal.append([("spans", b"a"), ("spans", b"b")])
        wal.truncate("spans", 1, 2)
        [(text,)] = wal._connection.execute("select value from meta where key = 'deleted'").fetchall()
        assert text == deleted_text(2)
    with closing(Wal(tmp_path / WAL_FILE)) as wal:
        assert wal.append([("spans", b"c")]) == [3]


@pytest.mark.parametrize("older", [True, False], ids=["an older file", "a newer file"])
def test_a_replaced_file_is_noticed(wal: Wal, tmp_path: Path, older: bool) -> None:
    """Whichever inode the other file has."""
    assert wal.in_place()
    other = tmp_path / "other"
    other.write_bytes(b"")
    wal._file_id = (wal._file_id or (0, 0))[0], other.stat().st_ino + (1 if older else -1)
    other.replace(wal.path)
    assert not wal.in_place()
    wal.path.unlink()
    assert not wal.in_place()


def test_the_size_is_the_last_known_one_where_the_file_cannot_be_read(wal: Wal) -> None:
    """Of the payloads with their checksums."""
    assert wal.size() == (0, 0)
    wal.append([("spans", b"12345"), ("metrics", b"")])
    assert wal.size() == (2, 5 + 2 * len(CRC_OF_123456789))
    wal._connection.close()
    assert wal.size() == (2, 5 + 2 * len(CRC_OF_123456789))
    with closing(Wal(wal.path)) as other:
        other._connection.close()
        assert other.size() == (0, 0)


def test_a_report_of_a_recovery_is_forgotten_once(tmp_path: Path) -> None:
    path = tmp_path / WAL_FILE
    with closing(Wal(path)) as wal:
        assert wal.recovery == ""
        wal._connection.execute("insert into meta values ('recovery', 'it was damaged')")
    with closing(Wal(path)) as wal:
        assert wal.recovery == "it was damaged"
        wal.forget_recovery()
    with closing(Wal(path)) as wal:
        assert wal.recovery == ""


def test_a_full_wal_refuses_all_of_a_request_and_takes_the_next_small_one(tmp_path: Path) -> None:
    with closing(Wal(tmp_path / WAL_FILE, max_pages=8)) as wal:
        with pytest.raises(StoreError, match="free space on that disk") as refused:
            wal.append([("spans", b"small"), ("spans", bytes(8 * PAGE_BYTES))])
        assert str(tmp_path) in str(refused.value)
        assert wal.append([("spans", b"next")]) == [1]
        assert payloads(wal, "spans") == [b"next"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("SQLITE_READONLY_DBMOVED", "make the folder writable"),
        ("SQLITE_CANTOPEN", "make the folder writable"),
        ("SQLITE_IOERR_WRITE", "check the disk's health; nothing from this request was kept"),
    ],
)
def test_a_refused_append_names_the_remedy_and_the_next_one_opens_the_file_again(
    wal: Wal, name: str, remedy: str
) -> None:
    """A connection that cannot even roll back is not used again."""

    class Broken:
        """A connection whose disk fails."""

        in_transaction = True

        def execute(self, *_: object) -> None:
            error = sqlite3.OperationalError("it failed")
            error.sqlite_errorname = name
            raise error

        def close(self) -> None:
            real.close()

    real = wal._connection
    vars(wal)["_connection"] = Broken()
    with pytest.raises(StoreError, match=f"cannot keep data: it failed; {remedy}"):
        wal.append([("spans", b"lost")])
    assert wal.append([("spans", b"kept")]) == [1]
    assert payloads(wal, "spans") == [b"kept"]


def test_a_file_that_cannot_be_opened_for_now_is_opened_by_the_next_append(
    wal: Wal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an I/O error the connection is not used again."""

    def fail(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    wal._connection.close()
    with monkeypatch.context() as patch:
        patch.setattr("foreshock_dashboard.store.wal.sqlite3.connect", fail)
        for _ in range(2):
            with pytest.raises(StoreError, match="cannot keep data"):
                wal.append([("spans", b"lost")])
    assert wal.append([("spans", b"kept")]) == [1]
    assert payloads(wal, "spans") == [b"kept"]


@pytest.mark.parametrize(
    ("checked", "payload"),
    [
        (CRC_OF_123456789 + b"123456789", b"123456789"),
        (CRC_OF_123456789 + b"12345678", None),
        (b"\0" + CRC_OF_123456789[1:] + b"123456789", None),
        (bytes(4), b""),
        (bytes(3), None),
        (b"", None),
    ],
)
def test_a_payload_counts_only_behind_its_checksum(checked: bytes, payload: bytes | None) -> None:
    assert payload_of(checked) == payload


def test_a_record_is_its_checksum_and_its_payload(wal: Wal) -> None:
    """Damage empties the payload, and the record stays."""
    wal.append([("spans", b"123456789"), ("spans", b"ok")])
    assert wal._connection.execute("select payload from rows").fetchone() == (CRC_OF_123456789 + b"123456789",)
    wal._connection.execute("update rows set payload = x'00' where id = 1")
    assert payloads(wal, "spans") == [b"", b"ok"]


def test_the_text_of_a_deletion_has_its_own_checksum() -> None:
    assert deleted_text(123456789) == "123456789 cbf43926"
    assert deleted_text(0) == "0 f4dbdf21"


@pytest.mark.parametrize("header", [b"", bytes(100)], ids=["intact", "damaged"])
def test_a_damaged_wal_keeps_its_identity_its_records_and_what_was_deleted(tmp_path: Path, header: bytes) -> None:
    """With the identity, blocks still name its records."""
    folder = tmp_path / "store"
    (folder / "tmp").mkdir(parents=True)
    path = folder / WAL_FILE
    with closing(Wal(path)) as wal:
        wal.append([("spans", bytes([n]) * 5_000) for n in range(6)])
        wal.truncate("spans", 1, 2)
        identity = wal.identity
    with path.open("r+b") as file:
        file.write(header)
    with closing(open_wal(folder, None, {"spans": [WalRange(identity, 3, 4)]}, lambda: 5.0, Disk())) as wal:
        assert wal.identity == identity
        assert [(record.id, record.payload) for record in wal.records("spans")] == [
            (n + 1, bytes([n]) * 5_000) for n in range(2, 6)
        ]
        assert wal.append([("spans", b"next")]) == [7]
        assert wal.recovery == (
            "the WAL was damaged (file is not a database); 4 of its records were recovered, others may be missing"
            if header
            else ""
        )
        [(text,)] = wal._connection.execute("select value from meta where key = 'deleted'").fetchall()
        assert text == deleted_text(2)
    assert [path.name for path in folder.glob("damaged/*")] == (["inbox-5000.sqlite"] if header else [])


def test_a_damaged_identity_is_replaced_and_what_blocks_hold_is_not_kept_twice(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    (folder / "tmp").mkdir(parents=True)
    with closing(Wal(folder / WAL_FILE)) as wal:
        wal.append([("spans", b"1"), ("metrics", b"2"), ("spans", b"3"), ("spans", b"4")])
        wal._connection.execute("update meta set value = 'x' where key = 'identity'")
    held = {"spans": [WalRange("x", 1, 3)], "metrics": [WalRange("y", 1, 1), WalRange("x", 8, 9)]}
    with closing(open_wal(folder, None, held, lambda: 5.0, Disk())) as wal:
        assert re.fullmatch(r"[0-9a-f]{32}", wal.identity)
        assert "its identity is damaged" in wal.recovery
        assert (wal.record_ids("spans", 0, 9), wal.record_ids("metrics", 0, 9)) == ([4], [2])
        assert wal.append([("spans", b"next")]) == [10], "ids that blocks name are not used again"
