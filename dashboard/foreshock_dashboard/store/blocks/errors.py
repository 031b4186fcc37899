"""Errors of the store."""

from __future__ import annotations

from foreshock_dashboard.model.query import SourceError


class StoreError(SourceError):
    """The store cannot keep data or answer a query. The message names the folder and the remedy."""


class StoreLocked(StoreError):  # noqa: N818 - named like BlockingIOError
    """Another process owns the folder."""


class DamagedBlock(Exception):  # noqa: N818 - it names the state of the block
    """The files of a block differ from what was written."""
