"""Failure to start the hub."""

from __future__ import annotations


class HubError(Exception):
    """The hub cannot start. The message names the option and the remedy."""
