"""Which pieces of one kind there are, and who reads them: a piece that is replaced goes with its last reader."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Generic

from foreshock_dashboard.store.blocks.block import Pieces, Segment, T

log = logging.getLogger(__name__)


class Roster(Generic[T]):
    """The segments and tables of one kind, each in the order of arrival. Thread-safe; `lock` guards both lists.

    Args:
        remove: removes a piece that nobody reads any more.
    """

    def __init__(self, remove: Callable[[Segment | T], None]) -> None:
        self.lock = threading.Lock()
        self.segments: list[Segment] = []
        self.tables: list[T] = []
        self._remove = remove
        self._left: list[Segment | T] = []

    def hold(self, start: int, end: int) -> Pieces[T]:
        """The pieces that reach into start … end, all as of one moment; `release` them."""
        with self.lock:
            held = Pieces(
                tuple(s for s in self.segments if s.meta.start <= end and s.meta.end >= start),
                tuple(t for t in self.tables if t.rows and t.start <= end and t.end >= start),
            )
            for piece in held.all():
                piece.readers += 1
        return held

    def release(self, held: Pieces[T]) -> None:
        """Let go of what was held."""
        with self.lock:
            for piece in held.all():
                piece.readers -= 1
            unread = [piece for piece in held.all() if piece.gone and not piece.readers]
        self._discard(unread)

    def replace(self, old: Sequence[Segment | T], new: Segment | None = None) -> None:
        """Put one segment, or nothing, where some pieces were."""
        with self.lock:
            at = next((self.segments.index(piece) for piece in old if piece in self.segments), len(self.segments))
            if new is not None:
                self.segments.insert(at, new)
            self.segments = [segment for segment in self.segments if segment not in old]
            self.tables = [table for table in self.tables if table not in old]
            for piece in old:
                piece.gone = True
            unread = [piece for piece in old if not piece.readers]
        self._discard(unread)

    def strike(self, segment: Segment) -> bool:
        """Forget a segment without removing it; tells whether it was there."""
        with self.lock:
            present = segment in self.segments
            if present:
                self.segments.remove(segment)
        return present

    def _discard(self, pieces: Sequence[Segment | T]) -> None:
        """Remove pieces. What cannot be removed is left to `tidy`: neither a reader nor sealing fails for it."""
        for piece in pieces:
            try:
                self._remove(piece)
            except Exception:
                log.warning("store: a piece that is not needed could not be removed", exc_info=True)
                with self.lock:
                    self._left.append(piece)

    def tidy(self) -> None:
        """Try again to remove what could not be removed.

        Raises:
            OSError, duckdb.Error: it still cannot be.
        """
        while self._left:
            self._remove(self._left[0])
            with self.lock:
                del self._left[0]
