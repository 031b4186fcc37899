"""Files and folders that appear complete or not at all: written beside, synced, renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from foreshock_dashboard.recording.meta import RecordingError
from foreshock_dashboard.store.blocks.disk import Disk


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`. It becomes `path` when the block ends, and is removed after an error.

    Raises:
        RecordingError: `path` exists, or its parent cannot be written.
    """
    path = path.absolute()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RecordingError(f"{path} exists and is not empty; remove it or name another folder")
    part = _part_of(path)
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written: {error.strerror}; name a folder that can") from None
    try:
        yield part
        disk = Disk()
        for file in part.iterdir():
            disk.sync(file)
        disk.publish(part, path)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written: {error.strerror}; free space, or name another") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def require_absent(path: Path) -> None:
    """Refuse an existing file, before the work for a new one.

    Raises:
        RecordingError: `path` exists.
    """
    if path.exists():
        raise RecordingError(f"{path} exists; remove it or name another file")


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write. It becomes `path` when the block ends, and is removed after an error.

    Raises:
        RecordingError: `path` exists, or cannot be written.
    """
    part = _part_of(path)
    require_absent(path)
    try:
        with part.open("xb") as file:
            yield file
        Disk().publish(part, path.absolute())
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.part-{os.getpid()}")
