"""Timelines of values, and the changes that they show."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Iterator
from itertools import groupby
from typing import NamedTuple

from foreshock_dashboard.model.change import Change, ChangeKind, ChangeSource, Stage
from foreshock_dashboard.model.service import Service

ABSENT_SECONDS = 300.0
"""Absence after which a value counts as gone: a version with a request every few minutes stays."""
CANARY_SECONDS = 600.0
"""Time with two versions side by side after which the newer one is a canary, and not a rolling update."""
MAX_RUNS = 50
"""Runs of one value that are kept, the newest ones."""


class Subject(NamedTuple):
    """What has a value: a service, or a host, by one of its settings. part: a container of it, or ""."""

    kind: ChangeKind
    source: ChangeSource
    service: Service | None = None
    host: str = ""
    setting: str = ""
    part: str = ""


class Run(NamedTuple):
    """A time (Unix seconds) without a gap in which a subject has a value."""

    start: float
    end: float
    value: str


class Timelines:
    """Values of each subject over time. A subject may have several values at once, such as two versions."""

    def __init__(self) -> None:
        self._runs: dict[Subject, dict[str, list[Run]]] = {}
        self._newest: dict[Subject, str] = {}

    def observe(self, subject: Subject, value: str, start: float, end: float, *, exclusive: bool = False) -> None:
        """Extend the run of a value, or begin one after `ABSENT_SECONDS` without it.

        exclusive: the subject has one value at a time, so that another value ends the run; observe these in order.
        """
        runs = self._runs.setdefault(subject, {}).setdefault(value, [])
        is_interrupted = exclusive and self._newest.get(subject, value) != value
        self._newest[subject] = value
        if runs and start - runs[-1].end <= ABSENT_SECONDS and not is_interrupted:
            last = runs[-1]
            runs[-1] = Run(min(last.start, start), max(last.end, end), value)
        else:
            runs.append(Run(start, end, value))
            del runs[:-MAX_RUNS]

    def trim(self, since: float) -> None:
        """Forget the runs that ended before `since` (Unix seconds)."""
        for subject, values in [*self._runs.items()]:
            for value, runs in [*values.items()]:
                if runs[0].end < since:
                    values[value] = [run for run in runs if run.end >= since]
                    if not values[value]:
                        del values[value]
            if not values:
                del self._runs[subject], self._newest[subject]

    def services(self, kinds: Collection[ChangeKind]) -> set[tuple[ChangeSource, Service]]:
        """The services with values of some kinds, each with where they come from."""
        return {
            (subject.source, subject.service) for subject in self._runs if subject.service and subject.kind in kinds
        }

    def changes(self, now: float) -> Iterator[tuple[Subject, Change]]:
        """The changes known at `now` (Unix seconds), in no order. The first values of a subject are none.

        A value that returns after a gap, with no other begun since, was there all along: no change.
        """
        for subject, values in self._runs.items():
            ordered = sorted(run for runs in values.values() for run in runs)
            if ordered[-1].start > ordered[0].start:
                last = {value: runs[-1] for value, runs in values.items()}
                yield from ((subject, change) for change in _changes(subject, ordered, last, now))


def _changes(subject: Subject, ordered: list[Run], last: dict[str, Run], now: float) -> Iterator[Change]:
    """The changes in one pass over the runs by start. last: the last run of each value."""
    first: dict[str, float] = {}
    longest = newest = ordered[0]  # of the earlier runs: the last to end, the last to begin
    starts = [run.start for run in ordered]
    for start, group in groupby(ordered, key=lambda run: run.start):
        begun = [*group]
        before = longest if longest.end > newest.end + ABSENT_SECONDS else newest  # the newest was withdrawn
        for run in begun if first else ():
            if subject.kind == "node":
                if run.value not in first and longest.end >= start - ABSENT_SECONDS:
                    yield _change(subject, start, "", run.value, "")
            elif run.value not in (newest.value, before.value) and first[before.value] != first.get(run.value):
                yield _change(subject, start, before.value, run.value, _stage(subject, run, before, first))
            is_replaced = bisect_right(starts, run.end + ABSENT_SECONDS) > bisect_right(starts, start)
            is_gone = run is last[run.value] and now - run.end > ABSENT_SECONDS and not is_replaced
            is_outlived = longest.end > run.end + ABSENT_SECONDS and first[longest.value] < first.get(run.value, start)
            if subject.kind == "deployment" and is_gone and is_outlived:
                yield _change(subject, run.end, run.value, longest.value, "rollback")
        for run in begun:
            first.setdefault(run.value, start)
            longest = max(longest, run, key=lambda each: each.end)
            newest = run


def _stage(subject: Subject, run: Run, before: Run, first: dict[str, float]) -> Stage:
    """first: the first start of each earlier value. A rollback is to a value older than the one before."""
    if subject.kind != "deployment":
        return ""
    if first.get(run.value, math.inf) < first[before.value]:
        return "rollback"
    return "canary" if min(before.end, run.end) - run.start >= CANARY_SECONDS else ""


def _change(subject: Subject, at: float, before: str, after: str, stage: Stage) -> Change:
    host = after if subject.kind == "node" else subject.host
    return Change(at, subject.kind, subject.service, host, subject.setting, before, after, stage, subject.source)
