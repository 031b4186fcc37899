"""Responses of a running hub: the fold of its journal, kept until an entry is added."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

from foreshock_dashboard.model.journal import Entry, EntryLog
from foreshock_dashboard.response.fold import Responses, fold
from foreshock_dashboard.response.values import Silence, Stamp

ALERTMANAGER = "Alertmanager"
"""Author of silences that exist in Alertmanager alone."""


class ResponseReader:
    """Reads the responses of a journal. Thread-safe. external: as `HubView.silenced_until`."""

    def __init__(self, journal: EntryLog, external: Callable[[], Mapping[str, float | None]] = dict) -> None:
        self._journal, self._external = journal, external
        self._lock = threading.Lock()
        self._newest = -1
        self._entries: list[Entry] = []
        self._current = Responses()

    def current(self) -> Responses:
        """What people did up to now."""
        with self._lock:
            self._read()
            known = self._current
        stamp = Stamp(ALERTMANAGER, 0.0)
        found = self._external()
        silences = [Silence(0, 0.0, end, stamp, incident=key) for key, end in found.items() if end is not None]
        inhibited = frozenset(key for key, end in found.items() if end is None)
        return replace(known, silences=(*known.silences, *silences), inhibited=inhibited) if found else known

    def at(self, time: float) -> Responses:
        """What people had done at a past time (Unix seconds)."""
        with self._lock:
            self._read()
            return fold(self._entries, time)

    def _read(self) -> None:
        if (newest := self._journal.newest) != self._newest:
            self._entries = self._journal.read()
            self._current, self._newest = fold(self._entries), newest
