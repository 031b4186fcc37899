"""The journal: a durable, append-only log of what people and systems said and did, in one SQLite file.

Unlike samples and spans, an entry cannot be derived again from a source, so none is merged or rewritten. Each has a
checksum, by which a damaged file is recovered.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sqlite3
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import orjson
from isal import isal_zlib

from foreshock_dashboard.common.clock import Now, since_boot
from foreshock_dashboard.model.journal import Entry, Kind
from foreshock_dashboard.store.blocks.disk import Disk, StoreError, file_id, remedy
from foreshock_dashboard.store.folder import read_format
from foreshock_dashboard.store.sqlite_file import durable_connection, replace_damaged, sqlite_problem
from foreshock_dashboard.store.sqlite_pages import Pages
from foreshock_dashboard.store.trusted_clock import TrustedClock
from foreshock_dashboard.store.wal_recovery import has_bad_sectors

JOURNAL_FILE = "journal.sqlite"
FORMAT_FILE = "journal.format"
"""Written after the first journal. If it is there, so must be the journal."""
FORMAT = b"1"
PAGE_BYTES = 4096
MAX_ENTRY_BYTES = 65_536
"""Size of an entry's data as JSON."""
SKIPPED_AFTER_DAMAGE = 1_000_000
"""Numbers left out after a recovery, because entries that were lost may have had them."""
_SCHEMA = """
create table if not exists entries (
    seq integer primary key autoincrement, kind text not null, at integer not null, author text not null,
    data blob not null, crc text not null
);
create index if not exists entries_by_kind on entries (kind, seq);
"""
_COLUMNS = "seq, kind, at, author, data, crc"

log = logging.getLogger(__name__)


class JournalLimits(NamedTuple):
    """Bounds of the entries of one kind: number, bytes of their data, and age. Beyond them the oldest expire."""

    rows: int = 20_000
    bytes: int = 16 << 20
    seconds: float = 400 * 86_400.0


@dataclass(frozen=True, slots=True)
class JournalStats:
    """Statistics of a journal.

    durable: false for one in memory. rows: entries by kind. expired: entries removed by the limits since the start.
    recovery: what was damaged when it was opened, as a sentence; else "". last_error: of the latest append; "" after a
    success.
    """

    durable: bool
    rows: Mapping[str, int]
    bytes: int
    expired: int
    recovery: str
    last_error: str


