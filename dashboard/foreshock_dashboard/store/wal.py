"""The write-ahead log: accepted data that is in no block yet, in SQLite with `synchronous=FULL`.

One record is one request or scrape: a kind, and a payload behind its CRC-32. Record ids are never reused. Each WAL has
a unique identity, so that a block can name the records it holds.
"""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from isal import isal_zlib

from foreshock_dashboard.store.blocks.disk import StoreError, file_id
from foreshock_dashboard.store.sqlite_file import durable_connection

WAL_FILE = "inbox.sqlite"
"""Stores of 0.1 name the file so."""
PAGE_BYTES = 16_384
"""Page size of a new file. A record is about 100 KB, and costs a quarter less than with pages of 4 KiB."""
_CHECKPOINT_BYTES = 4 << 20
"""Size of SQLite's own journal at which it is checkpointed."""
DELETED_KEY = "deleted"
"""Key in `meta` of the id up to which all records are deleted."""
SCHEMA = """
create table if not exists meta (key text primary key, value text not null) without rowid;
create table if not exists rows (id integer primary key autoincrement, kind text not null, payload blob not null);
"""


class WalRecord(NamedTuple):
    """One accepted request. `payload` is empty if its bytes are damaged."""

    id: int
    payload: bytes


class Wal:
    """A SQLite file. Not thread-safe: callers hold a lock around each call.

    identity: of this WAL. recovery: what was damaged if this WAL replaced a damaged one, as a sentence; else "".
    """

    def __init__(self, path: Path, max_pages: int | None = None) -> None:
        self.path = path
        self._max_pages = max_pages
        self._size = (0, 0)
        self._open()
        self._file_id = file_id(path)

    def _open(self) -> None:
        self._usable = False
        self._connection = durable_connection(self.path, PAGE_BYTES)
        run = self._connection.execute
        run(f"pragma wal_autocheckpoint = {_CHECKPOINT_BYTES // PAGE_BYTES:d}")
        run("pragma journal_size_limit = 67108864")
        run("pragma secure_delete = off")  # deleted records are in a block anyway
        if self._max_pages is not None:
            run(f"pragma max_page_count = {self._max_pages:d}")
        # One transaction: cut short, tables without an identity would look damaged.
        self._connection.executescript(f"begin; {SCHEMA}")
        run("insert or ignore into meta values ('identity', ?)", (uuid.uuid4().hex,))
        run("commit")
        meta: dict[str, str] = dict(run("select key, value from meta").fetchall())
        self.identity, self.recovery = meta["identity"], meta.get("recovery", "")
        self._usable = True

    def append(self, records: Sequence[tuple[str, bytes]]) -> list[int]:
        """Write (kind, payload) records in one durable transaction and return their ids. Raises StoreError."""
        ids: list[int] = []
        try:
            if not self._usable:
                self._open()
            explicit = len(records) > 1  # a single insert is a transaction by itself
            if explicit:
                self._connection.execute("begin immediate")
            for kind, payload in records:
                checked = isal_zlib.crc32(payload).to_bytes(4, "big") + payload
                cursor = self._connection.execute("insert into rows (kind, payload) values (?, ?)", (kind, checked))
                ids.append(cursor.lastrowid or 0)
            if explicit:
                self._connection.execute("commit")
        except (sqlite3.Error, OverflowError) as error:
            self._roll_back()
            raise StoreError(f"store {self.path.parent}: cannot keep data: {error}; {_remedy(error)}") from error
        except BaseException:
            self._roll_back()
            raise
        return ids

    def _roll_back(self) -> None:
        """End an open transaction. Reopen the file if that fails: after an I/O error SQLite's cache is not trusted.

        If it cannot be opened for now, the next append tries again.
        """
        try:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
        except sqlite3.Error:
            self._connection.close()
            with contextlib.suppress(sqlite3.Error):
                self._open()

    def records(self, kind: str) -> Iterator[WalRecord]:
        """Yield the records of a kind, oldest first. Raises sqlite3.DatabaseError if the file is damaged."""
        rows = self._connection.execute("select id, payload from rows where kind = ? order by id", (kind,))
        for record_id, checked in rows:
            yield WalRecord(record_id, payload_of(checked) or b"")

    def count_of_other_kinds(self, kinds: Sequence[str]) -> int:
        """Number of records of a kind that is not in `kinds`. The checksum does not cover the kind."""
        sql = f"select count(*) from rows where kind not in ({', '.join('?' * len(kinds))})"  # noqa: S608 - marks
        return int(self._connection.execute(sql, (*kinds,)).fetchone()[0])

    def truncate(self, kind: str, first: int, last: int) -> None:
        """Delete the records `first` to `last` of a kind. If it fails, opening the store deletes them.

        The same transaction writes down to which id nothing is left, because SQLite leaves deleted records on its free
        pages, where a recovery finds them.
        """
        run = self._connection.execute
        try:
            run("begin immediate")
            run("delete from rows where kind = ? and id between ? and ?", (kind, first, last))
            sql = "select coalesce(min(id) - 1, (select seq from sqlite_sequence where name = 'rows'), 0) from rows"
            (deleted,) = run(sql).fetchone()
            run("insert or replace into meta values (?, ?)", (DELETED_KEY, deleted_text(deleted)))
            run("commit")
        except BaseException:
            self._roll_back()
            raise

    def record_ids(self, kind: str, first: int, last: int) -> list[int]:
        """Return the ids of a kind's records from `first` to `last`, ascending."""
        sql = "select id from rows where kind = ? and id between ? and ? order by id"
        return [record_id for (record_id,) in self._connection.execute(sql, (kind, first, last))]

    def in_place(self) -> bool:
        """Whether the path still leads to the file that is open: false once the folder was removed or replaced."""
        return file_id(self.path) == self._file_id

    def forget_recovery(self) -> None:
        """Delete what `recovery` says, once it has been reported."""
        self._connection.execute("delete from meta where key = 'recovery'")

    def size(self) -> tuple[int, int]:
        """Return the number of records and the bytes of their payloads; the last known if they cannot be read."""
        with contextlib.suppress(sqlite3.Error):
            sql = "select count(*), coalesce(sum(length(payload)), 0) from rows"
            self._size = self._connection.execute(sql).fetchone()
        return self._size

    def close(self) -> None:
        """Checkpoint and close the file."""
        self._connection.close()


def deleted_text(record_id: int) -> str:
    """Return the value of `DELETED_KEY`: the id and its CRC-32."""
    text = str(record_id)
    return f"{text} {isal_zlib.crc32(text.encode()):08x}"


def payload_of(checked: bytes) -> bytes | None:
    """Return the payload behind a CRC-32; None if it does not match."""
    payload = checked[4:]
    return payload if len(checked) >= 4 and int.from_bytes(checked[:4], "big") == isal_zlib.crc32(payload) else None


def _remedy(error: Exception) -> str:
    code = getattr(error, "sqlite_errorname", "")
    if code == "SQLITE_FULL":
        return "free space on that disk or lower the store's retention; nothing from this request was kept"
    if code.startswith("SQLITE_READONLY") or code == "SQLITE_CANTOPEN":
        return "make the folder writable"
    return "check the disk's health; nothing from this request was kept"
