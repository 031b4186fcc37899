"""Changes as JSON, with their words."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from typing_extensions import TypedDict

from foreshock_dashboard.model.change import Change, ChangeKind, Stage
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.change import change_details, change_text
from foreshock_dashboard.render.units import elapsed
from foreshock_dashboard.web.state.numbers import Row

CHANGES_SECONDS = 3 * 3600.0
"""Time before now whose changes are listed: what the World of the newest evaluation has."""
CHANGES_DURING = f"last {elapsed(CHANGES_SECONDS)}"
MAX_MARKS = 20
"""Changes in a timeline."""


class ChangeJson(Row):
    """A change. at: Unix seconds. revision: of the Deployment before it. text: in words. Absent texts are empty."""

    at: float
    kind: ChangeKind
    service: str | None
    host: str
    setting: str
    before: str
    after: str
    stage: Stage
    source: str
    title: str
    link: str
    author: str
    revision: str
    text: str


class ChangeMark(Row):
    """A change as a mark in a timeline. details: what is known besides, such as its source."""

    at: float
    service: str | None
    text: str
    details: str
    link: str


class Changes(TypedDict):
    """Changes, the newest first."""

    changes: list[ChangeJson]


def change_mark_rows(
    changes: Iterable[Change], start: float, end: float, services: Collection[Service] | None = None
) -> list[ChangeMark]:
    """The newest changes from `start` to `end` (Unix seconds).

    services: only theirs, and those of the whole platform.
    """
    shown = [
        change
        for change in changes
        if start <= change.at <= end and (services is None or change.service is None or change.service in services)
    ]
    return [
        ChangeMark(
            round(change.at, 3),
            str(change.service) if change.service else None,
            change_text(change),
            change_details(change),
            change.link,
        )
        for change in shown[-MAX_MARKS:]
    ]


def change_row(change: Change) -> ChangeJson:
    """A change as JSON."""
    return ChangeJson(
        round(change.at, 3),
        change.kind,
        str(change.service) if change.service else None,
        change.host,
        change.setting,
        change.before,
        change.after,
        change.stage,
        change.source,
        change.title,
        change.link,
        change.author,
        change.revision,
        change_text(change),
    )
