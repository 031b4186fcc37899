"""Errors of recordings."""

from __future__ import annotations

from foreshock_dashboard.model.query import SourceError


class RecordingError(SourceError):
    """A recording, or a file to convert, cannot be read or written. The message names the file and the remedy."""
