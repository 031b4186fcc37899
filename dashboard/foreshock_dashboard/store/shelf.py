"""A shelf keeps one kind of data (samples or spans) in pieces: tables in memory and, once sealed, segments on disk.

Every row is in exactly one piece at any moment. A reader takes all pieces at once and holds them; a piece that was
sealed, merged or has expired is removed when its last reader is done.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb

from foreshock_dashboard.clock import Now
from foreshock_dashboard.store.chunk import Chunk
from foreshock_dashboard.store.disk import Disk
from foreshock_dashboard.store.pieces import Format, Pieces, Segment, Table, gathered, metrics_of
from foreshock_dashboard.store.segment import (
    Damaged,
    Held,
    Meta,
    due,
    merged,
    rank_of,
    read_meta,
    replaces,
    verify,
    write_meta,
)

log = logging.getLogger(__name__)

FLUSH_ROWS = 20_000
"""Rows that may wait outside DuckDB: many small inserts cost ten times one large one."""
FAN = 6
"""Segments of one level that are merged into one of the next: ten-minute segments into hours and so on."""
LARGEST = 96 << 20
"""Bytes of a merged segment at most."""


class Shelf:
    """All pieces of one kind. Thread-safe."""

    def __init__(self, root: Path, form: Format, engine: duckdb.DuckDBPyConnection, disk: Disk, now: Now) -> None:
        self.form, self.folder, self.root = form, root / form.kind, root
        self.corrupt = 0
        self._engine, self._disk, self._now = engine, disk, now
        self._lock = threading.Lock()
        self._flushing = threading.RLock()
        self._pending: list[tuple[int, Chunk]] = []
        self._pending_rows = 0
        self._flush_at = FLUSH_ROWS
        self._segments: list[Segment] = []
        self._tables: list[Table] = []
        self._left: list[Table | Segment] = []
        self._rank = 1
        self._generation = 0
        self._create(f"{form.kind}_none")
        self._new_table()

    # --- opening

    def load(self, identity: str) -> list[Held]:
        """Find the segments, finish what a crash interrupted, and give the inbox rows that they hold."""
        self.folder.mkdir(exist_ok=True)
        names = [path.name for path in (self.root / "damaged").iterdir() if path.name.startswith(f"{self.form.kind}-")]
        found: list[Segment] = []
        for folder in sorted(self.folder.iterdir()):
            names.append(folder.name)
            try:
                found.append(Segment(folder, read_meta(folder)))
            except Damaged as damage:
                self._set_aside(folder, str(damage))
        self._segments = self._without_replaced(found)
        ranks = [segment.meta.ranks[1] for segment in found] + [rank_of(name) or 0 for name in names]
        self._rank = max(ranks, default=0) + 1
        return [held for segment in self._segments for held in segment.meta.held if held.inbox == identity]

    def _without_replaced(self, found: list[Segment]) -> list[Segment]:
        """Finish merges that a crash interrupted, highest level first: remove what is in a sound merged segment too."""
        kept: list[Segment] = []
        for segment in sorted(found, key=lambda segment: -segment.meta.level):
            if any(replaces(other.meta, segment.meta) and self._whole(other, kept) for other in list(kept)):
                self._remove_folder(segment)
            else:
                kept.append(segment)
        return sorted(kept, key=lambda segment: segment.meta.ranks)

    def _whole(self, segment: Segment, kept: list[Segment]) -> bool:
        """Whether a merged segment may stand for its parts; otherwise they are still there, and it is set aside."""
        try:
            if not segment.verified:
                verify(segment.folder, segment.meta, self._disk)
                segment.verified = True
        except Damaged as damage:
            self._set_aside(segment.folder, str(damage))
            kept.remove(segment)
            return False
        return True

    def _remove_folder(self, segment: Segment) -> None:
        self._disk.remove(segment.folder, self.root / "tmp" / f"gone-{self.form.kind}-{segment.meta.name}")

    def _set_aside(self, folder: Path, reason: str) -> None:
        damaged = self.root / "damaged"
        target = damaged / f"{self.form.kind}-{folder.name}"
        extra = 0
        while target.exists():
            extra += 1
            target = damaged / f"{self.form.kind}-{extra}-{folder.name}"
        folder.rename(target)
        self.corrupt += 1
        log.error("store: damaged segment %s (%s) was set aside as %s; its data is missing", folder, reason, target)

    # --- taking in

    def accept(self, number: int, chunk: Chunk) -> None:
        """Take the rows of an inbox row for the next `flush`. Calls come in the order of `number`; none fails."""
        with self._lock:
            self._pending.append((number, chunk))
            self._pending_rows += chunk.rows

    def flush_many(self) -> None:
        """Flush if so much waits that it is worth it. Once that failed, it is not before as much more waits."""
        with self._lock:
            many = self._pending_rows >= self._flush_at
            if many:
                self._flush_at = self._pending_rows + FLUSH_ROWS
        if many:
            self.flush()

    def flush(self) -> None:
        """Move what waits into the table in memory.

        Raises:
            duckdb.Error, MemoryError: it could not be moved; what was not goes on waiting.
        """
        with self._flushing:
            while self._flush_some():
                pass

    def _flush_some(self) -> bool:
        """Move some `FLUSH_ROWS`, so that one insert is never large; tells whether there were any.

        What waits is let go of only once it is in the table, and nothing in between can fail.
        """
        with self._lock:
            waiting = self._pending[: self._some()]
            table = self._tables[-1]
        if not waiting:
            return False
        numbers = [number for number, _ in waiting]
        chunks = [chunk for _, chunk in waiting if chunk.rows]
        metrics = [metric for chunk in chunks for metric in metrics_of(chunk)]
        now = self._now()
        if chunks:
            self._insert(table, chunks)
        with self._lock:
            if not table.numbers:
                table.opened = now
            table.add(numbers, chunks, metrics)
            del self._pending[: len(waiting)]
            self._pending_rows -= sum(chunk.rows for chunk in chunks)
            self._flush_at = FLUSH_ROWS
        return True

    def _some(self) -> int:
        """How many of those that wait have `FLUSH_ROWS` together."""
        rows = 0
        for at, (_, chunk) in enumerate(self._pending, 1):
            rows += chunk.rows
            if rows >= FLUSH_ROWS:
                return at
        return len(self._pending)

    def _insert(self, table: Table, chunks: list[Chunk]) -> None:
        cursor = self._engine.cursor()
        try:
            cursor.register("waiting", gathered(chunks, table.reach))
            cursor.execute(f"insert into {table.name} by name select * from waiting")  # noqa: S608 - a name of ours
        finally:
            cursor.close()

    def _new_table(self) -> None:
        self._generation += 1
        reach = self._tables[-1].reach if self._tables else 0
        name = self._create(f"{self.form.kind}_{self._generation}")
        self._tables.append(Table(name, self._now(), base=reach, reach=reach))

    def _create(self, name: str) -> str:
        columns = ", ".join(f'"{column}" {kind}' for column, kind in self.form.columns.items())
        cursor = self._engine.cursor()
        cursor.execute(f"create table {name} ({columns})")
        cursor.close()
        return name

    # --- reading

    @contextmanager
    def reading(self, start: int, end: int) -> Iterator[Pieces]:
        """Hold the pieces that reach into start … end. Damaged ones are set aside first and left out."""
        self.flush()
        while True:
            held = self._hold(start, end)
            if all(self.sound(segment) for segment in held.segments):
                break
            self._release(held)
        try:
            yield held
        finally:
            self._release(held)

    def _hold(self, start: int, end: int) -> Pieces:
        with self._lock:
            held = Pieces(
                tuple(s for s in self._segments if s.meta.start <= end and s.meta.end >= start),
                tuple(t for t in self._tables if t.rows and t.start <= end and t.end >= start),
            )
            for piece in held.all():
                piece.readers += 1
        return held

    def _release(self, held: Pieces) -> None:
        with self._lock:
            for piece in held.all():
                piece.readers -= 1
            unread = [piece for piece in held.all() if piece.gone and not piece.readers]
        self._discard(unread)

    def sound(self, segment: Segment) -> bool:
        """Whether a segment is as written, looked at once per process; a damaged one is set aside."""
        with segment.checking:
            if segment.verified:
                return True
            try:
                verify(segment.folder, segment.meta, self._disk)
            except Damaged as damage:
                with self._lock:
                    present = segment in self._segments
                    if present:
                        self._segments.remove(segment)
                if present:
                    self._set_aside(segment.folder, str(damage))
                return False
            segment.verified = True
            return True

    # --- upkeep; one thread at a time

    def rotate(self, largest: int, oldest: float) -> bool:
        """Close the table in memory where it has `largest` bytes or is `oldest` seconds old; one at most waits.

        What still waits outside counts for the size: where it does not fit in, sealing makes the room.
        """
        with self._flushing, self._lock:
            table = self._tables[-1]
            size = table.bytes + sum(chunk.bytes for _, chunk in self._pending)
            ripe = bool(table.numbers) and (size >= largest or self._now() - table.opened >= oldest)
            if ripe and len(self._tables) == 1:
                self._new_table()
            return ripe

    def seal(self, claim: Callable[[list[int]], tuple[Held, ...]]) -> tuple[Held, ...]:
        """Write the closed table, if there is one, as a segment; gives the inbox rows that it holds now.

        Args:
            claim: says which stretches of the inbox consist of a table's rows alone.

        Raises:
            OSError, duckdb.Error, sqlite3.Error: the segment could not be written; the table stays where it is.
        """
        if len(self._tables) == 1:
            return ()
        table = self._tables[0]
        held = claim(table.numbers)
        segment = self._write(table, held) if table.rows else None
        with self._lock:
            self._tables.remove(table)
            if segment is not None:
                self._segments.append(segment)
        self._retire([table])
        return held

    def _write(self, table: Table, held: tuple[Held, ...]) -> Segment:
        aside = self._aside()
        cursor = self._engine.cursor()
        try:
            rows, metrics = self.form.write(cursor, table, aside)
        finally:
            cursor.close()
        meta = Meta(self.form.kind, (self._rank, self._rank), 0, rows, table.start, table.end, held, metrics=metrics)
        segment = self._publish(aside, meta)
        self._rank += 1
        return segment

    def merge(self) -> bool:
        """Merge neighbours where enough have gathered; tells whether it did.

        Raises:
            OSError, duckdb.Error: the merged segment could not be written; the old ones stay.
        """
        with self._lock:
            segments = {segment.meta.name: segment for segment in self._segments}
        run = due([segment.meta for segment in segments.values()], FAN, LARGEST, self.form.day)
        old = [segments[meta.name] for meta in run]
        if not old or not all(self.sound(segment) for segment in old):
            return False
        aside = self._aside()
        cursor = self._engine.cursor()
        try:
            rows = self.form.merge(cursor, [segment.folder for segment in old], aside)
        finally:
            cursor.close()
        whole = self._publish(aside, replace(merged(run), rows=rows))
        with self._lock:
            at = self._segments.index(old[0])
            self._segments = [segment for segment in self._segments if segment not in old]
            self._segments.insert(at, whole)
        self._retire(old)
        return True

    def _aside(self) -> Path:
        aside = self.root / "tmp" / f"{self.form.kind}-new"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        return aside

    def _publish(self, aside: Path, meta: Meta) -> Segment:
        files = {}
        for path in sorted(aside.iterdir()):
            self._disk.sync(path)
            files[path.name] = (path.stat().st_size, self._disk.checksum(path))
        whole = replace(meta, files=files)
        write_meta(aside, whole, self._disk)
        folder = self.folder / whole.name
        if folder.exists():  # it was renamed, and then the disk failed: nobody was told of it
            self._disk.remove(folder, self.root / "tmp" / f"gone-{self.form.kind}-{whole.name}")
        self._disk.publish(aside, folder)
        return Segment(folder, whole, verified=True)

    def expire(self, before: int) -> int:
        """Remove segments that end before a time; tells how many."""
        with self._lock:
            old = [segment for segment in self._segments if segment.meta.end < before]
        return self._remove(old)

    def shed(self) -> int:
        """Remove the segment that ends first, to make room; tells how many were removed."""
        with self._lock:
            old = sorted(self._segments, key=lambda segment: segment.meta.end)[:1]
        return self._remove(old)

    def _remove(self, old: list[Segment]) -> int:
        with self._lock:
            self._segments = [segment for segment in self._segments if segment not in old]
        self._retire(old)
        return len(old)

    def scrub(self) -> None:
        """Look at one segment that no query has looked at yet."""
        with self._lock:
            unseen = [segment for segment in self._segments if not segment.verified][:1]
        for segment in unseen:
            self.sound(segment)

    def _retire(self, pieces: Sequence[Table | Segment]) -> None:
        with self._lock:
            for piece in pieces:
                piece.gone = True
            unread = [piece for piece in pieces if not piece.readers]
        self._discard(unread)

    def _discard(self, pieces: Sequence[Table | Segment]) -> None:
        """Remove pieces. What cannot be removed is left to `tidy`: neither a reader nor sealing fails for it."""
        for piece in pieces:
            try:
                self._drop(piece)
            except (OSError, duckdb.Error):
                log.warning("store: a piece of %s that is not needed could not be removed", self.folder, exc_info=True)
                with self._lock:
                    self._left.append(piece)

    def _drop(self, piece: Table | Segment) -> None:
        if isinstance(piece, Table):
            cursor = self._engine.cursor()
            cursor.execute(f"drop table if exists {piece.name}")
            cursor.close()
        elif piece.folder.exists():
            self._remove_folder(piece)

    def tidy(self) -> None:
        """Try again to remove what could not be removed.

        Raises:
            OSError, duckdb.Error: it still cannot be.
        """
        while self._left:
            self._drop(self._left[0])
            with self._lock:
                del self._left[0]

    # --- facts

    def segments(self) -> list[Meta]:
        """What is on disk, in the order of arrival."""
        with self._lock:
            return [segment.meta for segment in self._segments]

    def metrics_in_memory(self) -> set[int]:
        """Samples only: the numbers of the metrics that have samples in memory."""
        with self._lock:
            waiting = [chunk for _, chunk in self._pending]
            metrics = {metric for table in self._tables for metric in table.metrics}
        return metrics.union(*map(metrics_of, waiting))

    def values(self, column: str) -> set[int]:
        """The values of a column of numbers in memory.

        Raises:
            duckdb.Error: they cannot be read.
        """
        with self._flushing:
            with self._lock:
                waiting, tables = [chunk for _, chunk in self._pending], list(self._tables)
            found = {number for chunk in waiting for number in chunk.columns[column].tolist()}
            cursor = self._engine.cursor()
            try:
                for table in tables:
                    rows = cursor.table(table.name).unique(column).fetchnumpy()[column]
                    found.update(rows.tolist())
            finally:
                cursor.close()
        return found

    def hot(self) -> tuple[int, int, int | None]:
        """Rows in memory, their bytes (before DuckDB), and their earliest time."""
        with self._lock:
            waiting = [chunk for _, chunk in self._pending if chunk.rows]
            tables = [table for table in self._tables if table.rows]
            starts = [table.start for table in tables] + [chunk.start for chunk in waiting]
            rows = sum(table.rows for table in tables) + sum(chunk.rows for chunk in waiting)
            size = sum(table.bytes for table in tables) + sum(chunk.bytes for chunk in waiting)
        return rows, size, min(starts, default=None)
