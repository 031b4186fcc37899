"""The log of changes: those received, and those collected, in the journal."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from foreshock_dashboard.model.change import COLLECTED, Change, merged_changes, service_aliases
from foreshock_dashboard.model.journal import EntryLog
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.service import Service

log = logging.getLogger(__name__)

Json = dict[str, Any]


def change_json(change: Change) -> Json:
    """A change as JSON; a service is `namespace/name`, and absent texts are ""."""
    return asdict(change) | {"service": str(change.service) if change.service else None}


def change_from_json(data: Json) -> Change:
    """The change of `change_json`.

    Raises:
        TypeError, ValueError: it is no such object.
    """
    service = data.get("service")
    return Change(**{**data, "service": Service.parse(service) if service else None})


class ChangeLog:
    """Changes of a journal, which may be shared by threads. It survives restarts as far as the journal does.

    known: further changes, such as those of a recording.
    """

    def __init__(self, journal: EntryLog, known: Iterable[Change] = ()) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._seq = 0
        self._changes: tuple[Change, ...] = tuple(known)
        self._recorded: frozenset[Change] = frozenset()

    def add(self, change: Change, by: str) -> None:
        """Keep a received change. by: who sent it.

        Raises:
            SourceError: it could not be kept.
        """
        self._journal.append("change", change.at, by, change_json(change))

    def record(self, collected: Iterable[Change]) -> None:
        """Keep collected changes that the journal does not have, so that they outlive the history of metrics."""
        new = [change for change in collected if change.source in COLLECTED and change not in self._recorded]
        if not new:
            return
        known = self.all()
        for change in new:
            if len(merged_changes((*known, change))) > len(merged_changes(known)):
                try:
                    self.add(change, "hub")
                except SourceError as error:
                    log.warning("a change is missing in the journal: %s", error)
                    return
        self._recorded |= frozenset(new)

    def all(self) -> tuple[Change, ...]:
        """All changes of the journal by time, each once."""
        with self._lock:
            try:
                entries = self._journal.read("change", self._seq)
            except SourceError as error:
                log.warning("changes cannot be read: %s", error)
                entries = []
            if entries:
                self._seq = entries[-1].seq
                found: list[Change] = []
                for entry in entries:
                    try:
                        found.append(change_from_json(dict(entry.data)))
                    except (TypeError, ValueError):  # of a later version
                        log.warning("entry %d of the journal is no change that this version knows", entry.seq)
                self._changes = merged_changes((*self._changes, *found))
            return self._changes

    def merged(self, collected: tuple[Change, ...], services: Iterable[Service]) -> tuple[Change, ...]:
        """Collected and received changes by time, each once. services: those that a name alone may stand for."""
        known = self.all()
        return merged_changes((*collected, *known), service_aliases(services)) if known else collected


def without_future(changes: Iterable[Change], now: float) -> tuple[Change, ...]:
    """The changes up to `now` (Unix seconds)."""
    return tuple(change for change in changes if change.at <= now)
