"""Charts that Dash draws: an id on a page, and the function that makes its figure for a time range."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.web.charts import theme
from foreshock_dashboard.web.state.parameters import View

MAX_UTC_OFFSET_MINUTES = 14 * 60
"""Largest offset of a time zone from UTC."""


@dataclass(frozen=True, slots=True)
class Look:
    """The presentation in a browser. colors: tokens of its theme. offset: seconds of its clock ahead of UTC.

    narrow: it is as wide as a phone.
    """

    colors: Mapping[str, str]
    offset: float = 0.0
    narrow: bool = False

    @classmethod
    def from_store(cls, store: object) -> Look:
        """From the page's store: text and numbers from anyone."""
        values = store if isinstance(store, dict) else {}
        minutes = values.get("offset", 0)
        usable = isinstance(minutes, int | float) and -MAX_UTC_OFFSET_MINUTES <= minutes <= MAX_UTC_OFFSET_MINUTES
        colors = theme.DARK if values.get("scheme") == "dark" else theme.LIGHT
        return cls(colors, 60.0 * minutes if usable else 0.0, values.get("narrow") is True)

    @property
    def key(self) -> Hashable:
        """Equal for browsers with the same presentation."""
        return tuple(self.colors.values()), self.offset, self.narrow


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart. `draw` makes a Plotly figure as a dictionary; it may read the hub, and raise SourceError."""

    id: str
    draw: Callable[[HubView, View, Look], Json]


def snapshot_at(hub: HubView, view: View) -> Snapshot:
    """The snapshot of the end of the time range: a chart of the past shows nothing that was known only later.

    Raises:
        SourceError: the source cannot answer, or holds nothing so early.
    """
    return hub.snapshot if view.live else hub.at(view.end)
