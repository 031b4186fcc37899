"""What a store folder holds at each file operation: the states that `kill -9` between two operations leaves behind."""

from __future__ import annotations

import shutil
from pathlib import Path

from foreshock_dashboard.store.blocks.disk import Disk


class SnapshotDisk(Disk):
    """A disk that copies the store folder before each operation."""

    def __init__(self, store: Path, snapshots: Path) -> None:
        self.store, self.snapshots = store, snapshots
        self.taken: list[tuple[str, Path]] = []
        """The operation that comes next, and the copy."""

    def snapshot(self, operation: str) -> None:
        """Copy the folder now."""
        copy = self.snapshots / f"{len(self.taken):03d}"
        shutil.copytree(self.store, copy)
        self.taken.append((operation, copy))

    def write(self, path: Path, data: bytes) -> None:
        self.snapshot(f"write {path.name}")
        super().write(path, data)

    def sync(self, path: Path) -> None:
        self.snapshot(f"sync {path.name}")
        super().sync(path)

    def rename(self, old: Path, new: Path) -> None:
        self.snapshot(f"rename {old.name} {new.name}")
        super().rename(old, new)
