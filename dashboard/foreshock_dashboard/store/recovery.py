"""Recovery at start: open or salvage the WAL, load the blocks, and replay the WAL into the head."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.store.blocks.block_store import BlockStore
from foreshock_dashboard.store.blocks.format import RowBatch
from foreshock_dashboard.store.group_commit import PROBE_KIND, GroupCommit
from foreshock_dashboard.store.wal import WAL_FILE, Wal, salvage_records

log = logging.getLogger(__name__)

Decode = Callable[[bytes], RowBatch]
"""Decodes the payload of a WAL record, or raises ValueError."""


def open_wal(folder: Path, max_pages: int | None, now: Now) -> tuple[Wal, int]:
    """Return the WAL of a store, and the number of damaged WAL files that it replaces (0 or 1).

    Raises:
        sqlite3.OperationalError: it cannot be opened.
    """
    path = folder / WAL_FILE
    try:
        wal = Wal(path, max_pages)
        wal.check()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        damaged = folder / "damaged" / f"inbox-{round(now() * 1000)}.sqlite"
        return _replaced(path, damaged, max_pages, error), 1
    return wal, 0


def _replaced(path: Path, damaged: Path, max_pages: int | None, error: sqlite3.DatabaseError) -> Wal:
    """Move a damaged WAL to `damaged` and return a new one with every record that is still readable."""
    for suffix in ("", "-wal", "-shm"):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(damaged.with_name(damaged.name + suffix))
    wal = Wal(path, max_pages)
    records = salvage_records(damaged)
    if records:
        wal.append(records)
    log.error("store: the inbox is damaged (%s); set aside as %s; %d rows were saved", error, damaged, len(records))
    return wal


def replay_wal(
    wal: Wal,
    stores: Mapping[str, BlockStore[Any]],
    decoders: Mapping[str, Decode],
    commits: GroupCommit,
) -> int:
    """Load the blocks, delete the WAL records they hold, and put the others into the head.

    Returns:
        The number of damaged records. They stay in the WAL.
    """
    damaged = wal.count_of_other_kinds([*stores, PROBE_KIND])
    if damaged:
        log.error(
            "%s: %d rows are damaged, for they say to be of no known kind; they stay there unread", wal.path, damaged
        )
    for kind, store in stores.items():
        for held in store.load(wal.identity):
            wal.truncate(kind, held.first, held.last)
    for kind, store in stores.items():
        for record in wal.records(kind):
            try:
                batch = decoders[kind](record.payload)
            except ValueError:
                damaged += 1
                log.exception("store %s: row %d of the inbox is damaged; it stays there unread", store.root, record.id)
            else:
                store.head.append(record.id, batch)
                commits.flush(kind)
    return damaged
