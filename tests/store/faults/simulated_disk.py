"""Simulated power cuts: the states that a disk may be in after a power loss, by the recorded operations of a process.

What was not synced may be on the disk, wholly or in part, or may be missing. Folders follow POSIX: a new, renamed or
removed name survives once its folder is synced.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_SOURCE = Path(__file__).with_name("record.c")
_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
_HEADER = struct.Struct("<8sQIII4x")
_PAGE = 4_096
CONTENTS = ("synced", "written", "prefix", "holes")
"""What a file holds of writes that were not synced: none, all, the first pages of the last write, or some of them."""
NAMES = ("synced", "all")
"""Which names exist: those that were synced, or all."""


class Operation(NamedTuple):
    """A file operation, or a `mark` with its text as data."""

    name: str
    path: Path
    other_path: Path
    offset: int
    data: bytes


def build_recorder(build: Path) -> Path:
    """Build the library that records. Raises CalledProcessError with the compiler's output."""
    library = build / "record.so"
    subprocess.run(["cc", *_FLAGS, str(_SOURCE), "-o", str(library), "-ldl"], check=True)
    return library


def record(command: Sequence[str], folder: Path, library: Path, log: Path) -> None:
    """Run a command and append its operations below `folder` to a log."""
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "FORESHOCK_RECORD_FOLDER": str(folder),
        "FORESHOCK_RECORD_LOG": str(log),
    }
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)


def operations(log: Path, root: Path) -> list[Operation]:
    """Read a log of operations below `root`. Their paths are relative to it."""
    content, found, at = log.read_bytes(), [], 0
    while at < len(content):
        name, offset, *sizes = _HEADER.unpack_from(content, at)
        at += _HEADER.size
        parts = []
        for size in sizes:
            parts.append(content[at : at + size])
            at += size
        path, other_path = (Path(os.fsdecode(part)).relative_to(root) if part else Path() for part in parts[:2])
        found.append(Operation(name.rstrip(b"\0").decode(), path, other_path, offset, parts[2]))
    return found


@dataclass(eq=False)
class File:
    """A file: what is synced, and the writes and new sizes since."""

    synced: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, data), or (size, None)."""

    def content(self, mode: str, chance: random.Random) -> bytes:
        """Return what a power cut leaves."""
        if mode == "synced":
            return self.synced
        if mode == "written" or not self.pending or self.pending[-1][1] is None:
            return _applied(self.synced, self.pending)
        before = _applied(self.synced, self.pending[:-1])
        offset, data = self.pending[-1]
        assert data is not None
        after = _applied(before, self.pending[-1:])
        pages = range(offset // _PAGE, (offset + len(data) - 1) // _PAGE + 1)
        if mode == "prefix":
            end = max(offset, (pages[0] + chance.randrange(len(pages) + 1)) * _PAGE)
            return _applied(before, [(offset, data[: end - offset])])
        result = bytearray(after)
        for page in pages:
            if chance.random() < 0.5:
                start, end = max(page * _PAGE, offset), min((page + 1) * _PAGE, offset + len(data))
                result[start:end] = before[start:end].ljust(end - start, b"\0")
        return bytes(result)


@dataclass(eq=False)
class Folder:
    """A folder: its names now, and those that were synced."""

    names: dict[str, File | Folder] = field(default_factory=dict)
    synced: dict[str, File | Folder] = field(default_factory=dict)


class SimulatedDisk:
    """Follows recorded operations. `ignored` is the suffix of files whose syncs have no effect."""

    def __init__(self, ignored: str | None = None) -> None:
        self._ignored = ignored
        self._tree = Folder()

    def apply(self, operation: Operation) -> None:
        """Follow one operation."""
        name, path = operation.path.name, operation.path
        if operation.name == "sync" and not path.parts:
            self._tree.synced = dict(self._tree.names)
            return
        parent = self._folder(path.parent)
        match operation.name:
            case "create" | "trunc":
                file = parent.names.setdefault(name, File())
                assert isinstance(file, File)
                if operation.name == "trunc":
                    file.pending.append((0, None))
            case "mkdir":
                parent.names[name] = Folder()
            case "remove":
                del parent.names[name]
            case "rename":
                self._folder(operation.other_path.parent).names[operation.other_path.name] = parent.names.pop(name)
            case "write" | "resize":
                file = parent.names[name]
                assert isinstance(file, File)
                file.pending.append((operation.offset, operation.data if operation.name == "write" else None))
            case "sync":
                synced = parent.names[name]
                if isinstance(synced, Folder):
                    synced.synced = dict(synced.names)
                elif self._ignored is None or not name.endswith(self._ignored):
                    synced.synced, synced.pending = _applied(synced.synced, synced.pending), []

    def _folder(self, path: Path) -> Folder:
        folder = self._tree
        for name in path.parts:
            below = folder.names[name]
            assert isinstance(below, Folder)
            folder = below
        return folder

    def after_cut(self, contents: str, names: str, chance: random.Random) -> dict[Path, bytes | None]:
        """Return what a power cut leaves now: the content of each file, and None for each folder, parents first."""
        return dict(self._entries(self._tree, Path(), contents, names, chance))

    def _entries(
        self, folder: Folder, path: Path, contents: str, names: str, chance: random.Random
    ) -> Iterator[tuple[Path, bytes | None]]:
        for name, entry in (folder.synced if names == "synced" else folder.names).items():
            if isinstance(entry, Folder):
                yield path / name, None
                yield from self._entries(entry, path / name, contents, names, chance)
            elif not name.endswith("-shm"):  # shared memory, which SQLite makes again
                yield path / name, entry.content(contents, chance)


def _applied(content: bytes, changes: Sequence[tuple[int, bytes | None]]) -> bytes:
    result = bytearray(content)
    for offset, data in changes:
        if data is None:
            result = result[:offset].ljust(offset, b"\0")
        else:
            result.extend(bytes(max(0, offset + len(data) - len(result))))
            result[offset : offset + len(data)] = data
    return bytes(result)
