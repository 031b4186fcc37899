"""Responses of a running hub: the fold of its journal, kept until an entry is added."""

from __future__ import annotations

import threading

from foreshock_dashboard.model.journal import Entry, EntryLog
from foreshock_dashboard.response.fold import Responses, fold


class ResponseReader:
    """Reads the responses of a journal. Thread-safe."""

    def __init__(self, journal: EntryLog) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._newest = -1
        self._entries: list[Entry] = []
        self._current = Responses()

    def current(self) -> Responses:
        """What people did up to now."""
        with self._lock:
            self._read()
            return self._current

    def at(self, time: float) -> Responses:
        """What people had done at a past time (Unix seconds)."""
        with self._lock:
            self._read()
            return fold(self._entries, time)

    def _read(self) -> None:
        if (newest := self._journal.newest) != self._newest:
            self._entries = self._journal.read()
            self._current, self._newest = fold(self._entries), newest
