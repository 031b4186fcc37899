"""What can go wrong with a hub, for people."""

from __future__ import annotations


class HubError(Exception):
    """The hub cannot start. The message names the thing and the remedy."""
