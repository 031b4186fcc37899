"""The folder with the blocks of one kind: load, verify, publish, quarantine and remove them."""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from foreshock_dashboard.store.blocks.block_meta import BlockMeta, read_meta, write_meta
from foreshock_dashboard.store.blocks.disk import DamagedBlock, Disk, StoreError, file_id, remedy

log = logging.getLogger(__name__)

UNREADABLE_SECONDS = 60.0
"""Time of read errors, on a disk that otherwise works, after which a block counts as damaged."""


@dataclass(eq=False, slots=True)
class Block:
    """An immutable block on disk."""

    folder: Path
    meta: BlockMeta
    verified: bool = False
    unreadable_since: float | None = None
    """Monotonic time of the first of successive read errors on a disk that otherwise works."""
    readers: int = 0
    obsolete: bool = False
    """No longer in the manifest; removed after its last reader."""
    verifying: threading.Lock = field(default_factory=threading.Lock)


class BlockDir:
    """`<root>/<kind>/`, and its entries in `<root>/tmp/` and `<root>/damaged/`. `corrupt` counts quarantined blocks."""

    def __init__(self, root: Path, kind: str, disk: Disk) -> None:
        self.root, self.kind, self.folder = root, kind, root / kind
        self.corrupt = 0
        self._disk = disk
        self._folder_id: tuple[int, int] | None = None

    def load(self) -> tuple[list[Block], int]:
        """Return the blocks on disk and the next unused sequence number. Finishes interrupted compactions."""
        self._folder_id = file_id(self.folder)
        names = [path.name for path in (self.root / "damaged").iterdir() if path.name.startswith(f"{self.kind}-")]
        blocks: list[Block] = []
        for folder in sorted(self.folder.iterdir()):
            names.append(folder.name)
            try:
                blocks.append(Block(folder, read_meta(folder)))
            except DamagedBlock as damage:
                self.quarantine(folder, str(damage))
            except OSError as error:
                if not self._is_damage(error):
                    raise
                self.quarantine(folder, str(error))
        sequences = [block.meta.sequences[1] for block in blocks] + [_sequence_in_name(name) for name in names]
        return self._without_replaced(blocks), max(sequences, default=0) + 1

    def _without_replaced(self, blocks: list[Block]) -> list[Block]:
        """Remove blocks that a sound merged block replaces, highest level first."""
        remaining: list[Block] = []
        for block in sorted(blocks, key=lambda block: -block.meta.level):
            if any(other.meta.replaces(block.meta) and self._sound(other, remaining) for other in list(remaining)):
                self.remove(block)
            else:
                remaining.append(block)
        return sorted(remaining, key=lambda block: block.meta.sequences)

    def _sound(self, merged: Block, remaining: list[Block]) -> bool:
        """Whether a merged block is undamaged. A damaged one is quarantined: its parts are still on disk."""
        try:
            self.verify(merged, patience=0.0)
        except DamagedBlock as damage:
            self.quarantine(merged.folder, str(damage))
            remaining.remove(merged)
            return False
        return True

    def _check_place(self) -> None:
        """Raise StoreError if the folder was removed or replaced since `load`: what is missing there is no damage."""
        if file_id(self.folder) != self._folder_id:
            raise StoreError(
                f"store {self.root}: {self.folder} was removed, or another folder is in its place; "
                "put it back, or restart to continue with the current contents"
            )

    def _is_damage(self, error: OSError) -> bool:
        """Whether a file that cannot be read is damaged: a read error of the disk, which otherwise works."""
        return error.errno == errno.EIO and self._disk.works(self.root / "tmp")

    def verify(self, block: Block, *, patience: float = UNREADABLE_SECONDS) -> None:
        """Compare a block with its checksums, once per process.

        Raises DamagedBlock if a file differs, is missing, or could not be read for `patience` seconds, and StoreError
        if it cannot be read for now: the disk may fail, or the process may have too many open files, or the folder may
        be gone.
        """
        if block.verified:
            return
        self._check_place()
        for name, (_, crc) in block.meta.files.items():
            try:
                actual = self._disk.checksum(block.folder / name)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise DamagedBlock(f"{name}: {error}") from error
            except OSError as error:
                now, since = time.monotonic(), block.unreadable_since
                block.unreadable_since = (now if since is None else since) if self._is_damage(error) else None
                if block.unreadable_since is not None and now - block.unreadable_since >= patience:
                    raise DamagedBlock(f"{name}: {error}") from error
                raise StoreError(f"store {self.root}: cannot read a block: {error}; {remedy(error)}") from error
            if actual != crc:
                raise DamagedBlock(f"{name} does not match its checksum")
        block.verified, block.unreadable_since = True, None

    def quarantine(self, folder: Path, reason: str) -> None:
        """Move a damaged block to `damaged/`, count it and log it. Its folder may be missing.

        Raises StoreError if it cannot be moved for now, or if the folder of all blocks is gone.
        """
        self._check_place()
        target = self.root / "damaged" / f"{self.kind}-{folder.name}"
        suffix = 0
        try:
            target.parent.mkdir(exist_ok=True)
            while target.exists():
                suffix += 1
                target = target.with_name(f"{self.kind}-{suffix}-{folder.name}")
            with contextlib.suppress(FileNotFoundError):
                self._disk.rename(folder, target)
        except OSError as error:
            problem = f"cannot set the damaged block {folder} aside: {error}"
            raise StoreError(f"store {self.root}: {problem}; {remedy(error)}") from error
        self.corrupt += 1
        log.error("store: damaged block %s (%s) was set aside as %s; its data is missing", folder, reason, target)

    def staging(self) -> Path:
        """Return an empty folder for the files of a new block."""
        folder = self.root / "tmp" / f"{self.kind}-new"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def publish(self, staging: Path, meta: BlockMeta) -> Block:
        """Make a staging folder of finished files a block, durably."""
        files = {}
        for path in sorted(staging.iterdir()):
            self._disk.sync(path)
            files[path.name] = (path.stat().st_size, self._disk.checksum(path))
        complete = replace(meta, files=files)
        write_meta(staging, complete, self._disk)
        folder = self.folder / complete.name
        if folder.exists():  # left by a publish that failed at its last sync; it never reached the manifest
            self._disk.remove(folder, self._trash(complete))
        self._disk.publish(staging, folder)
        return Block(folder, complete, verified=True)

    def remove(self, block: Block) -> None:
        """Remove a block's folder if it still exists. Raises OSError or StoreError if that is impossible for now."""
        self._check_place()
        if block.folder.exists():
            self._disk.remove(block.folder, self._trash(block.meta))

    def _trash(self, meta: BlockMeta) -> Path:
        return self.root / "tmp" / f"gone-{self.kind}-{meta.name}"


def _sequence_in_name(name: str) -> int:
    """Return the sequence number in the name of a block's folder; 0 for any other name."""
    sequence, dot, level = name.rpartition("-")[2].partition(".")
    return int(sequence) if dot and sequence.isdigit() and level.isdigit() else 0
