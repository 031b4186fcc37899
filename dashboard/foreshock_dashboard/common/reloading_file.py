"""Values that are read from files, and read again when a file changes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from foreshock_dashboard.common.log_on_change import LogOnChange

Value = TypeVar("Value")

MAX_FILE_BYTES = 1 << 20
"""Of a file of credentials or of a configuration."""

_log = logging.getLogger(__name__)


class FileError(Exception):
    """A file of tokens, users or keys cannot be used. The message names it and the remedy."""


def read_bounded(path: Path) -> bytes:
    """The content of a file. Raises FileError if it cannot be read, or is larger than `MAX_FILE_BYTES`."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise FileError(f"{path}: is larger than {MAX_FILE_BYTES >> 20} MiB. Shorten it")
    return content


def read_bounded_text(path: Path) -> str:
    """The same as text. Raises FileError also if it is not UTF-8."""
    try:
        return read_bounded(path).decode()
    except UnicodeDecodeError:
        raise FileError(f"{path}: is not UTF-8 text") from None


class ReloadingFile(Generic[Value]):
    """A value that is read from files. Thread-safe.

    If a new version cannot be used, it is logged once, and the previous value stays. It is read again each time,
    since whether it can be read depends on more than its content, such as the owner of a folder.

    Args:
        read: returns the value, or raises `FileError`, as the constructor does for the first version.
        remains: what remains in use instead of an unusable version, for the log.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], Value], remains: str) -> None:
        self._paths, self._read, self._remains = paths, read, remains
        self._log = LogOnChange(_log)
        self._lock = threading.Lock()
        self._versions = self._current_versions()
        self.value = read()

    def current(self) -> Value:
        """Return the value of the newest usable version."""
        self.reload()
        return self.value

    def reload(self) -> bool:
        """Read the files if they have changed, and return whether there is a new value."""
        with self._lock:
            versions = self._current_versions()
            new = versions != self._versions
            error = ""
            if new:
                try:
                    self.value, self._versions = self._read(), versions
                except FileError as failure:
                    new, error = False, f"{failure}; {self._remains}"
            self._log.update(error)
            return new

    def _current_versions(self) -> list[tuple[int, int, int] | None]:
        """Return inode, modification time, and size of each file; None if it cannot be examined."""
        versions: list[tuple[int, int, int] | None] = []
        for path in self._paths:
            try:
                status = path.stat()
                versions.append((status.st_ino, status.st_mtime_ns, status.st_size))
            except OSError:
                versions.append(None)
        return versions
