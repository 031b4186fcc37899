"""The write-ahead log: accepted data that is in no block yet, in SQLite with `synchronous=FULL`.

One record is one request or scrape: a kind, and a payload behind its CRC-32. Record ids are never reused. Each WAL has
an identity of its own, so that a block can name the records it holds.
"""

from __future__ import annotations

import logging
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from isal import isal_zlib

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.store.blocks.disk import StoreError

log = logging.getLogger(__name__)

WAL_FILE = "inbox.sqlite"
"""Stores of 0.1 name the file so."""
PAGE_BYTES = 16_384
"""Page size of a new file. A record is about 100 KB, and costs a quarter less than with pages of 4 KiB."""
_CHECKPOINT_BYTES = 4 << 20
"""Size of SQLite's own journal at which it is checkpointed."""
_MAX_SALVAGED_IDS = 1_000_000
_SCHEMA = """
create table if not exists meta (key text primary key, value text not null) without rowid;
create table if not exists rows (id integer primary key autoincrement, kind text not null, payload blob not null);
"""


class WalRecord(NamedTuple):
    """One accepted request. `payload` is empty if its bytes are damaged."""

    id: int
    payload: bytes


class Wal:
    """A SQLite file. Not thread-safe: callers hold a lock around each call."""

    def __init__(self, path: Path, max_pages: int | None = None) -> None:
        self.path = path
        self._max_pages = max_pages
        self._open()

    def _open(self) -> None:
        self._connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=5)
        run = self._connection.execute
        run(f"pragma page_size = {PAGE_BYTES:d}")
        run("pragma journal_mode = wal")
        run(f"pragma wal_autocheckpoint = {_CHECKPOINT_BYTES // PAGE_BYTES:d}")
        run("pragma synchronous = full")
        run("pragma journal_size_limit = 67108864")
        run("pragma temp_store = memory")
        run("pragma secure_delete = off")  # deleted records are in a block anyway
        if self._max_pages is not None:
            run(f"pragma max_page_count = {self._max_pages:d}")
        self._connection.executescript(_SCHEMA)
        run("insert or ignore into meta values ('identity', ?)", (uuid.uuid4().hex,))
        self.identity: str = run("select value from meta where key = 'identity'").fetchone()[0]

    def append(self, records: Sequence[tuple[str, bytes]]) -> list[int]:
        """Write (kind, payload) records in one durable transaction and return their ids. Raises StoreError."""
        ids: list[int] = []
        try:
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
        """End an open transaction. Reopen the file if that fails: after an I/O error SQLite's cache is not trusted."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
        except sqlite3.Error:
            self._connection.close()
            self._open()

    def records(self, kind: str) -> Iterator[WalRecord]:
        """Yield the records of a kind, oldest first. Raises sqlite3.DatabaseError if the file is damaged."""
        rows = self._connection.execute("select id, payload from rows where kind = ? order by id", (kind,))
        for record_id, checked in rows:
            payload = bytes(checked[4:])
            sound = len(checked) >= 4 and int.from_bytes(checked[:4], "big") == isal_zlib.crc32(payload)
            yield WalRecord(record_id, payload if sound else b"")

    def count_of_other_kinds(self, kinds: Sequence[str]) -> int:
        """Number of records of a kind that is not in `kinds`. The checksum does not cover the kind."""
        sql = f"select count(*) from rows where kind not in ({', '.join('?' * len(kinds))})"  # noqa: S608 - marks
        return int(self._connection.execute(sql, (*kinds,)).fetchone()[0])

    def truncate(self, kind: str, first: int, last: int) -> None:
        """Delete the records `first` to `last` of a kind. If it fails, opening the store deletes them."""
        self._connection.execute("delete from rows where kind = ? and id between ? and ?", (kind, first, last))

    def record_ids(self, kind: str, first: int, last: int) -> list[int]:
        """Return the ids of a kind's records from `first` to `last`, ascending."""
        sql = "select id from rows where kind = ? and id between ? and ? order by id"
        return [record_id for (record_id,) in self._connection.execute(sql, (kind, first, last))]

    def check(self) -> None:
        """Check the integrity of the file. Raises sqlite3.DatabaseError if it is damaged."""
        verdict = self._connection.execute("pragma quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)

    def size(self) -> tuple[int, int]:
        """Return the number of records and the bytes of their payloads."""
        rows, total = self._connection.execute(
            "select count(*), coalesce(sum(length(payload)), 0) from rows"
        ).fetchone()
        return int(rows), int(total)

    def close(self) -> None:
        """Checkpoint and close the file."""
        self._connection.close()


def open_wal(folder: Path, max_pages: int | None, now: Now) -> tuple[Wal, int]:
    """Return the WAL of a store, and the number of damaged files that it replaces. Raises sqlite3.OperationalError."""
    path = folder / WAL_FILE
    try:
        wal = Wal(path, max_pages)
        wal.check()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        problem = str(error)
    else:
        return wal, 0
    damaged = folder / "damaged" / f"inbox-{round(now() * 1000)}.sqlite"
    for suffix in ("", "-wal", "-shm"):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(damaged.with_name(damaged.name + suffix))
    wal = Wal(path, max_pages)
    records = salvage_records(damaged)
    if records:
        wal.append(records)
    log.error("store: the WAL is damaged (%s); set aside as %s; %d rows were saved", problem, damaged, len(records))
    return wal, 1


def salvage_records(path: Path) -> list[tuple[str, bytes]]:
    """Return the (kind, payload) records of a damaged file that are still readable and match their checksums."""
    records: list[tuple[str, bytes]] = []
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        last = connection.execute("select max(id) from rows").fetchone()[0] or 0
    except sqlite3.Error:
        return records
    for record_id in range(max(1, last - _MAX_SALVAGED_IDS), last + 1):
        try:
            row = connection.execute("select kind, payload from rows where id = ?", (record_id,)).fetchone()
        except sqlite3.Error:
            continue
        if row is not None and int.from_bytes(row[1][:4], "big") == isal_zlib.crc32(row[1][4:]):
            records.append((row[0], bytes(row[1][4:])))
    connection.close()
    return records


def _remedy(error: Exception) -> str:
    code = getattr(error, "sqlite_errorname", "")
    if code == "SQLITE_FULL":
        return "free space on that disk or lower the store's retention; nothing was kept of this request"
    if code.startswith("SQLITE_READONLY") or code == "SQLITE_CANTOPEN":
        return "make the folder writable"
    return "look at the disk's health; nothing was kept of this request"
