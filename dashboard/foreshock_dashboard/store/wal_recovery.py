"""Opening the write-ahead log, and its recovery if it is damaged or missing.

A new WAL with all readable records is built aside and synced before it takes the name of the damaged one. A crash at
any moment leaves either the damaged WAL, which is recovered again, or the finished new one, which takes the name.
"""

from __future__ import annotations

import errno
import logging
import re
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.store.blocks.block_meta import WalRange
from foreshock_dashboard.store.blocks.disk import Disk
from foreshock_dashboard.store.sqlite_file import replace_damaged, sqlite_problem
from foreshock_dashboard.store.sqlite_pages import Pages
from foreshock_dashboard.store.wal import (
    DELETED_KEY,
    PAGE_BYTES,
    SCHEMA,
    WAL_FILE,
    Wal,
    deleted_text,
    payload_of,
)

log = logging.getLogger(__name__)

RECOVERED_FILE = "recovered.sqlite"
"""A finished new WAL, until it has the name `WAL_FILE`."""
Held = Mapping[str, Sequence[WalRange]]
"""By kind, the records that blocks hold."""
_IDENTITY = re.compile(r"[0-9a-f]{32}")


def open_wal(folder: Path, max_pages: int | None, held: Held, now: Now, disk: Disk) -> Wal:
    """Open the WAL of a store whose blocks hold these records. Raises sqlite3.Error or OSError if that is impossible.

    `Wal.recovery` says what was damaged, until `Wal.forget_recovery`.
    """
    path = folder / WAL_FILE
    if not (folder / RECOVERED_FILE).exists():
        try:
            problem = _problem(path, any(held.values()))
        except (OSError, sqlite3.Error):
            if not has_bad_sectors(path, disk):
                raise
            problem = "the disk cannot read a part of it"
        if problem:
            _recover(folder, problem, held, disk, partial=has_bad_sectors(path, disk))
    if (folder / RECOVERED_FILE).exists():
        replace_damaged(path, folder / RECOVERED_FILE, now, disk)
    wal = Wal(path, max_pages)
    if wal.recovery:
        log.error("store %s: %s", folder, wal.recovery)
    return wal


def _problem(path: Path, held: bool) -> str:
    """Return what is wrong with a WAL; "" if nothing is. Raises sqlite3.Error if it cannot be read for now.

    held: whether blocks hold records, so that there must be a WAL.
    """

    def content_problem(connection: sqlite3.Connection) -> str:
        tables = {name for (name,) in connection.execute("select name from sqlite_schema")}
        if not tables:
            return "it is empty" if held else ""
        identity = connection.execute("select value from meta where key = 'identity'").fetchone()
        connection.execute("select id, kind, payload from rows limit 0")
        return "" if identity and _IDENTITY.fullmatch(str(identity[0])) else "its identity is damaged"

    return sqlite_problem(path, PAGE_BYTES, "it is empty or missing" if held else "", content_problem)


def has_bad_sectors(path: Path, disk: Disk) -> bool:
    """Whether a part of a SQLite file or its journal cannot be read from a disk that otherwise works."""
    for file in (path, path.with_name(f"{path.name}-wal")):
        try:
            if file.exists():
                disk.checksum(file)
        except OSError as error:
            return error.errno == errno.EIO and disk.works(path.parent / "tmp")
    return False


def _recover(folder: Path, problem: str, held: Held, disk: Disk, *, partial: bool) -> None:
    """Write the readable records of a damaged WAL to `RECOVERED_FILE`, durably, with their ids.

    If not `partial`, a sector that cannot be read raises OSError: the whole disk may fail for now.

    Records that blocks hold are among them. They are deleted as after any other crash, because the identity is kept. If
    it cannot be read, the new WAL has another one, and all ids that blocks hold are deleted here: no WAL reuses them.
    """
    new = folder / "tmp" / RECOVERED_FILE
    new.unlink(missing_ok=True)
    damaged = Pages(folder / WAL_FILE, PAGE_BYTES, partial=partial)
    with closing(damaged) as pages, closing(sqlite3.connect(new)) as connection:
        connection.execute(f"pragma page_size = {PAGE_BYTES:d}")
        connection.executescript(SCHEMA)
        with connection:
            insert = "insert or ignore into rows (id, kind, payload) values (?, ?, ?)"
            deleted, identity = _deleted(pages), _identity(pages)
            left = (record for record in salvaged_records(pages) if record[0] > deleted)
            count = connection.executemany(insert, left).rowcount
            last = max([deleted, *(wal_range.last for ranges in held.values() for wal_range in ranges)])
            connection.execute("update sqlite_sequence set seq = max(seq, ?) where name = 'rows'", (last,))
            if not count:
                connection.execute("insert into sqlite_sequence values ('rows', ?)", (last,))
            if not identity:
                identity = uuid.uuid4().hex
                in_blocks = [(kind, part.first, part.last) for kind, parts in held.items() for part in parts]
                connection.executemany("delete from rows where kind = ? and id between ? and ?", in_blocks)
            recovery = f"the WAL was damaged ({problem}); {count} of its records were recovered, others may be missing"
            meta = {"identity": identity, "recovery": recovery, DELETED_KEY: deleted_text(deleted)}
            connection.executemany("insert into meta values (?, ?)", meta.items())
    disk.sync(new)
    disk.rename(new, folder / RECOVERED_FILE)
    disk.sync(folder)


def salvaged_records(pages: Pages) -> Iterator[tuple[int, str, bytes]]:
    """Yield (id, kind, payload with checksum) of the records whose checksum is right; some perhaps twice."""
    for record_id, columns in pages.rows():
        match columns:
            case [None, str(kind), bytes(checked)] if payload_of(checked) is not None:
                yield record_id, kind, checked


def _identity(pages: Pages) -> str:
    for columns in pages.keyed_rows():
        match columns:
            case ["identity", str(identity)] if _IDENTITY.fullmatch(identity):
                return identity
    return ""


def _deleted(pages: Pages) -> int:
    """Return the id up to which all records were deleted. It only grows, so pages of any age may be searched."""
    latest = 0
    for columns in pages.keyed_rows():
        match columns:
            case [key, str(text)] if key == DELETED_KEY:
                number = text.partition(" ")[0]
                if number.isdecimal() and text == deleted_text(int(number)):
                    latest = max(latest, int(number))
    return latest
