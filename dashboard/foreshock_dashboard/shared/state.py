"""State of the database that hubs share, for Status and metrics."""

from __future__ import annotations

from typing import NamedTuple


class SharedState(NamedTuple):
    """State of a shared database, as one hub sees it.

    place: its URL without credentials. leads: whether this hub notifies. problem: why the database cannot be used, ""
    if it can.
    """

    place: str
    leads: bool
    problem: str
