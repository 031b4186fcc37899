"""The log of changes, which the journal keeps: reported ones at once, collected ones once they are settled."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace

from foreshock_dashboard.changes.labels import change_labels, change_of_labels
from foreshock_dashboard.changes.merging import MAX_CHANGES, SAME_CHANGE_SECONDS, merged_changes
from foreshock_dashboard.changes.timelines import ABSENT_SECONDS, CANARY_SECONDS
from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.model.change import CHANGE_SOURCES, REPORT_SOURCES, Change
from foreshock_dashboard.model.journal import EntryLog
from foreshock_dashboard.model.query import SourceError

_log = logging.getLogger(__name__)

SETTLED_SECONDS = CANARY_SECONDS + ABSENT_SECONDS
"""Age from which samples to come do not alter a collected change: by then it is a canary or not."""
MAX_RECORDED = 50
"""Collected changes that one evaluation keeps: each waits for the disk."""
BY = "hub"


class ChangeLog:
    """Changes in a journal. Thread-safe. Several may read one journal."""

    def __init__(self, journal: EntryLog) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._seq = 0
        self._reports: list[Change] = []
        self._reported: tuple[Change, ...] = ()
        self._collected: tuple[Change, ...] = ()
        self._recorded: frozenset[Change] = frozenset()
        self._reading = LogOnChange(_log, recovered="changes can be read again")
        self._writing = LogOnChange(_log, recovered="collected changes are kept again")

    def add(self, change: Change, by: str) -> None:
        """Keep a change, durably. by: who sent it. A report that is sent again, or older than all kept, adds nothing.

        Raises:
            SourceError: it could not be kept.
        """
        with self._lock:
            self._read()
            if not self._is_known(change):
                self._journal.append("change", change.at, by, change_labels(change))

    def record(self, collected: Iterable[Change], now: float) -> None:
        """Keep collected changes that are settled at `now` (Unix seconds), each once, also across restarts.

        They outlast the samples that show them. If the journal fails, the next evaluation tries again.
        """
        own = (change for change in collected if change.source not in REPORT_SOURCES)  # another hub keeps the others
        settled = frozenset(change for change in own if now - change.at >= SETTLED_SECONDS)
        with self._lock:
            new = sorted(settled - self._recorded, key=lambda change: change.at)[:MAX_RECORDED]
            try:
                self._read()
                for change in new:
                    if not self._is_collected(change):
                        self._journal.append("change", change.at, BY, change_labels(change))
                        self._read()
                    self._recorded |= {change}
            except SourceError as error:
                self._writing.update(f"collected changes cannot be kept: {error}")
            else:
                self._writing.update("")
            self._recorded &= settled

    def all(self) -> tuple[Change, ...]:
        """All changes: those of `reported`, then the collected ones as each source shows them, by time."""
        with self._lock:
            self._try_to_read()
            return (*self._reported, *self._collected)

    def reported(self) -> tuple[Change, ...]:
        """The reported changes by time, each once, then the failures, also of those known from samples.

        A journal that cannot be read leaves those read before.
        """
        with self._lock:
            self._try_to_read()
            return self._reported

    def _is_known(self, change: Change) -> bool:
        """Whether a report is kept, or is the newest one of its subject and source, sent again with another time."""
        reports = self._reports
        if change in reports or _is_too_old(change, reports):
            return True
        same = [each for each in reports if _thread(each) == _thread(change)]
        longest = math.inf if change.key else SAME_CHANGE_SECONDS
        return bool(same) and replace(change, at=same[-1].at) == same[-1] and 0 <= change.at - same[-1].at <= longest

    def _is_collected(self, change: Change) -> bool:
        """Whether a source showed a change before, perhaps at another evaluation interval."""
        near = (each for each in self._collected if abs(each.at - change.at) <= SAME_CHANGE_SECONDS)
        same = [each for each in near if _thread(each) == _thread(change)]
        return _is_too_old(change, self._collected) or len(merged_changes([*same, change])) == len(merged_changes(same))

    def _try_to_read(self) -> None:
        try:
            self._read()
        except SourceError as error:
            self._reading.update(f"changes cannot be read: {error}")
        else:
            self._reading.update("")

    def _read(self) -> None:
        if (newest := self._journal.newest) > self._seq:
            entries = self._journal.read("change", self._seq)
            self._seq = max([newest, *(entry.seq for entry in entries)])
            found = (change_of_labels(entry.at, entry.data, CHANGE_SOURCES) for entry in entries)
            new = [change for change in found if change]
            reports = [change for change in new if change.source in REPORT_SOURCES]
            collected = (change for change in new if change.source not in REPORT_SOURCES)
            self._collected = tuple(sorted((*self._collected, *collected), key=lambda change: change.at)[-MAX_CHANGES:])
            if reports:
                self._reports = sorted((*self._reports, *reports), key=lambda change: change.at)[-MAX_CHANGES:]
                failures = (change for change in self._reports if change.is_failure)
                self._reported = (*merged_changes(self._reports), *failures)


def _is_too_old(change: Change, kept: Sequence[Change]) -> bool:
    """Whether newer changes fill the log."""
    return len(kept) >= MAX_CHANGES and change.at < kept[0].at


def _thread(change: Change) -> tuple[object, ...]:
    """What a report and the same report sent again share."""
    return (change.source, change.key) if change.key else (change.source, "", *change.subject)
