"""The outbox: messages to be delivered, each durable before it is sent, in a SQLite file of the store's folder."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.store.blocks.disk import StoreError
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
Key = tuple[str, str]
"""Channel and subject."""


class OutboxMessage(NamedTuple):
    """The newest message of a subject on a channel; it replaces an older one, delivered or not.

    at: Unix seconds of the event. body: JSON. waiting: not delivered or given up yet. attempts: failed ones.
    not_before: Unix seconds of the next attempt.
    """

    channel: str
    subject: str
    event: str
    at: float
    body: str
    waiting: bool = True
    attempts: int = 0
    not_before: float = 0.0

    @property
    def key(self) -> Key:
        """What there is one message of."""
        return self.channel, self.subject


class Outbox:
    """The messages of a folder, in memory and on disk. Thread-safe.

    A message that the disk does not take stays in memory, is delivered from there, and is written with the next one: a
    full disk must not silence a page. A damaged file is set aside as `outbox.sqlite.damaged`.

    error: why the last write failed; "" after a success.

    Raises:
        StoreError: the file cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self.error = ""
        self._path = folder / OUTBOX_FILE
        self._lock = threading.Lock()
        self._unsaved: set[Key] = set()
        self._closed = False
        self._log = LogOnChange(log, logging.ERROR, "outbox: writable again")
        try:
            if problem := sqlite_problem(self._path, PAGE_BYTES, "", lambda _: ""):
                log.error("%s: damaged (%s); set aside, messages may be sent again", self._path, problem)
                for suffix in ("-wal", "-shm"):
                    self._path.with_name(f"{OUTBOX_FILE}{suffix}").unlink(missing_ok=True)
                self._path.replace(self._path.with_name(f"{OUTBOX_FILE}.damaged"))
            self._messages = self._open()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{self._path}: cannot open: {error}; make the folder writable and free space") from error

    def _open(self) -> dict[Key, OutboxMessage]:
        self._path.touch(0o600)
        self._connection = durable_connection(self._path, PAGE_BYTES)
        run = self._connection.execute
        run(SCHEMA)
        rows = [OutboxMessage(*row) for row in run("select * from messages order by at")]
        return {row.key: row._replace(waiting=bool(row.waiting)) for row in rows}

    def close(self) -> None:
        """Close the file. What a delivery in progress notes afterwards is not kept."""
        with self._lock:
            self._closed = True
            self._connection.close()

    def messages(self, channel: str) -> tuple[OutboxMessage, ...]:
        """All messages of a channel, the oldest first."""
        with self._lock:
            return tuple(message for message in self._messages.values() if message.channel == channel)

    def get(self, channel: str, subject: str) -> OutboxMessage | None:
        """The message of a subject on a channel."""
        with self._lock:
            return self._messages.get((channel, subject))

    def put(self, *messages: OutboxMessage, instead_of: Iterable[Key] = ()) -> None:
        """Write messages, and forget others, in one transaction. On return durable, unless `error` says why not."""
        with self._lock:
            removed = {key for key in instead_of if self._messages.pop(key, None)}
            for message in messages:
                self._messages.pop(message.key, None)  # to the end of the order
                self._messages[message.key] = message
            self._write(removed | {message.key for message in messages})

    def update(self, before: OutboxMessage, after: OutboxMessage | None) -> bool:
        """Replace a message, or forget it, unless a newer one has taken its place. Returns whether that was done."""
        with self._lock:
            if self._messages.get(before.key) != before:
                return False
            if after is None:
                del self._messages[before.key]
            else:
                self._messages[before.key] = after
            self._write({before.key})
            return True

    def remove(self, keys: Iterable[Key]) -> None:
        """Forget messages."""
        with self._lock:
            removed = {key for key in keys if self._messages.pop(key, None)}
            if removed:
                self._write(removed)

    def _write(self, keys: set[Key]) -> None:
        """Bring these messages, and those that an earlier write failed for, to the disk."""
        if self._closed:
            return
        self._unsaved |= keys
        run = self._connection.execute
        try:
            run("begin immediate")
            for key in self._unsaved:
                if (message := self._messages.get(key)) is None:
                    run("delete from messages where channel = ? and subject = ?", key)
                else:
                    run("insert or replace into messages values (?, ?, ?, ?, ?, ?, ?, ?)", message)
            run("commit")
        except sqlite3.Error as error:
            self.error = f"{self._path}: cannot be written ({error}); messages may be sent again after a restart"
            with contextlib.suppress(sqlite3.Error):
                run("rollback")
        else:
            self.error = ""
            self._unsaved.clear()
        self._log.update(self.error)
