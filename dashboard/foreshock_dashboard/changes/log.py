"""The log of reported changes, which the journal keeps."""

from __future__ import annotations

import logging
import math
import threading
from dataclasses import replace

from foreshock_dashboard.changes.labels import change_labels, change_of_labels
from foreshock_dashboard.changes.merging import MAX_CHANGES, SAME_CHANGE_SECONDS, merged_changes
from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.journal import EntryLog
from foreshock_dashboard.model.query import SourceError

_log = logging.getLogger(__name__)


class ChangeLog:
    """Reported changes in a journal. Thread-safe. Several may read one journal."""

    def __init__(self, journal: EntryLog) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._seq = 0
        self._reports: list[Change] = []
        self._changes: tuple[Change, ...] = ()
        self._problem = LogOnChange(_log, recovered="reported changes can be read again")

    def add(self, change: Change, by: str) -> None:
        """Keep a change, durably. by: who sent it. A report that is sent again, or older than all kept, adds nothing.

        Raises:
            SourceError: it could not be kept.
        """
        with self._lock:
            self._read()
            if not self._is_known(change):
                self._journal.append("change", change.at, by, change_labels(change))

    def all(self) -> tuple[Change, ...]:
        """The changes by time, each once, then what withdraws them elsewhere, such as in samples.

        A journal that cannot be read leaves those read before.
        """
        with self._lock:
            try:
                self._read()
            except SourceError as error:
                self._problem.update(f"reported changes cannot be read: {error}")
            else:
                self._problem.update("")
            return self._changes

    def _is_known(self, change: Change) -> bool:
        """Whether a report is kept, or is the newest one of its subject and source, sent again with another time."""
        reports = self._reports
        if change in reports or (len(reports) >= MAX_CHANGES and change.at < reports[0].at):
            return True
        same = [each for each in reports if _thread(each) == _thread(change)]
        longest = math.inf if change.key else SAME_CHANGE_SECONDS
        return bool(same) and replace(change, at=same[-1].at) == same[-1] and 0 <= change.at - same[-1].at <= longest

    def _read(self) -> None:
        if (newest := self._journal.newest) > self._seq:
            entries = self._journal.read("change", self._seq)
            self._seq = max([newest, *(entry.seq for entry in entries)])
            found = (change_of_labels(entry.at, entry.data) for entry in entries)
            self._reports = sorted((*self._reports, *filter(None, found)), key=lambda change: change.at)[-MAX_CHANGES:]
            withdrawals = (change for change in self._reports if change.withdrawn)
            self._changes = (*merged_changes(self._reports), *withdrawals)


def _thread(change: Change) -> tuple[object, ...]:
    """What a report and the same report sent again share."""
    return (change.source, change.key) if change.key else (change.source, "", *change.subject)
