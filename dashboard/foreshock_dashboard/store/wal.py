"""The inbox: what was accepted and is in no segment yet, in SQLite with `synchronous=FULL`. It keeps the promise.

One row is one request or scrape: a kind, and compressed bytes behind their CRC-32. Row numbers are never used twice,
and an inbox has an identity of its own, so that a segment can say for ever which rows it holds.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from isal import isal_zlib

from foreshock_dashboard.store.errors import StoreError

PAGE = 16_384
"""Bytes of a page of a new inbox. A request's row is some 100 KB, and costs a quarter less in these than in pages of 4
KiB."""
_LOG = 4 << 20
"""Bytes of the write-ahead log at which it is folded in."""
_SCHEMA = """
create table if not exists meta (key text primary key, value text not null) without rowid;
create table if not exists rows (id integer primary key autoincrement, kind text not null, payload blob not null);
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One accepted request; `payload` is empty where its bytes are damaged."""

    id: int
    kind: str
    payload: bytes


class Inbox:
    """A SQLite file. Not thread-safe: its owner holds a lock around each call."""

    def __init__(self, path: Path, max_pages: int | None = None) -> None:
        self.path = path
        self._max_pages = max_pages
        self._open()

    def _open(self) -> None:
        self._connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=5)
        run = self._connection.execute
        run(f"pragma page_size = {PAGE:d}")
        run("pragma journal_mode = wal")
        run(f"pragma wal_autocheckpoint = {_LOG // PAGE:d}")
        run("pragma synchronous = full")
        run("pragma journal_size_limit = 67108864")
        run("pragma temp_store = memory")
        run("pragma secure_delete = off")  # a segment holds what is deleted: zeros would hide it from nobody
        if self._max_pages is not None:
            run(f"pragma max_page_count = {self._max_pages:d}")
        self._connection.executescript(_SCHEMA)
        run("insert or ignore into meta values ('identity', ?)", (uuid.uuid4().hex,))
        self.identity: str = run("select value from meta where key = 'identity'").fetchone()[0]

    def append(self, rows: Sequence[tuple[str, bytes]]) -> list[int]:
        """Keep (kind, payload) rows in one durable transaction; gives their numbers.

        Raises:
            StoreError: none of them could be kept; the inbox is as before.
        """
        numbers: list[int] = []
        try:
            together = len(rows) > 1  # one row is a transaction by itself, in fewer statements
            if together:
                self._connection.execute("begin immediate")
            for kind, payload in rows:
                sealed = isal_zlib.crc32(payload).to_bytes(4, "big") + payload
                cursor = self._connection.execute("insert into rows (kind, payload) values (?, ?)", (kind, sealed))
                numbers.append(cursor.lastrowid or 0)
            if together:
                self._connection.execute("commit")
        except (sqlite3.Error, OverflowError) as error:
            self._recover()
            raise StoreError(f"store {self.path.parent}: cannot keep data: {error}; {_remedy(error)}") from error
        except BaseException:
            self._recover()
            raise
        return numbers

    def _recover(self) -> None:
        """Leave no transaction open. After an I/O error SQLite's view of the file is not trusted: open it afresh."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
        except sqlite3.Error:
            self._connection.close()
            self._open()

    def read(self, kind: str) -> Iterator[Row]:
        """Every row of a kind, oldest first.

        Raises:
            sqlite3.DatabaseError: the file is damaged.
        """
        found = self._connection.execute("select id, payload from rows where kind = ? order by id", (kind,))
        for number, sealed in found:
            payload = bytes(sealed[4:])
            sound = len(sealed) >= 4 and int.from_bytes(sealed[:4], "big") == isal_zlib.crc32(payload)
            yield Row(number, kind, payload if sound else b"")

    def strange(self, kinds: Sequence[str]) -> int:
        """How many rows are of none of these kinds: a row's checksum does not tell of what kind it was.

        Raises:
            sqlite3.DatabaseError: the file is damaged.
        """
        sql = f"select count(*) from rows where kind not in ({', '.join('?' * len(kinds))})"  # noqa: S608 - marks
        return int(self._connection.execute(sql, (*kinds,)).fetchone()[0])

    def forget(self, kind: str, first: int, last: int) -> None:
        """Remove the rows first … last of a kind: a segment holds them now.

        Raises:
            sqlite3.Error: they could not be removed; they are when the store is opened next.
        """
        self._connection.execute("delete from rows where kind = ? and id between ? and ?", (kind, first, last))

    def numbers(self, kind: str, first: int, last: int) -> list[int]:
        """The numbers of a kind's rows in first … last, ascending.

        Raises:
            sqlite3.Error: they cannot be read.
        """
        sql = "select id from rows where kind = ? and id between ? and ? order by id"
        return [number for (number,) in self._connection.execute(sql, (kind, first, last))]

    def check(self) -> None:
        """Look whether the file is sound.

        Raises:
            sqlite3.DatabaseError: it is damaged.
        """
        verdict = self._connection.execute("pragma quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)

    def size(self) -> tuple[int, int]:
        """Rows and their bytes."""
        rows, total = self._connection.execute(
            "select count(*), coalesce(sum(length(payload)), 0) from rows"
        ).fetchone()
        return int(rows), int(total)

    def close(self) -> None:
        """Fold the write-ahead log in and let go."""
        self._connection.close()


def salvage(path: Path) -> list[tuple[str, bytes]]:
    """The sound rows of a damaged file, read one by one: those behind a damaged page are left out."""
    found: list[tuple[str, bytes]] = []
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        last = connection.execute("select max(id) from rows").fetchone()[0] or 0
    except sqlite3.Error:
        return found
    for number in range(max(1, last - 1_000_000), last + 1):
        try:
            row = connection.execute("select kind, payload from rows where id = ?", (number,)).fetchone()
        except sqlite3.Error:
            continue
        if row is not None and int.from_bytes(row[1][:4], "big") == isal_zlib.crc32(row[1][4:]):
            found.append((row[0], bytes(row[1][4:])))
    connection.close()
    return found


def _remedy(error: Exception) -> str:
    code = getattr(error, "sqlite_errorname", "")
    if code == "SQLITE_FULL":
        return "free space on that disk or lower the store's retention; nothing was kept of this request"
    if code.startswith("SQLITE_READONLY") or code == "SQLITE_CANTOPEN":
        return "make the folder writable"
    return "look at the disk's health; nothing was kept of this request"
