"""Opening a store that was killed, or whose inbox is damaged: whatever can still be read is read."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.store.blocks.block_store import Shelf
from foreshock_dashboard.store.blocks.chunk import Chunk
from foreshock_dashboard.store.group_commit import PROBE, Commits
from foreshock_dashboard.store.wal import Inbox, salvage

log = logging.getLogger(__name__)

Decode = Callable[[bytes], Chunk]
"""Makes a chunk of an inbox row's bytes, or raises ValueError."""


def open_inbox(folder: Path, max_pages: int | None, now: Now) -> tuple[Inbox, int]:
    """The inbox of a store, and how many damaged ones were set aside for it.

    Raises:
        sqlite3.OperationalError: it cannot be opened.
    """
    path = folder / "inbox.sqlite"
    try:
        inbox = Inbox(path, max_pages)
        inbox.check()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        aside = folder / "damaged" / f"inbox-{round(now() * 1000)}.sqlite"
        return _replaced(path, aside, max_pages, error), 1
    return inbox, 0


def _replaced(path: Path, aside: Path, max_pages: int | None, error: sqlite3.DatabaseError) -> Inbox:
    """A new inbox with every row that can still be read of the damaged one, which is kept aside."""
    for suffix in ("", "-wal", "-shm"):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(aside.with_name(aside.name + suffix))
    inbox = Inbox(path, max_pages)
    rows = salvage(aside)
    if rows:
        inbox.append(rows)
    log.error("store: the inbox is damaged (%s); set aside as %s; %d rows were saved", error, aside, len(rows))
    return inbox


def replay(
    inbox: Inbox,
    shelves: Mapping[str, Shelf[Any]],
    decoders: Mapping[str, Decode],
    commits: Commits,
) -> int:
    """Load the segments, forget the rows that they hold, and take the others into memory; how many are damaged."""
    damaged = inbox.strange([*shelves, PROBE])
    if damaged:
        log.error(
            "%s: %d rows are damaged, for they say to be of no known kind; they stay there unread", inbox.path, damaged
        )
    for kind, shelf in shelves.items():
        for held in shelf.load(inbox.identity):
            inbox.forget(kind, held.first, held.last)
    for kind, shelf in shelves.items():
        for row in inbox.read(kind):
            try:
                chunk = decoders[kind](row.payload)
            except ValueError:
                damaged += 1
                log.exception("store %s: row %d of the inbox is damaged; it stays there unread", shelf.root, row.id)
            else:
                shelf.memory.accept(row.id, chunk)
                commits.flush(kind)
    return damaged
