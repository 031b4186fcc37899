"""What the store does to files besides SQLite and DuckDB: one door, so that a test can make it fail."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from isal import isal_zlib

_CHUNK = 1 << 20


class Disk:
    """Durable operations on files: when one returns, power may fail."""

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

    def publish(self, aside: Path, final: Path) -> None:
        """Give a finished, synced folder its name, for good."""
        self.sync(aside)
        aside.rename(final)
        self.sync(final.parent)

    def remove(self, folder: Path, trash: Path) -> None:
        """Remove a folder by way of `trash` (a name that is swept when the store opens): never half of it is left."""
        shutil.rmtree(trash, ignore_errors=True)
        folder.rename(trash)
        self.sync(folder.parent)
        shutil.rmtree(trash)

    def checksum(self, path: Path) -> int:
        """CRC-32 of a file."""
        crc = 0
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                crc = isal_zlib.crc32(chunk, crc)
        return crc
