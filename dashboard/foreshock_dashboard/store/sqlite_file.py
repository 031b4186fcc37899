"""SQLite files: their connection, what is wrong with a damaged one before it is written to, and its replacement."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.store.blocks.disk import Disk
from foreshock_dashboard.store.sqlite_pages import Pages

BUSY_SECONDS = 5.0
"""Time to wait for another process that reads the file, such as a backup."""
_ENVIRONMENT_ERRORS = ("BUSY", "LOCKED", "NOMEM", "READONLY", "IOERR", "FULL", "CANTOPEN", "PERM", "AUTH")
"""SQLite's errors that say nothing about the content of the file."""


def durable_connection(path: Path | None, page_bytes: int) -> sqlite3.Connection:
    """A connection for any thread, whose commits survive power loss; None keeps the data in memory.

    See https://www.sqlite.org/pragma.html#pragma_synchronous. page_bytes: page size of a new file.
    """
    connection = sqlite3.connect(
        path or ":memory:", isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS
    )
    for pragma in (f"page_size = {page_bytes:d}", "journal_mode = wal", "synchronous = full", "temp_store = memory"):
        connection.execute(f"pragma {pragma}")
    return connection


def sqlite_problem(
    path: Path, page_bytes: int, missing: str, content_problem: Callable[[sqlite3.Connection], str]
) -> str:
    """Return what is wrong with a SQLite file and its journal; "" if nothing is.

    page_bytes: page size if the header is damaged. missing: the problem of an absent or empty file that has no journal.
    content_problem: what is wrong with the tables of an intact file.

    Raises:
        sqlite3.Error: it cannot be read for now.
        OSError: likewise.
    """
    with closing(Pages(path, page_bytes)) as pages:
        if not path.exists() or not path.stat().st_size:
            return "it is empty or missing" if pages.count else missing
        if pages.journal_lost:
            return "its journal is damaged"
        header = pages[1][:100]
        if not header.startswith(b"SQLite format 3\0") or not {*header[18:20]} <= {1, 2}:
            return "file is not a database"  # SQLite takes some of these for a file that may not be written
    try:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
            verdict = str(connection.execute("pragma quick_check(1)").fetchone()[0])
            return content_problem(connection) if verdict == "ok" else verdict
    except sqlite3.Error as error:
        if any(name in getattr(error, "sqlite_errorname", "") for name in _ENVIRONMENT_ERRORS):
            raise
        return str(error)


def replace_damaged(path: Path, recovered: Path, now: Now, disk: Disk) -> Path:
    """Set a damaged SQLite file and its journal aside, and put the recovered one in its place, durably.

    A crash at any moment leaves `recovered`, or the finished replacement. Returns where the damaged file is.
    """
    aside = path.parent / "damaged" / f"{path.stem}-{round(now() * 1000)}{path.suffix}"
    aside.parent.mkdir(exist_ok=True)
    while aside.exists():
        aside = aside.with_stem(f"{aside.stem}-again")
    for suffix in ("-shm", "-wal", ""):
        old = path.with_name(f"{path.name}{suffix}")
        if old.exists():
            disk.rename(old, aside.with_name(aside.name + suffix))
    disk.sync(aside.parent)
    disk.rename(recovered, path)
    disk.sync(path.parent)
    return aside
