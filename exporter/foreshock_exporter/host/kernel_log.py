"""Messages of the kernel from its log, /dev/kmsg (Documentation/ABI/testing/dev-kmsg of Linux)."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from foreshock_exporter.model.xid import KernelMessage

MAX_READS_PER_CALL = 4096
"""Records per call; the rest stays in the kernel's buffer, which holds about as many."""
_RECORD_BYTES = 8192
"""CONSOLE_EXT_LOG_MAX: a shorter buffer is refused with EINVAL."""
_MAX_KERNEL_PREFIX = 7
"""Largest prefix of facility 0; records that programs write have another facility."""


class KernelLog:
    """Reads what the kernel logs from the first call on, without blocking. Not thread-safe.

    Records have a sequence number. After a failure, reading continues behind the last one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._sequence: int | None = None
        self._rest = b""
        self._overwritten = False

    def __call__(self) -> Sequence[KernelMessage]:
        """Messages since the last call, oldest first; none at the first call.

        Raises:
            OSError: the log is not readable, or records were lost after the last call.
        """
        if self._overwritten:
            self._overwritten = False
            raise OSError(f"{self._path}: records were overwritten before they were read; XID errors may be missing")
        try:
            if self._file is None:
                self._file = self._open()
            data = self._rest + self._read(self._file)
        except OSError as error:
            self.close()
            raise OSError(unreadable(self._path, error)) from error
        lines, _, self._rest = data.rpartition(b"\n")
        return [message for line in lines.split(b"\n") if (message := self._message(line)) is not None]

    def close(self) -> None:
        """Close the log; the next call opens it again."""
        opened, self._file, self._rest = self._file, None, b""
        if opened is not None:
            os.close(opened)

    def _open(self) -> int:
        opened = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if self._sequence is None:
            self._sequence = -1
            try:
                os.lseek(opened, 0, os.SEEK_END)
            except OSError as error:
                if error.errno != errno.ESPIPE:  # a pipe has no past
                    os.close(opened)
                    raise
        return opened

    def _read(self, opened: int) -> bytes:
        records: list[bytes] = []
        for _ in range(MAX_READS_PER_CALL):
            try:
                record = os.read(opened, _RECORD_BYTES)
            except BlockingIOError:
                break
            except BrokenPipeError:  # the next record is the oldest that is left
                self._overwritten = True
                continue
            if not record:
                break
            records.append(record)
        return b"".join(records)

    def _message(self, line: bytes) -> KernelMessage | None:
        """Message of the line `prefix,sequence,µs,flags;text`; None if it is not new or not by the kernel.

        Lines that begin with a space are properties of the record before.
        """
        header, separator, text = line.partition(b";")
        fields = header.split(b",")
        if not separator or len(fields) < 3 or not all(field.isdigit() for field in fields[:3]):
            return None
        prefix, sequence, microseconds = map(int, fields[:3])
        if self._sequence is not None and sequence <= self._sequence:
            return None
        self._sequence = sequence
        if prefix > _MAX_KERNEL_PREFIX:
            return None
        return KernelMessage(microseconds / 1e6, text.decode(errors="replace"))


def unreadable(path: Path, error: OSError) -> str:
    """Why the kernel log cannot be read, and the remedy."""
    return (
        f"{path} cannot be read ({error.strerror}): XID errors without the process that caused them, and no NVSwitch "
        "errors; grant CAP_SYSLOG and the device, set --path.kmsg, or set --collector.kernel-log=off"
    )
