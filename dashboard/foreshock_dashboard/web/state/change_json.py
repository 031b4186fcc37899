"""Changes as JSON, with their words."""

from __future__ import annotations

from typing_extensions import TypedDict

from foreshock_dashboard.model.change import Change, ChangeKind, Stage
from foreshock_dashboard.render.change import change_text
from foreshock_dashboard.web.state.numbers import Row


class ChangeJson(Row):
    """A change. at: Unix seconds. text: the change in words. Absent texts are empty."""

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
    text: str


class Changes(TypedDict):
    """Changes, the newest first."""

    changes: list[ChangeJson]


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
        change_text(change),
    )
