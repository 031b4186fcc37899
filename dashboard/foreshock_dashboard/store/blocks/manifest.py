"""The manifest: current blocks and head tables of one kind, with their reader counts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from foreshock_dashboard.store.blocks.block_dir import Block
from foreshock_dashboard.store.blocks.format import T

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[T]):
    """The blocks and head tables that one query reads, each in order of arrival."""

    blocks: tuple[Block, ...]
    tables: tuple[T, ...]

    def all(self) -> tuple[Block | T, ...]:
        """Blocks, then tables."""
        return (*self.blocks, *self.tables)


class Manifest(Generic[T]):
    """Current blocks and head tables, each in order of arrival. Thread-safe; `lock` guards both lists.

    A replaced block or table is removed, by `remove`, when its last reader releases it.
    """

    def __init__(self, remove: Callable[[Block | T], None]) -> None:
        self.lock = threading.Lock()
        self.blocks: list[Block] = []
        self.tables: list[T] = []
        self._remove = remove
        self._tombstones: list[Block | T] = []
        """Obsolete blocks and tables that could not be removed."""

    def acquire(self, start: int, end: int) -> Snapshot[T]:
        """Return the blocks and tables that overlap start … end, counted as read until `release`."""
        with self.lock:
            snapshot = Snapshot(
                tuple(b for b in self.blocks if b.meta.start <= end and b.meta.end >= start),
                tuple(t for t in self.tables if t.rows and t.start <= end and t.end >= start),
            )
            for part in snapshot.all():
                part.readers += 1
        return snapshot

    def release(self, snapshot: Snapshot[T]) -> None:
        """End the reading of a snapshot."""
        with self.lock:
            for part in snapshot.all():
                part.readers -= 1
            unread = [part for part in snapshot.all() if part.obsolete and not part.readers]
        self._delete(unread)

    def replace(self, old: Sequence[Block | T], new: Block | None = None) -> None:
        """Replace blocks and tables by one block, or by nothing."""
        with self.lock:
            position = next((self.blocks.index(part) for part in old if part in self.blocks), len(self.blocks))
            if new is not None:
                self.blocks.insert(position, new)
            self.blocks = [block for block in self.blocks if block not in old]
            self.tables = [table for table in self.tables if table not in old]
            for part in old:
                part.obsolete = True
            unread = [part for part in old if not part.readers]
        self._delete(unread)

    def lists(self, block: Block) -> bool:
        """Whether a block is a current one."""
        with self.lock:
            return block in self.blocks

    def forget(self, block: Block) -> None:
        """Take a block off the list, if it is there, without removing its files."""
        with self.lock:
            self.blocks = [current for current in self.blocks if current is not block]

    def _delete(self, parts: Sequence[Block | T]) -> None:
        """Remove blocks and tables. Failures become tombstones, so that neither readers nor compaction fail."""
        for part in parts:
            try:
                self._remove(part)
            except Exception:
                log.warning(
                    "store: an obsolete block or table cannot be removed; will retry",
                    exc_info=True,
                )
                with self.lock:
                    self._tombstones.append(part)

    def clean_tombstones(self) -> None:
        """Retry failed removals. Raises OSError or duckdb.Error if the removal failed again."""
        while self._tombstones:
            self._remove(self._tombstones[0])
            with self.lock:
                del self._tombstones[0]
