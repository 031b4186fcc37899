"""The store's errors, and its durable file operations in one class that a test can replace by one that fails."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

from isal import isal_zlib

from foreshock_dashboard.model.query import SourceError

_READ_BYTES = 1 << 20
_PROBE_BYTES = 4096


class StoreError(SourceError):
    """The store cannot keep data or answer a query. The message names the folder and the remedy."""


class StoreLocked(StoreError):  # noqa: N818 - named like BlockingIOError
    """Another process owns the folder."""


class DamagedBlock(Exception):  # noqa: N818 - it names the state of the block
    """The files of a block differ from what was written."""


class Disk:
    """Durable file operations: the result survives power loss after the return, except of `rename`."""

    def write(self, path: Path, data: bytes) -> None:
        """Write and sync a file: after a crash it is complete or, if it is new, may be missing."""
        aside = path.with_name(f"{path.name}.new")
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self.rename(aside, path)

    def sync(self, path: Path) -> None:
        """Sync a file or a folder."""
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file or folder. It survives power loss once both parents are synced."""
        old.rename(new)

    def make_folder(self, folder: Path) -> None:
        """Create a folder and those above it if they are missing. Syncs the parent also if the folder exists."""
        if not folder.parent.exists():
            self.make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        with contextlib.suppress(PermissionError):  # a parent that this user cannot list was made by another one
            self.sync(folder.parent)

    def publish(self, staging: Path, final: Path) -> None:
        """Rename a folder of synced files to its final name, durably."""
        self.sync(staging)
        self.rename(staging, final)
        self.sync(final.parent)

    def remove(self, folder: Path, trash: Path) -> None:
        """Remove a folder atomically: rename it to `trash`, then delete. Opening the store empties the trash."""
        shutil.rmtree(trash, ignore_errors=True)
        trash.parent.mkdir(exist_ok=True)
        self.rename(folder, trash)
        self.sync(folder.parent)
        shutil.rmtree(trash)

    def checksum(self, path: Path) -> int:
        """CRC-32 of a file."""
        crc = 0
        with path.open("rb") as file:
            while data := file.read(_READ_BYTES):
                crc = isal_zlib.crc32(data, crc)
        return crc

    def works(self, folder: Path) -> bool:
        """Whether a new file in a folder can be written to the disk and read back from it, past the page cache."""
        probe, data = folder / "probe", os.urandom(_PROBE_BYTES)
        try:
            folder.mkdir(exist_ok=True)
            self.write(probe, data)
            if hasattr(os, "posix_fadvise"):
                with probe.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            intact = self.checksum(probe) == isal_zlib.crc32(data)
            probe.unlink()
        except OSError:
            return False
        return intact


def file_id(path: Path) -> tuple[int, int] | None:
    """Return what identifies a file or folder as long as it exists, also if it is renamed; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def remedy(error: OSError) -> str:
    """Return what an operator can do about a failed file operation."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free space on that disk, or choose another folder (FORESHOCK_STORE_PATH)"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "raise the limit of open files (LimitNOFILE, ulimit -n)"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "make the folder writable, or choose another (FORESHOCK_STORE_PATH)"
    return "check the disk, or choose another folder (FORESHOCK_STORE_PATH)"
