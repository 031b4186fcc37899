"""What can go wrong with the store, for people."""

from __future__ import annotations

from foreshock_dashboard.model.query import SourceError


class StoreError(SourceError):
    """The store cannot keep or answer. The message names the folder and the remedy."""


class StoreLocked(StoreError):  # noqa: N818 - it says what is the case, as BlockingIOError does
    """Another process owns the folder."""
