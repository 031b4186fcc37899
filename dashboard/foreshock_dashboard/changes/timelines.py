"""Timelines of values, and the changes that they show."""

from __future__ import annotations

from collections.abc import Iterator
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

    def changes(self, now: float) -> Iterator[tuple[Subject, Change]]:
        """The changes known at `now` (Unix seconds), in no order. The first values of a subject are none."""
        for subject, values in self._runs.items():
            ordered = sorted(run for runs in values.values() for run in runs)
            for run in ordered if ordered[-1].start > ordered[0].start else ():
                if (change := _begun(subject, run, ordered)) is not None:
                    yield subject, change
                if (change := _withdrawn(subject, run, ordered, now)) is not None:
                    yield subject, change


def _begun(subject: Subject, run: Run, runs: list[Run]) -> Change | None:
    """The change with which a run begins; None for the first values."""
    earlier = [other for other in runs if other.start < run.start]
    before = next((other for other in reversed(earlier) if other.value != run.value), None)
    if before is None:
        return None
    if subject.kind == "node":
        return None if earlier[-1].value == run.value else _change(subject, run.start, "", run.value, "")
    stage: Stage = ""
    if subject.kind == "deployment":
        if any(other.value == run.value for other in earlier):
            stage = "rollback"
        elif min(before.end, run.end) - run.start >= CANARY_SECONDS:
            stage = "canary"
    return _change(subject, run.start, before.value, run.value, stage)


def _withdrawn(subject: Subject, run: Run, runs: list[Run], now: float) -> Change | None:
    """The rollback with which the run of a version ends that ran beside an older one; None for other runs."""
    if subject.kind != "deployment" or now - run.end <= ABSENT_SECONDS:
        return None
    older = [other for other in runs if other.start < run.start and other.end > run.end + ABSENT_SECONDS]
    is_replaced = any(run.start < other.start <= run.end + ABSENT_SECONDS for other in runs)
    return None if is_replaced or not older else _change(subject, run.end, run.value, older[-1].value, "rollback")


def _change(subject: Subject, at: float, before: str, after: str, stage: Stage) -> Change:
    host = after if subject.kind == "node" else subject.host
    return Change(at, subject.kind, subject.service, host, subject.setting, before, after, stage, subject.source)
