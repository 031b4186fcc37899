"""The messages of a hub's outbox in a SQLite file of the store's folder."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from foreshock_dashboard.store.blocks.disk import StoreError
from foreshock_dashboard.store.outbox import Key, OutboxMessage
from foreshock_dashboard.store.sqlite_file import durable_connection, sqlite_problem

log = logging.getLogger(__name__)

OUTBOX_FILE = "outbox.sqlite"
PAGE_BYTES = 4096
SCHEMA = """
create table if not exists messages (
  channel text not null, subject text not null, event text not null, at real not null, body text not null,
  waiting integer not null, attempts integer not null, not_before real not null,
  primary key (channel, subject)
) without rowid
"""


class OutboxFile:
    """Implements `Messages`. A damaged file is set aside as `outbox.sqlite.damaged`.

    Raises:
        StoreError: the file cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / OUTBOX_FILE
        try:
            if problem := sqlite_problem(self._path, PAGE_BYTES, "", lambda _: ""):
                log.error("%s: damaged (%s); set aside, messages may be sent again", self._path, problem)
                for suffix in ("-wal", "-shm"):
                    self._path.with_name(f"{OUTBOX_FILE}{suffix}").unlink(missing_ok=True)
                self._path.replace(self._path.with_name(f"{OUTBOX_FILE}.damaged"))
            self._path.touch(0o600)
            self._connection = durable_connection(self._path, PAGE_BYTES)
            self._connection.execute(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{self._path}: cannot open: {error}; make the folder writable and free space") from error

    def read(self) -> list[OutboxMessage]:
        """As `Messages.read`."""
        try:
            rows = [OutboxMessage(*row) for row in self._connection.execute("select * from messages order by at")]
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: cannot be read ({error})") from error
        return [row._replace(waiting=bool(row.waiting)) for row in rows]

    def write(self, messages: Mapping[Key, OutboxMessage | None]) -> None:
        """As `Messages.write`."""
        run = self._connection.execute
        try:
            run("begin immediate")
            for key, message in messages.items():
                if message is None:
                    run("delete from messages where channel = ? and subject = ?", key)
                else:
                    run("insert or replace into messages values (?, ?, ?, ?, ?, ?, ?, ?)", message)
            run("commit")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                run("rollback")
            raise StoreError(f"{self._path}: cannot be written ({error})") from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