class Journal:
    """Implements `EntryLog`. Thread-safe.

    folder: that of an open store, whose lock it relies on; None keeps the entries in memory.

    Raises:
        StoreError: the file cannot be opened, or has the format of a later version, and was not changed.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        now: Now,
        monotonic: Now = since_boot,
        limits: JournalLimits = JournalLimits(),  # noqa: B008 - frozen
        disk: Disk | None = None,
    ) -> None:
        self._limits, self._lock, self._clock = limits, threading.Lock(), TrustedClock(now, monotonic)
        self._expired, self._recovery, self._error = 0, "", ""
        self._newest = 0
        self._path = folder / JOURNAL_FILE if folder else None
        disk = disk or Disk()
        try:
            if self._path:
                marker = self._path.with_name(FORMAT_FILE)
                known = read_format(marker, FORMAT, f"journal {self._path}")
                self._recovery = _recover(self._path, now, disk, expected=marker.exists())
            self._connection = _connect(self._path)
            if self._path:
                disk.sync(self._path.parent)  # SQLite syncs the content of the file, not its name
                if known != FORMAT:
                    disk.write(marker, FORMAT + b"\n")
                    disk.sync(self._path.parent)
                self._file_id = file_id(self._path)
            self._usage = self._read_usage()
            (self._newest,) = self._connection.execute("select coalesce(max(seq), 0) from entries").fetchone()
        except (OSError, sqlite3.Error) as error:
            hint = remedy(error) if isinstance(error, OSError) else "make the folder writable and free space"
            raise StoreError(f"journal {self._path}: cannot open: {error}; {hint}") from error
        if self._recovery:
            log.error("%s", self._recovery)

    @property
    def newest(self) -> int:
        """As `EntryLog.newest`."""
        return self._newest

    def append(self, kind: Kind, at: float, by: str, data: Mapping[str, Any]) -> int:
        """As `EntryLog.append`. Raises StoreError if nothing was kept."""
        body, micros = entry_body(at, data), round(at * 1e6)
        with self._lock:
            try:
                if self._path and file_id(self._path) != self._file_id:
                    raise sqlite3.OperationalError("the file was removed or replaced; restart the hub")
                self._connection.execute("begin immediate")
                cursor = self._connection.execute(
                    "insert into entries (kind, at, author, data, crc) values (?, ?, ?, ?, ?)",
                    (kind, micros, by, body, _crc(kind, micros, by, body)),
                )
                usage, expired = self._expire(kind, len(body), at)
                self._connection.execute("commit")
            except (sqlite3.Error, OverflowError) as error:
                self._roll_back()
                self._error = f"journal {self._path}: cannot keep an entry: {error}; free space and check the disk"
                raise StoreError(self._error) from error
            self._usage[kind], self._error = usage, ""
            self._expired += expired
            self._newest = cursor.lastrowid or 0
            return self._newest

    def _roll_back(self) -> None:
        """End an open transaction. Reopen a file if that fails: otherwise no later append could begin one."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
        except sqlite3.Error:
            self._connection.close()
            with contextlib.suppress(sqlite3.Error):
                self._connection = _connect(self._path)

    def read(self, kind: Kind | None = None, after: int = 0) -> list[Entry]:
        """As `EntryLog.read`. Raises StoreError."""
        condition, values = ("", ()) if kind is None else ("kind = ? and ", (kind,))
        sql = f"select {_COLUMNS} from entries where {condition} seq > ? order by seq"  # noqa: S608 - constants
        with self._lock:
            try:
                rows = self._connection.execute(sql, (*values, after)).fetchall()
            except sqlite3.Error as error:
                raise StoreError(f"journal {self._path}: cannot be read: {error}; check the disk") from error
        return [
            Entry(seq, kind_, at / 1e6, by, orjson.loads(body))
            for seq, kind_, at, by, body, crc in rows
            if _crc(kind_, at, by, body) == crc
        ]

    def stats(self) -> JournalStats:
        """Return the statistics."""
        with self._lock:
            rows = {kind: self._usage.get(kind, (0, 0))[0] for kind in get_args(Kind)}
            size = sum(size for _, size in self._usage.values())
            return JournalStats(self._path is not None, rows, size, self._expired, self._recovery, self._error)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _read_usage(self) -> dict[str, tuple[int, int]]:
        sql = "select kind, count(*), sum(length(data)) from entries group by kind"
        return {kind: (rows, size) for kind, rows, size in self._connection.execute(sql)}

    def _expire(self, kind: str, added: int, newest: float) -> tuple[tuple[int, int], int]:
        """Delete the oldest entries of a kind beyond its limits, except the newest one, which has `added` bytes.

        An entry is old only by a trusted clock (see `TrustedClock`), so that a wrong one deletes nothing. Returns the
        rows and bytes left, and the number deleted.
        """
        rows, size = self._usage.get(kind, (0, 0))
        rows, size, last, before = rows + 1, size + added, 0, rows + 1
        reference = self._clock.reference(newest)
        oldest = -math.inf if reference is None else (reference - self._limits.seconds) * 1e6
        found = self._connection.execute(
            "select seq, at, length(data) from entries where kind = ? order by seq", (kind,)
        )
        for seq, at, length in found:
            if rows == 1 or (rows <= self._limits.rows and size <= self._limits.bytes and at >= oldest):
                break
            rows, size, last = rows - 1, size - length, seq
        found.close()
        self._connection.execute("delete from entries where kind = ? and seq <= ?", (kind, last))
        return (rows, size), before - rows


