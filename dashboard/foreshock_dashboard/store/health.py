"""The store's own state: latest errors, readiness, and statistics."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from foreshock_dashboard.common.clock import Now

log = logging.getLogger(__name__)

NOT_READY_AFTER_SECONDS = 60.0
"""Seconds of failing maintenance after which the store is not ready."""


class Health:
    """The errors of the latest append and the latest maintenance; "" after a success."""

    def __init__(self, path: Path, now: Now) -> None:
        self.append_error = self.maintenance_error = ""
        self._path, self._now = path, now
        self._failing_since: float | None = None

    def failed(self, error: Exception) -> None:
        """Record a failure of maintenance. The same failure is logged once."""
        problem = f"maintenance failed: {error_text(error)}"
        message = f"store {self._path}: {problem}; retrying. Free space and check the disk"
        if message != self.maintenance_error:
            log.error("%s", message, exc_info=error)
        self.maintenance_error = message
        if self._failing_since is None:
            self._failing_since = self._now()

    def recovered(self) -> None:
        """Record that all of maintenance succeeded."""
        self.maintenance_error, self._failing_since = "", None

    def ready(self) -> tuple[bool, str]:
        """Return whether the store accepts data, and the reason if not."""
        if self.append_error:
            return False, self.append_error
        since = self._failing_since
        failing = since is not None and self._now() - since >= NOT_READY_AFTER_SECONDS
        return (False, self.maintenance_error) if failing else (True, "")


def error_text(error: Exception) -> str:
    """Return the error's class and message; the class alone if there is no message (as for `MemoryError`)."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Statistics of a store.

    wal_rows, wal_bytes: records in the WAL, and their size. series: series in memory; above `series_limit`, no
    other ones are added than those of `TARGET_METRICS`.
    disk_bytes: size of all files. oldest: earliest time of any data, in Unix seconds; None without data.
    corrupt: damaged blocks and WAL records found since the store was opened.
    dropped_samples: beyond the series limit. dropped_spans: with invalid times. expired: blocks removed by retention.
    last_error: error of the latest append or maintenance; "" after a success.
    expiry_paused: why no data expires by age for now; "" normally.
    spans: spans in memory and in blocks. A span received twice counts twice until its blocks are compacted.
    """

    wal_rows: int
    wal_bytes: int
    head_samples: int
    head_spans: int
    series: int
    blocks: int
    block_bytes: int
    disk_bytes: int
    oldest: float | None
    corrupt: int
    dropped_samples: int
    dropped_spans: int
    expired: int
    last_error: str
    expiry_paused: str = ""
    spans: int = 0
    series_limit: int = 0
