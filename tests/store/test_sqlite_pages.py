"""Raw pages of a SQLite file: its numbers, rows, and checksums, also where the file is malformed or cannot be read."""

from __future__ import annotations

import errno
import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.store import sqlite_pages
from foreshock_dashboard.store.blocks.disk import Disk
from foreshock_dashboard.store.sqlite_pages import Pages, read_journal
from foreshock_dashboard.store.wal_recovery import has_bad_sectors

SECTOR = 4096


def varint(value: int) -> bytes:
    """SQLite's variable-length integer (https://www.sqlite.org/fileformat2.html, section 1.6)."""
    if value >= 1 << 56:
        return bytes(value >> 8 + shift & 0x7F | 0x80 for shift in range(49, -1, -7)) + bytes([value & 0xFF])
    groups = [value >> shift & 0x7F for shift in range(49, -1, -7)]
    while len(groups) > 1 and not groups[0]:
        groups.pop(0)
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_a_number_of_any_length_is_read(value: int, before: bytes) -> None:
    encoded = varint(value)
    data = before + encoded + b"\xff"
    assert sqlite_pages._varint(data, len(before)) == (value, len(before) + len(encoded))


@pytest.mark.parametrize(
    ("record", "values"),
    [
        (b"\x02\x00", [None]),
        (b"\x03\x08\x09", [0, 1]),
        (b"\x02\x01\xff", [-1]),
        (b"\x03\x02\x01\x7f\xff\x80", [32_767, -128]),
        (b"\x02\x06\x80\0\0\0\0\0\0\0", [-(2**63)]),
        (b"\x03\x0c\x0d", [b"", ""]),
        (b"\x03\x10\x0f\x00\xffa", [b"\x00\xff", "a"]),
        (b"\x01", []),
    ],
)
def test_a_record_has_its_values(record: bytes, values: list[object]) -> None:
    """Serial types of https://www.sqlite.org/fileformat2.html, section 2.1; what follows the record is not read."""
    assert sqlite_pages._columns(record) == values
    assert sqlite_pages._columns(record + b"rest") == values


@pytest.mark.parametrize(
    "record",
    [b"", b"\x05\x01", b"\x02\x10", b"\x02\x10\x00", b"\x02\x04\x00\x00", b"\x02\x0a", b"\x02\x0b", b"\x02\x0f\xff"],
    ids=["empty", "types cut", "no blob", "blob cut", "integer cut", "reserved 10", "reserved 11", "not UTF-8"],
)
def test_a_malformed_record_is_refused(record: bytes) -> None:
    with pytest.raises((ValueError, IndexError, struct.error)):
        sqlite_pages._columns(record)


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), max_size=40),
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.sampled_from("<>"),
)
def test_the_checksum_is_the_sum_of_the_format(
    pairs: list[tuple[int, int]], start: tuple[int, int], order: str
) -> None:
    """As https://www.sqlite.org/fileformat2.html, section 4.2 defines it, step by step."""
    first, second = start
    for even, odd in pairs:
        first = (first + even + second) % 2**32
        second = (second + odd + first) % 2**32
    data = struct.pack(f"{order}{2 * len(pairs)}I", *(word for pair in pairs for word in pair))
    assert sqlite_pages._checksum(data, start, f"{order}u4") == (first, second)


def test_a_journal_ends_at_the_first_frame_of_an_older_one(tmp_path: Path) -> None:
    """SQLite restarts a journal from its beginning with another salt, and leaves what was behind."""
    path = tmp_path / "some.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table a (b blob)")
        for n in range(5):
            connection.execute("insert into a values (?)", (bytes([n]) * 100,))
        connection.execute("pragma wal_checkpoint(restart)")
        connection.execute("insert into a values (?)", (b"new",))
        journal = read_journal(path.with_name("some.sqlite-wal"), SECTOR)
        size = path.with_name("some.sqlite-wal").stat().st_size
        assert len(journal.frames) == 1 < size // (SECTOR + 24)
        assert journal.frames[0].commit
        assert not journal.lost
        with closing(Pages(path, SECTOR)) as pages:
            found = [columns[0] for _, columns in pages.rows() if columns and isinstance(columns[0], bytes)]
    assert found == [*(bytes([n]) * 100 for n in range(5)), b"new"]


