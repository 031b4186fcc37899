"""A folder that appears whole or not at all: written aside, synced, renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foreshock_dashboard.recording.errors import RecordingError


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A folder beside `path` to write into; it becomes `path` where the block ends well, and is removed where not.

    Raises:
        RecordingError: `path` exists, or its parent cannot be written.
    """
    path = path.absolute()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RecordingError(f"{path} exists and is not empty; remove it or name another folder")
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written: {error.strerror}; name a folder that can") from None
    try:
        yield part
        for file in [*part.iterdir(), part]:
            sync(file)
        part.rename(path)
        sync(path.parent)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written: {error.strerror}; free space, or name another") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def sync(path: Path) -> None:
    """Have a file or folder survive power loss.

    Raises:
        OSError: it cannot be synced.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
