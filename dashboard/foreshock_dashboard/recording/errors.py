"""What can go wrong with a recording, for people."""

from __future__ import annotations

from foreshock_dashboard.model.query import SourceError


class RecordingError(SourceError):
    """A recording, or a file that is to become one, cannot be read or written. The message names it and the remedy."""
