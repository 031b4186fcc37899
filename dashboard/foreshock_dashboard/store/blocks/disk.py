"""The store's errors, and its durable file operations in one class that a test can replace by one that fails."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from isal import isal_zlib

from foreshock_dashboard.model.query import SourceError

_READ_BYTES = 1 << 20


class StoreError(SourceError):
    """The store cannot keep data or answer a query. The message names the folder and the remedy."""


class StoreLocked(StoreError):  # noqa: N818 - named like BlockingIOError
    """Another process owns the folder."""


class DamagedBlock(Exception):  # noqa: N818 - it names the state of the block
    """The files of a block differ from what was written."""


class Disk:
    """Durable file operations: the result survives power loss after the return."""

    def write(self, path: Path, data: bytes) -> None:
        """Write and sync a new file."""
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def sync(self, path: Path) -> None:
        """Sync a file or a folder."""
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def publish(self, staging: Path, final: Path) -> None:
        """Rename a folder of synced files to its final name, durably."""
        self.sync(staging)
        staging.rename(final)
        self.sync(final.parent)

    def remove(self, folder: Path, trash: Path) -> None:
        """Remove a folder atomically: rename it to `trash`, then delete. Opening the store empties the trash."""
        shutil.rmtree(trash, ignore_errors=True)
        folder.rename(trash)
        self.sync(folder.parent)
        shutil.rmtree(trash)

    def checksum(self, path: Path) -> int:
        """CRC-32 of a file."""
        crc = 0
        with path.open("rb") as file:
            while data := file.read(_READ_BYTES):
                crc = isal_zlib.crc32(data, crc)
        return crc
