"""Attributes of a device in sysfs: their values, and the reasons of those that cannot be read.

Paths are text: a pass reads hundreds of files, and pathlib would take longer than the kernel.
"""

from __future__ import annotations

import errno
import os
import re

from foreshock_exporter.model.device import DeviceError, Reason

MAX_ATTRIBUTE_BYTES = 1 << 16
"""Bytes read of a file; attributes of sysfs have at most a page."""
_REASONS: dict[int, Reason] = {
    errno.ENOENT: "not_supported",
    errno.ENOTDIR: "not_supported",
    errno.EOPNOTSUPP: "not_supported",
    errno.EINVAL: "not_supported",
    errno.ENODATA: "not_supported",
    errno.EACCES: "no_permission",
    errno.ENODEV: "lost",
    errno.ENXIO: "lost",
    errno.ETIME: "timeout",
    errno.ETIMEDOUT: "timeout",
}
"""EPERM is no lack of permission: amdgpu answers it while it resets the GPU (drivers/gpu/drm/amd/pm/amdgpu_pm.c)."""
_NUMBER = re.compile(r"-?[0-9]{1,20}")


def reason_of(error: OSError) -> Reason:
    """Reason of a failed read."""
    return _REASONS.get(error.errno or 0, "driver")


def read_bytes(path: str) -> bytes:
    """Content of a file. Raises DeviceError with the reason of the failure."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, MAX_ATTRIBUTE_BYTES)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DeviceError(reason_of(error), f"{path}: {error.strerror}") from error


def read_text(path: str) -> str:
    """Content of a file as text without surrounding white space. Raises as `read_bytes`."""
    return read_bytes(path).decode(errors="replace").strip()


def exists(path: str) -> bool:
    """Whether there is a file or folder."""
    return os.access(path, os.F_OK)


def number(text: str) -> float | None:
    """Decimal integer, or None for any other text."""
    return float(text) if _NUMBER.fullmatch(text) else None


class Attributes:
    """Attributes of one device, of which each may fail alone. `absent` has the reasons, as in `Reading`."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.absent: dict[str, Reason] = {}
        self._hwmon: str | None = None

    def text(self, name: str, *fields: str) -> str | None:
        """Text of an attribute; None on failure, with the reason recorded for `fields`.

        Raises:
            DeviceError: the device is lost.
        """
        try:
            return read_text(f"{self.folder}/{name}")
        except DeviceError as error:
            self._fail(error, fields)
            return None

    def number(self, name: str, *fields: str, scale: float = 1.0) -> float | None:
        """Number of an attribute, times `scale`; None as in `text`. Other text is a failure of the driver."""
        text = self.text(name, *fields)
        value = None if text is None else number(text)
        if text is not None and value is None:
            self.absent.update(dict.fromkeys(fields, "driver"))
        return None if value is None else value * scale

    def sensor(self, name: str, *fields: str, scale: float) -> float | None:
        """Number of an attribute of the device's hwmon, times `scale`; see `number`."""
        if self._hwmon is None:
            try:
                self._hwmon = min(os.listdir(f"{self.folder}/hwmon"), default="")  # noqa: PTH208 - a name only
            except OSError:
                self._hwmon = ""
        return self.number(f"hwmon/{self._hwmon}/{name}", *fields, scale=scale) if self._hwmon else None

    def bytes(self, name: str, *fields: str) -> bytes | None:
        """Content of an attribute; None as in `text`."""
        try:
            return read_bytes(f"{self.folder}/{name}")
        except DeviceError as error:
            self._fail(error, fields)
            return None

    def _fail(self, error: DeviceError, fields: tuple[str, ...]) -> None:
        if error.reason == "lost" or not exists(self.folder):
            raise DeviceError("lost", f"{self.folder}: the device is gone") from error
        if error.reason != "not_supported":
            self.absent.update(dict.fromkeys(fields, error.reason))
