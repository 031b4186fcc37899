"""Mutes: incidents that are not to notify."""

from __future__ import annotations

from typing import NamedTuple


class Mute(NamedTuple):
    """Why an incident is not to notify: silenced, or under maintenance, until a time (Unix seconds)."""

    until: float
    by: str = ""
    comment: str = ""
