"""The store's folder: format version, lock file, and size."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
from pathlib import Path
from typing import IO

from foreshock_dashboard.store.blocks.disk import Disk, StoreError, StoreLocked, remedy
from foreshock_dashboard.store.samples.format import SampleFormat
from foreshock_dashboard.store.spans.format import SpanFormat

FORMAT = b"3"
SUBFOLDERS = ("tmp", "damaged", SampleFormat.kind, SpanFormat.kind)

log = logging.getLogger(__name__)


def prepare(path: Path, disk: Disk) -> int:
    """Create the subfolders and empty `tmp/`. Return 1 if the format file was damaged, else 0.

    A damaged one is rewritten: each block states its format as well, under a checksum. Raises StoreError, with nothing
    changed, for another format.
    """
    marker = path / "format"
    existing = read_format(marker, FORMAT, f"store {path}")
    if existing != FORMAT:
        disk.write(marker, FORMAT + b"\n")
    shutil.rmtree(path / "tmp", ignore_errors=True)
    for name in SUBFOLDERS:
        (path / name).mkdir(exist_ok=True)
    disk.sync(path)
    return int(existing not in (b"", FORMAT))


def read_format(marker: Path, expected: bytes, subject: str) -> bytes:
    """Return the content of a format file: `expected`, damaged and logged, or b"" if it is missing or was cut short.

    Raises StoreError, naming the subject, for another format.
    """
    existing = marker.read_bytes().strip() if marker.exists() else b""
    if existing.isdigit() and existing != expected:
        raise StoreError(
            f"{subject}: has format {existing[:80].decode()!r}, this version reads {expected.decode()}; "
            "use the version that wrote it, or another folder (FORESHOCK_STORE_PATH)"
        )
    if existing not in (b"", expected):
        log.error("%s: the format file is damaged (%r); rewritten as %s", subject, existing[:80], expected.decode())
    return existing


def disk_bytes(path: Path) -> int:
    """Total size of the files below a folder."""
    total = 0
    for folder, _, names in os.walk(path):  # skips folders removed in the meantime
        for name in names:
            with contextlib.suppress(OSError):  # or files
                total += Path(folder, name).stat().st_size
    return total


def lock(folder: Path) -> IO[str]:
    """Lock the folder for this process. Closing the returned file, or the end of the process, releases the lock.

    Raises StoreLocked if another process has the lock, and StoreError if the lock file cannot be written.
    """
    path = folder / "lock"
    try:
        file = path.open("a+")
    except OSError as error:
        raise StoreError(f"store {folder}: cannot write {path}: {error.strerror}; {remedy(error)}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise StoreLocked(
            f"store {folder}: in use by process {owner}; stop it, or set another folder (FORESHOCK_STORE_PATH)"
        ) from error
    with contextlib.suppress(OSError):  # the lock holds also if there is no room for the process id
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), f"{os.getpid()}\n".encode())
    return file