def entry_body(at: float, data: Mapping[str, Any]) -> bytes:
    """The data of an entry as JSON. Raises ValueError, also for a time that is not finite."""
    try:
        body = orjson.dumps(dict(data))
        round(at * 1e6)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"an entry of the journal must be JSON with a finite time: {error}") from error
    if len(body) > MAX_ENTRY_BYTES:
        raise ValueError(f"an entry of {len(body):,} bytes is too large (limit {MAX_ENTRY_BYTES:,}); shorten it")
    return body


def _connect(path: Path | None) -> sqlite3.Connection:
    """Open a journal; None keeps it in memory."""
    connection = durable_connection(path, PAGE_BYTES)
    connection.execute("pragma secure_delete = on")  # a recovery finds no expired entry
    connection.executescript(_SCHEMA)
    return connection


def _crc(kind: str, micros: int, by: str, body: bytes) -> str:
    return f"{isal_zlib.crc32(body, isal_zlib.crc32(f'{kind} {micros} {by}'.encode())):08x}"


def _content_problem(connection: sqlite3.Connection, missing: str) -> str:
    """Return what is wrong with the entries of a file that SQLite takes for intact; "" if nothing is.

    missing: the problem of a file without tables.
    """
    if not connection.execute("select 1 from sqlite_schema").fetchone():
        return missing
    rows = connection.execute(f"select {_COLUMNS} from entries")  # noqa: S608 - constants
    wrong = sum(_crc(kind, at, by, body) != crc for _, kind, at, by, body, crc in rows)
    return f"{wrong} of its entries are damaged" if wrong else ""


def _recover(path: Path, now: Now, disk: Disk, *, expected: bool) -> str:
    """Replace a damaged journal by one with its readable entries, and set it aside; return what was wrong, else "".

    expected: whether there must be one, so that a missing or empty one is damaged.

    The new file is synced before it takes its first name, `recovered`, from which every start goes on: a crash at any
    moment leaves the damaged file or a complete one.
    """
    new, recovered = path.parent / "tmp" / JOURNAL_FILE, path.with_name(f"recovered-{JOURNAL_FILE}")
    report = "the recovery of a damaged journal was cut short, and has been finished"
    if not recovered.exists():
        missing = "it is empty or missing" if expected else ""
        bad_sectors = has_bad_sectors(path, disk)
        problem = (
            "the disk cannot read a part of it"
            if bad_sectors
            else sqlite_problem(path, PAGE_BYTES, missing, partial(_content_problem, missing=missing))
        )
        if not problem:
            return ""
        new.parent.mkdir(exist_ok=True)
        new.unlink(missing_ok=True)
        with closing(Pages(path, PAGE_BYTES, partial=bad_sectors)) as pages:
            count = _write_entries(new, _salvaged(pages))
        disk.sync(new)
        disk.rename(new, recovered)
        disk.sync(path.parent)
        report = f"the journal was damaged ({problem}); {count} entries were recovered, others may be missing"
    aside = replace_damaged(path, recovered, now, disk)
    return f"{report}. The damaged file is {aside}" if aside.exists() else report


def _salvaged(pages: Pages) -> dict[int, tuple[object, ...]]:
    """Return the rows whose checksum is right, by their number."""
    rows: dict[int, tuple[object, ...]] = {}
    for seq, columns in pages.rows():
        match columns:
            case [None, str(kind), int(micros), str(by), bytes(body), str(crc)] if _crc(kind, micros, by, body) == crc:
                rows[seq] = (seq, kind, micros, by, body, crc)
    return rows


def _write_entries(path: Path, rows: Mapping[int, tuple[object, ...]]) -> int:
    """Write rows to a new journal whose next number is well above theirs; return how many there are."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"pragma page_size = {PAGE_BYTES}; {_SCHEMA}")
        with connection:
            connection.executemany("insert into entries values (?, ?, ?, ?, ?, ?)", rows.values())
            connection.execute("delete from sqlite_sequence")
            last = max(rows, default=0) + SKIPPED_AFTER_DAMAGE
            connection.execute("insert into sqlite_sequence values ('entries', ?)", (last,))
    return len(rows)
