"""Taking in: what is appended is kept in the inbox, what waits at one moment in one transaction, and then in memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreshock_dashboard.store.blocks.block_store import Shelf
from foreshock_dashboard.store.blocks.chunk import Chunk
from foreshock_dashboard.store.errors import StoreError
from foreshock_dashboard.store.health import Health, told
from foreshock_dashboard.store.wal import Inbox

log = logging.getLogger(__name__)

PROBE = "probe"
"""The kind of a row that is there for a moment, to see whether the disk takes data."""


@dataclass(eq=False, slots=True)
class _Entry:
    """One append on its way to the disk."""

    kind: str
    chunks: Sequence[Chunk]
    payloads: Sequence[bytes]
    done: bool = False
    error: StoreError | None = None


class Commits:
    """Keeps what is appended. Thread-safe; whoever uses the inbox otherwise holds `lock`.

    Args:
        full: bytes in memory at which more is refused.
    """

    def __init__(self, path: Path, inbox: Inbox, shelves: Mapping[str, Shelf[Any]], health: Health, full: int) -> None:
        self.lock = threading.Lock()
        self.queue: list[_Entry] = []
        self.dropped = 0
        self.closed = False
        self._path, self._inbox, self._shelves, self._health, self._full = path, inbox, shelves, health, full
        self._queueing = threading.Lock()

    def append(self, kind: str, chunks: Sequence[Chunk], payloads: Sequence[bytes]) -> None:
        """Keep chunks, as these inbox rows.

        Raises:
            StoreError: none of them was kept.
        """
        if not payloads:
            return
        entry = _Entry(kind, chunks, payloads)
        with self._queueing:
            self.queue.append(entry)
        with self.lock:  # whoever gets here first commits for all who wait
            if not entry.done:
                with self._queueing:
                    entries, self.queue = self.queue, []
                self._commit(entries)
        if entry.error is not None:
            raise entry.error
        self.flush(kind)

    def flush(self, kind: str) -> None:
        """Move what waits into tables, if it is much. It is safe whether or not that goes well."""
        try:
            self._shelves[kind].memory.flush_many()
        except Exception as error:  # noqa: BLE001 - its sender was promised that nothing fails any more
            self._health.failed(error)

    def _commit(self, entries: list[_Entry]) -> None:
        """Keep what all of them bring, or none of it: each entry is done afterwards, and has an error or is kept."""
        error: StoreError | None = StoreError(f"store {self._path}: interrupted; send it again")
        try:
            self._keep(entries)
            error = None
        except StoreError as refusal:
            error = refusal
        except Exception as unforeseen:
            log.exception("store %s: an append failed", self._path)
            error = StoreError(f"store {self._path}: cannot keep data: {told(unforeseen)}")
        finally:
            self._health.append_error = str(error or "")
            for entry in entries:
                entry.done, entry.error = True, error

    def _keep(self, entries: list[_Entry]) -> None:
        self._admit()
        rows = [(entry.kind, payload) for entry in entries for payload in entry.payloads]
        taken = [(self._shelves[entry.kind].memory, chunk) for entry in entries for chunk in entry.chunks]
        numbers = self._inbox.append(rows)
        for number, (memory, chunk) in zip(numbers, taken, strict=True):  # nothing may fail from here on
            memory.accept(number, chunk)
            self.dropped += chunk.refused

    def _admit(self) -> None:
        if self.closed:
            raise StoreError(f"store {self._path}: it is closed")
        waiting = sum(shelf.memory.hot()[1] for shelf in self._shelves.values())
        if waiting > self._full:
            reason = self._health.upkeep_error or "segments are written too slowly"
            raise StoreError(f"store {self._path}: {waiting >> 20} MiB wait to be written to segments: {reason}")

    def probe(self) -> None:
        """After an append failed: find out whether the disk takes data again, so that readiness comes back."""
        if self._health.append_error:
            with self.lock:
                try:
                    self._admit()
                    (number,) = self._inbox.append([(PROBE, bytes(65_536))])
                    self._inbox.forget(PROBE, number, number)
                    self._health.append_error = ""
                except StoreError as error:
                    self._health.append_error = str(error)
