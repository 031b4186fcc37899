"""Version of a file by its metadata, to notice that it was replaced."""

from __future__ import annotations

from pathlib import Path

FileVersion = tuple[int, int, int]
"""Inode, modification time in nanoseconds, and size in bytes."""


def file_version(path: Path) -> FileVersion | None:
    """The version of a file; None if it cannot be examined."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
