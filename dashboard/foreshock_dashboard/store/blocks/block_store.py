"""A shelf keeps one kind of data (samples or spans) in pieces: tables in memory and, once sealed, segments on disk.

Every row is in exactly one piece at any moment. A reader takes all pieces at once and holds them; a piece that was
sealed, merged or has expired is removed when its last reader is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Generic

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.store.blocks.block import Format, Pieces, Segment, T
from foreshock_dashboard.store.blocks.block_dir import Archive
from foreshock_dashboard.store.blocks.block_meta import Damaged, Held, Meta, due, merged
from foreshock_dashboard.store.blocks.disk import Disk
from foreshock_dashboard.store.blocks.head import Memory
from foreshock_dashboard.store.blocks.manifest import Roster

FAN = 6
"""Segments of one level that are merged into one of the next: two-minute segments into twelve minutes and so on."""
LARGEST = 96 << 20
"""Bytes of a merged segment at most."""


class Shelf(Generic[T]):
    """All pieces of one kind: `memory` takes in, the shelf seals and reads. Thread-safe; upkeep by one at a time."""

    def __init__(self, root: Path, form: Format[T], disk: Disk, now: Now) -> None:
        self.form, self.root = form, root
        self.archive = Archive(root, form.kind, disk)
        self._roster: Roster[T] = Roster(self._remove)
        self.memory = Memory(form, self._roster, now)
        self._rank = 1

    def load(self, identity: str) -> list[Held]:
        """Find the segments on disk; gives the rows of an inbox that they hold."""
        self._roster.segments, self._rank = self.archive.load()
        return [held for meta in self.segments() for held in meta.held if held.inbox == identity]

    def segments(self) -> list[Meta]:
        """What is on disk, in the order of arrival."""
        with self._roster.lock:
            return [segment.meta for segment in self._roster.segments]

    # --- reading

    @contextmanager
    def reading(self, start: int, end: int) -> Iterator[Pieces[T]]:
        """Hold the pieces that reach into start … end. Damaged ones are set aside first and left out."""
        self.memory.flush()
        while True:
            held = self._roster.hold(start, end)
            if all(self._sound(segment) for segment in held.segments):
                break
            self._roster.release(held)
        try:
            yield held
        finally:
            self._roster.release(held)

    def _sound(self, segment: Segment) -> bool:
        """Whether a segment is as written; a damaged one is set aside."""
        with segment.checking:
            try:
                self.archive.check(segment)
            except Damaged as damage:
                if self._roster.strike(segment):
                    self.archive.set_aside(segment.folder, str(damage))
                return False
        return True

    # --- upkeep

    def seal(self, claim: Callable[[list[int]], tuple[Held, ...]]) -> tuple[Held, ...]:
        """Write the closed table, if there is one, as a segment; gives the inbox rows that it holds now.

        Args:
            claim: says which stretches of the inbox consist of a table's rows alone.

        Raises:
            OSError, duckdb.Error, sqlite3.Error: the segment could not be written; the table stays where it is.
        """
        table = self.memory.closed()
        if table is None:
            return ()
        held = claim(table.numbers)
        self._roster.replace([table], self._write(table, held) if table.rows else None)
        return held

    def _write(self, table: T, held: tuple[Held, ...]) -> Segment:
        aside = self.archive.aside()
        rows, metrics = self.form.write(table, aside)
        meta = Meta(self.form.kind, (self._rank, self._rank), 0, rows, table.start, table.end, held, metrics=metrics)
        segment = self.archive.publish(aside, meta)
        self._rank += 1
        return segment

    def merge(self) -> bool:
        """Merge neighbours where enough have gathered; tells whether it did.

        Raises:
            OSError, duckdb.Error: the merged segment could not be written; the old ones stay.
        """
        with self._roster.lock:
            segments = {segment.meta.name: segment for segment in self._roster.segments}
        run = due([segment.meta for segment in segments.values()], FAN, LARGEST, self.form.day)
        old = [segments[meta.name] for meta in run]
        if not old or not all(self._sound(segment) for segment in old):
            return False
        aside = self.archive.aside()
        rows = self.form.merge([segment.folder for segment in old], aside)
        self._roster.replace(old, self.archive.publish(aside, replace(merged(run), rows=rows)))
        return True

    def expire(self, before: int) -> int:
        """Remove segments that end before a time; tells how many."""
        with self._roster.lock:
            old = [segment for segment in self._roster.segments if segment.meta.end < before]
        self._roster.replace(old)
        return len(old)

    def shed(self) -> int:
        """Remove the segment that ends first, to make room; tells how many were removed."""
        with self._roster.lock:
            old = sorted(self._roster.segments, key=lambda segment: segment.meta.end)[:1]
        self._roster.replace(old)
        return len(old)

    def scrub(self) -> None:
        """Look at one segment that no query has looked at yet."""
        with self._roster.lock:
            unseen = next((segment for segment in self._roster.segments if not segment.verified), None)
        if unseen is not None:
            self._sound(unseen)

    def tidy(self) -> None:
        """Try again to remove what could not be removed.

        Raises:
            OSError, duckdb.Error: it still cannot be.
        """
        self._roster.tidy()

    def _remove(self, piece: Segment | T) -> None:
        if isinstance(piece, Segment):
            self.archive.remove(piece)
        else:
            self.form.drop(piece)