@pytest.mark.parametrize(("damaged", "lost"), [(0, True), (1, True), (2, False), (None, False)])
def test_only_damage_before_the_last_transaction_loses_a_finished_one(
    tmp_path: Path, damaged: int | None, lost: bool
) -> None:
    """The last one may have been cut short by a power loss."""
    path = tmp_path / "some.sqlite"
    journal = path.with_name("some.sqlite-wal")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table a (b blob)")
        connection.execute("pragma wal_checkpoint(truncate)")
        for n in range(3):
            connection.execute("insert into a values (?)", (bytes([n]) * 100,))
        content = bytearray(journal.read_bytes())
    if damaged is not None:
        content[32 + damaged * (24 + SECTOR) + 1_000] ^= 1
    journal.write_bytes(content)
    read = read_journal(journal, SECTOR)
    assert [bool(frame.data) for frame in read.frames] == [number != damaged for number in range(3)]
    assert read.lost is lost
    for at in (0, 9, 25):  # magic, page size, checksum: without its header, SQLite ignores all frames
        journal.write_bytes(content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :])
        assert read_journal(journal, SECTOR).lost


def two_long_transactions(path: Path) -> tuple[bytearray, list[int]]:
    """A journal with two transactions of several frames, and the number of the first frame of each."""
    journal = path.with_name(f"{path.name}-wal")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table a (b blob)")
        connection.execute("pragma wal_checkpoint(truncate)")
        for n in range(2):
            connection.execute("insert into a values (?)", (bytes([n]) * 9_000,))
        content = journal.read_bytes()
        commits = [number for number, frame in enumerate(read_journal(journal, SECTOR).frames) if frame.commit]
    assert 0 < commits[0] < commits[1] - 1
    return bytearray(content), [0, commits[0] + 1]


@pytest.mark.parametrize(("transaction", "lost"), [(0, True), (1, False)])
def test_a_last_transaction_that_has_its_end_and_not_its_beginning_is_an_unfinished_one(
    tmp_path: Path, transaction: int, lost: bool
) -> None:
    """A disk may write the pages of an append in any order."""
    content, first = two_long_transactions(tmp_path / "some.sqlite")
    content[32 + first[transaction] * (24 + SECTOR) + 1_000] ^= 1
    (tmp_path / "cut").write_bytes(content)
    assert read_journal(tmp_path / "cut", SECTOR).lost is lost


@pytest.mark.parametrize("step", [-1, 1], ids=["smaller salt", "larger salt"])
def test_an_older_frame_amid_an_unfinished_transaction_ends_none(tmp_path: Path, step: int) -> None:
    """Its place was not written yet, and has a frame that committed an earlier transaction under another salt."""
    content, first = two_long_transactions(tmp_path / "some.sqlite")
    at = 32 + first[1] * (24 + SECTOR)
    (salt,) = struct.unpack_from(">I", content, at + 8)
    struct.pack_into(">II", content, at + 4, 7, (salt + step) % 2**32)
    (tmp_path / "cut").write_bytes(content)
    assert not read_journal(tmp_path / "cut", SECTOR).lost


def test_pages_of_a_transaction_without_its_end_are_not_read(tmp_path: Path) -> None:
    """Also if it is the first one."""
    path = tmp_path / "some.sqlite"
    content, _ = two_long_transactions(path)
    path.unlink()
    path.with_name("some.sqlite-wal").write_bytes(content[: 32 + 2 * (24 + SECTOR)])
    assert [frame.commit for frame in read_journal(path.with_name("some.sqlite-wal"), SECTOR).frames] == [False] * 2
    with closing(Pages(path, SECTOR)) as pages:
        assert (pages.count, list(pages.rows())) == (0, [])
    path.with_name("some.sqlite-wal").write_bytes(b"\xff" + content[1 : 32 + 2 * (24 + SECTOR)])
    assert not read_journal(path.with_name("some.sqlite-wal"), SECTOR).lost, "nothing was acknowledged"


def test_the_only_transaction_behind_a_damaged_header_is_missed(tmp_path: Path) -> None:
    """It was acknowledged: SQLite syncs the header before the first frame."""
    path = tmp_path / "some.sqlite"
    journal = path.with_name("some.sqlite-wal")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table a (b blob)")
        connection.execute("pragma wal_checkpoint(truncate)")
        connection.execute("insert into a values ('kept')")
        content = journal.read_bytes()
    assert not read_journal(journal, SECTOR).lost
    journal.write_bytes(b"\xff" + content[1:])
    assert read_journal(journal, SECTOR).lost
    with closing(Pages(path, SECTOR)) as pages:
        assert ["kept"] in [columns for _, columns in pages.rows()]
    journal.write_bytes(content[:32])
    assert not read_journal(journal, SECTOR).lost


def test_short_rows_on_the_last_page_are_read(tmp_path: Path) -> None:
    path = tmp_path / "some.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table k (t text primary key) without rowid")
        connection.execute("insert into k values ('on page 2')")
    with closing(Pages(path, SECTOR)) as pages:
        assert pages.count == 2
        assert list(pages.keyed_rows()) == [["on page 2"]]


