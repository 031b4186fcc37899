"""Whether a file is another one than before."""

from __future__ import annotations

from pathlib import Path

FileVersion = tuple[int, int, int]
"""Inode, time of the last change in nanoseconds, and size."""


def file_version(path: Path) -> FileVersion | None:
    """What changes when the file does; None where it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
