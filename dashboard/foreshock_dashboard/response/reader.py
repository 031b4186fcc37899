"""Responses of a running hub: the fold of its journal, which goes on with each new entry."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

from foreshock_dashboard.model.journal import Entry, EntryLog
from foreshock_dashboard.response.fold import KINDS, Fold, Responses, fold
from foreshock_dashboard.response.values import Silence, Stamp

ALERTMANAGER = "Alertmanager"
"""Author of silences that exist in Alertmanager alone."""
READ_AGAIN_AFTER = 10_000
"""New entries after which all are read again, because the journal lets the oldest expire."""


class ResponseReader:
    """Reads the responses of a journal. Thread-safe. external: as `HubView.silenced_until`."""

    def __init__(self, journal: EntryLog, external: Callable[[], Mapping[str, float | None]] = dict) -> None:
        self._journal, self._external = journal, external
        self._lock = threading.Lock()
        self._newest, self._added = 0, 0
        self._entries: list[Entry] = []
        self._fold, self._known = Fold(), Responses()

    @property
    def known(self) -> Responses:
        """What people did up to the last time that the journal could be read."""
        return self._known

    def current(self) -> Responses:
        """What people did up to now.

        Raises:
            SourceError: the journal cannot be read.
        """
        with self._lock:
            self._read()
            known = self._known
        stamp = Stamp(ALERTMANAGER, 0.0)
        found = self._external()
        silences = [Silence(0, 0.0, end, stamp, incident=key) for key, end in found.items() if end is not None]
        inhibited = frozenset(key for key, end in found.items() if end is None)
        return replace(known, silences=(*known.silences, *silences), inhibited=inhibited) if found else known

    def at(self, time: float) -> Responses:
        """What people had done at a past time (Unix seconds). Raises SourceError as `current`."""
        with self._lock:
            self._read()
            entries = self._entries.copy()
        return fold(entries, time)

    def _read(self) -> None:
        newest = self._journal.newest
        if newest == self._newest:
            return
        again = self._added >= READ_AGAIN_AFTER
        read = self._journal.read(after=0 if again else self._newest)
        if again:
            self._entries, self._fold, self._added = [], Fold(), 0
        elif self._newest:
            self._added += len(read)
        added = [entry for entry in read if entry.kind in KINDS]
        self._entries += added
        self._known = self._fold.add(added)
        self._newest = max([newest, *(entry.seq for entry in read[-1:])])  # others may append meanwhile