def bad_sector(monkeypatch: pytest.MonkeyPatch, at: int, code: int = errno.EIO) -> None:
    """Make each read fail that has this byte."""
    read = os.pread

    def pread(file: int, size: int, offset: int) -> bytes:
        if offset <= at < offset + size:
            raise OSError(code, os.strerror(code))
        return read(file, size, offset)

    monkeypatch.setattr(os, "pread", pread)


@pytest.mark.parametrize("sector", [0, 2, 4])
def test_a_bad_sector_reads_as_zeros_and_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sector: int
) -> None:
    """Of a page of four sectors and a bit, the last of which is short."""
    content = os.urandom(4 * SECTOR + 100)
    (tmp_path / "file").write_bytes(content)
    bad_sector(monkeypatch, sector * SECTOR + 5)
    with (tmp_path / "file").open("rb") as file:
        found = sqlite_pages._read(file.fileno(), len(content), 0, partial=True)
        with pytest.raises(OSError, match="Input/output"):
            sqlite_pages._read(file.fileno(), len(content), 0, partial=False)
    start, end = sector * SECTOR, min((sector + 1) * SECTOR, len(content))
    assert found == content[:start] + bytes(end - start) + content[end:]


def test_another_error_than_a_bad_sector_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(bytes(10))
    bad_sector(monkeypatch, 0, errno.EACCES)
    with (tmp_path / "file").open("rb") as file, pytest.raises(PermissionError):
        sqlite_pages._read(file.fileno(), 10, 0, partial=True)


@pytest.mark.parametrize(
    ("broken", "code", "works", "bad"),
    [
        ("", errno.EIO, True, False),
        ("some.sqlite", errno.EIO, True, True),
        ("some.sqlite-wal", errno.EIO, True, True),
        ("some.sqlite", errno.EIO, False, False),
        ("some.sqlite", errno.EACCES, True, False),
    ],
)
def test_a_sector_is_bad_if_the_rest_of_the_disk_works(
    tmp_path: Path, broken: str, code: int, works: bool, bad: bool
) -> None:
    """A failing disk, or missing permissions, are no damage to the file."""

    class Failing(Disk):
        """A disk that cannot read one file."""

        def checksum(self, path: Path) -> int:
            if path.name == broken:
                raise OSError(code, os.strerror(code))
            return super().checksum(path)

        def works(self, folder: Path) -> bool:
            return works and super().works(folder)

    for name in ("some.sqlite", "some.sqlite-wal"):
        (tmp_path / name).write_bytes(b"x")
    assert has_bad_sectors(tmp_path / "some.sqlite", Failing()) is bad


@pytest.mark.parametrize(
    ("page", "cells"),
    [
        (b"\x0d\0\0\0\x02\0\0\0\x01\x02\x03\x04", (0x102, 0x304)),
        (b"\x0d\0\0\0\x01\0\0\0\x01\x02\x03\x04", (0x102,)),
        (b"\x0d\0\0\xff\xff\0\0\0\x01\x02\x03", (0x102,)),
        (b"\x0d\0\0\0\x01\0\0\0", ()),
        (b"\x0d\0\0\0\x01\0\0", ()),
        (b"\x05\0\0\0\x01\0\0\0\x01\x02", ()),
        (b"", ()),
    ],
    ids=["two", "one of two", "too many", "none of one", "cut header", "another type", "empty"],
)
def test_the_cells_of_a_leaf_are_those_that_it_has_room_for(page: bytes, cells: tuple[int, ...]) -> None:
    """The first page has the header of the file before it."""
    assert sqlite_pages._cells(page, 2, 0x0D) == cells
    assert sqlite_pages._cells(bytes(100) + page, 1, 0x0D) == cells


@pytest.mark.parametrize("size", [512, 1024, 65_536])
def test_the_page_size_is_that_of_the_header(tmp_path: Path, size: int) -> None:
    """65,536 is written as 1. A damaged header leaves the default."""
    path = tmp_path / "some.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"pragma page_size = {size}")
        connection.execute("create table k (t text primary key) without rowid")
        connection.execute("insert into k values ('on page 2')")
        connection.execute("create table a (b blob)")
        connection.execute("insert into a values ('on page 3')")
    with closing(Pages(path, 4096)) as pages:
        assert (pages.bytes, pages.count) == (size, 3)
        assert len(pages[3]) == size
        assert pages[4] == b""
        assert list(pages.keyed_rows()) == [["on page 2"]]
        assert (1, ["on page 3"]) in list(pages.rows())
    content = path.read_bytes()
    for at in (0, 15, 16, 17):
        path.write_bytes(content[:at] + b"\x77" + content[at + 1 :])
        with closing(Pages(path, 8192)) as pages:
            assert pages.bytes == 8192
    path.unlink()
    with closing(Pages(path, 8192)) as pages:
        assert (pages.bytes, pages.count, pages[1]) == (8192, 0, b"")
