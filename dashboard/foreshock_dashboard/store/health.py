"""What the store says of its own state: what failed last, since when, and whether it takes data."""

from __future__ import annotations

import logging
from pathlib import Path

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.store.limits import PATIENCE

log = logging.getLogger(__name__)


class Health:
    """The latest refusal of data and the latest failure of upkeep; "" where the latest one went well."""

    def __init__(self, path: Path, now: Now) -> None:
        self.append_error = self.upkeep_error = ""
        self._path, self._now = path, now
        self._failing_since: float | None = None

    def failed(self, error: Exception) -> None:
        """Take note of a failure of upkeep; it is logged once."""
        message = (
            f"store {self._path}: upkeep failed: {told(error)}; it is tried again. Free space and look at the disk"
        )
        if message != self.upkeep_error:
            log.error("%s", message, exc_info=error)
        self.upkeep_error = message
        if self._failing_since is None:
            self._failing_since = self._now()

    def recovered(self) -> None:
        """Take note that all of upkeep went well."""
        self.upkeep_error, self._failing_since = "", None

    def ready(self) -> tuple[bool, str]:
        """Whether the store takes data now, and if not, why."""
        if self.append_error:
            return False, self.append_error
        since = self._failing_since
        failing = since is not None and self._now() - since >= PATIENCE
        return (False, self.upkeep_error) if failing else (True, "")


def told(error: Exception) -> str:
    """Some errors, such as `MemoryError`, say nothing but their name."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
