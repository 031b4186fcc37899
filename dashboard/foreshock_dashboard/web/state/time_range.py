"""The time range and parameters of a page's address, in Grafana's grammar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

from foreshock_dashboard.web.state.parameters import BadParameterError, time_parameter

DEFAULT_RANGE_SECONDS = 1800.0
MIN_RANGE_SECONDS = 60.0
MAX_RANGE_SECONDS = 360 * 86_400.0
"""A query looks back up to a day, and a chart has up to 360 points."""
MAX_SEARCH_LENGTH = 4000
"""Characters of a query string that are read."""
TIME = ("from", "to", "refresh")
"""Parameters of every page; `refresh` is read by the browser alone."""


@dataclass(frozen=True, slots=True)
class View:
    """start, end: Unix seconds. live: the range ends now. parameters: the other parameters, as text from anyone.

    rest: the part of the address below the page's own, such as a service's name.
    """

    start: float
    end: float
    live: bool = True
    parameters: Mapping[str, str] = field(default_factory=dict)
    rest: str = ""

    def get(self, name: str) -> str:
        """A parameter of the page; "" without it."""
        return self.parameters.get(name, "").strip()


def view(given: Mapping[str, str], now: float) -> View:
    """The view of a query's parameters. now: the hub's time, Unix seconds.

    Raises:
        BadParameterError: a time cannot be read, or the range is upside down, too short or too long.
    """
    end = time_parameter("to", given.get("to", ""), now, now, up=True)
    start = time_parameter("from", given.get("from", ""), now, end - DEFAULT_RANGE_SECONDS)
    if end > now:
        end = now
    if end - start < MIN_RANGE_SECONDS:
        raise BadParameterError(f"from={given.get('from', '')!r} is less than a minute before to: choose a wider range")
    if end - start > MAX_RANGE_SECONDS:
        raise BadParameterError(
            f"from={given.get('from', '')!r} is more than 360 days before to: choose a shorter range"
        )
    rest = {name: value for name, value in given.items() if name not in TIME}
    return View(start, end, given.get("to", "now").strip() in ("", "now"), rest)


def view_of(search: object, now: float, rest: str = "") -> View:
    """The view of a page's address; the default range where it cannot be read, since the page shows the error."""
    if not isinstance(search, str) or len(search) > MAX_SEARCH_LENGTH:
        return View(now - DEFAULT_RANGE_SECONDS, now, rest=rest)
    given = dict(parse_qsl(search.lstrip("?")))
    try:
        return replace(view(given, now), rest=rest)
    except BadParameterError:
        others = {name: value for name, value in given.items() if name not in TIME}
        return View(now - DEFAULT_RANGE_SECONDS, now, True, others, rest)
