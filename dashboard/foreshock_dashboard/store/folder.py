"""The store's folder: format version, lock file, and size."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import IO

from foreshock_dashboard.store.blocks.disk import Disk, StoreError, StoreLocked

FORMAT = "3\n"


def prepare(path: Path, disk: Disk) -> None:
    """Create the subfolders and empty `tmp/`. Raises StoreError, with nothing changed, for another format."""
    marker = path / "format"
    if marker.exists():
        existing = marker.read_text()
        if existing != FORMAT:
            raise StoreError(
                f"store {path}: has format {existing.strip()!r}, this version reads {FORMAT.strip()}; "
                "use the version that wrote it, or another folder (FORESHOCK_STORE_PATH)"
            )
    else:
        disk.write(marker, FORMAT.encode())
    shutil.rmtree(path / "tmp", ignore_errors=True)
    for name in ("tmp", "damaged"):
        (path / name).mkdir(exist_ok=True)
    disk.sync(path)


def disk_bytes(path: Path) -> int:
    """Total size of the files below a folder."""
    total = 0
    for file in path.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except OSError:  # removed in the meantime
            continue
    return total


def lock(folder: Path) -> IO[str]:
    """Lock the folder for this process. Closing the returned file, or the end of the process, releases the lock.

    Raises StoreLocked if another process has the lock, and StoreError if the lock file cannot be written.
    """
    path = folder / "lock"
    try:
        file = path.open("a+")
    except OSError as error:
        raise StoreError(f"store {folder}: cannot write {path}: {error.strerror}; check its owner and mode") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise StoreLocked(
            f"store {folder}: in use by process {owner}; stop it, or set another folder (FORESHOCK_STORE_PATH)"
        ) from error
    file.seek(0)
    file.truncate()
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file
