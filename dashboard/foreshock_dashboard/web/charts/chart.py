"""Charts that Dash draws: an id on a page, and the function that gives its figure for what is looked at."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from foreshock_dashboard.model.snapshot import HubView, Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.web.charts import theme
from foreshock_dashboard.web.state.time_range import View

MAX_UTC_OFFSET_MINUTES = 14 * 60
"""Minutes that a time zone is off UTC at most."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a browser shows things. colours: tokens of its theme. offset: seconds of its clock ahead of UTC.

    narrow: it is as wide as a phone.
    """

    colours: Mapping[str, str]
    offset: float = 0.0
    narrow: bool = False

    @classmethod
    def from_store(cls, store: object) -> Look:
        """From what the page's store holds: text and numbers from anyone."""
        values = store if isinstance(store, dict) else {}
        minutes = values.get("offset", 0)
        usable = isinstance(minutes, int | float) and -MAX_UTC_OFFSET_MINUTES <= minutes <= MAX_UTC_OFFSET_MINUTES
        colours = theme.DARK if values.get("scheme") == "dark" else theme.LIGHT
        return cls(colours, 60.0 * minutes if usable else 0.0, values.get("narrow") is True)

    @property
    def key(self) -> Hashable:
        """Equal for browsers that show things the same way."""
        return tuple(self.colours.values()), self.offset, self.narrow


@dataclass(frozen=True, slots=True)
class Chart:
    """`draw` gives a Plotly figure as a plain dictionary; it may read the hub, and raise SourceError."""

    id: str
    draw: Callable[[HubView, View, Look], Json]


def snapshot_at(hub: HubView, view: View) -> Snapshot:
    """The snapshot of the end of what is looked at: a chart of the past tells nothing that was known only later.

    Raises:
        SourceError: the source cannot answer, or holds nothing so early.
    """
    return hub.snapshot if view.live else hub.at(view.end)
