"""Charts that Dash draws: an id on a page, and the function that gives its figure for what is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from foreshock_dashboard.model.query import Json
from foreshock_dashboard.model.snapshot import HubView
from foreshock_dashboard.web import theme
from foreshock_dashboard.web.view import View

FURTHEST = 14 * 60
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
    def of(cls, told: object) -> Look:
        """From what the page's store holds: text and numbers from anyone."""
        given = told if isinstance(told, dict) else {}
        minutes = given.get("offset", 0)
        usable = isinstance(minutes, int | float) and -FURTHEST <= minutes <= FURTHEST
        colours = theme.DARK if given.get("scheme") == "dark" else theme.LIGHT
        return cls(colours, 60.0 * minutes if usable else 0.0, given.get("narrow") is True)


@dataclass(frozen=True, slots=True)
class Chart:
    """`draw` gives a Plotly figure as a plain dictionary; it may read the hub, and raise SourceError."""

    id: str
    draw: Callable[[HubView, View, Look], Json]
