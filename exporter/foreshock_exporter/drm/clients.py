"""DRM clients of all processes, found by their open files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from foreshock_exporter.drm.attributes import read_text
from foreshock_exporter.drm.fdinfo import Client, parse_fdinfo
from foreshock_exporter.model.device import DeviceError

SCAN_INTERVAL_SECONDS = 10.0
"""Shortest time between two searches in the files of all processes, of which a host may have ten thousands."""
MAX_SCAN_RATIO = 0.01
"""Longest part of the time spent on searches."""
_DEVICES = "/dev/dri/"


class OpenFile(NamedTuple):
    """File descriptor of a process."""

    pid: int
    descriptor: str


class DrmClients:
    """Finds the DRM clients of a host. Thread-safe.

    `incomplete`: whether files of some process may not be listed, which needs its user or CAP_SYS_PTRACE.
    """

    def __init__(self, procfs: Path, now: Callable[[], float]) -> None:
        self._procfs = procfs
        self._now = now
        self._lock = threading.Lock()
        self._scan_at = float("-inf")
        self._files: Mapping[str, tuple[OpenFile, ...]] = {}
        self.incomplete = False

    def read(self, address: str) -> dict[tuple[int, str], Client]:
        """Clients of the GPU at a PCI address, by PID and number. One of several processes has the lowest PID."""
        with self._lock:
            now = self._now()
            if now >= self._scan_at:
                self._scan()
                took = self._now() - now
                self._scan_at = now + max(SCAN_INTERVAL_SECONDS, took / MAX_SCAN_RATIO)
            files = self._files.get(address, ())
        clients: dict[str, tuple[int, Client]] = {}
        for file in files:
            client = self._client(file)
            if client is not None and client.address == address:
                clients.setdefault(client.number, (file.pid, client))
        return {(pid, number): client for number, (pid, client) in clients.items()}

    def _scan(self) -> None:
        files: dict[str, list[OpenFile]] = {}
        self.incomplete = False
        for pid in sorted(_numbers(str(self._procfs))):
            for descriptor in self._drm_files(pid):
                file = OpenFile(pid, descriptor)
                if (client := self._client(file)) is not None:
                    files.setdefault(client.address, []).append(file)
        self._files = {address: tuple(found) for address, found in files.items()}

    def _drm_files(self, pid: int) -> Iterator[str]:
        folder = f"{self._procfs}/{pid}"
        try:
            descriptors = os.listdir(f"{folder}/fd")  # noqa: PTH208 - names only, of every process
        except PermissionError:
            self.incomplete = self.incomplete or _has_program(folder)
            return
        except OSError:
            return  # ended meanwhile
        for descriptor in descriptors:
            try:
                if os.readlink(f"{folder}/fd/{descriptor}").startswith(_DEVICES):  # noqa: PTH115 - text only
                    yield descriptor
            except OSError:
                continue  # closed meanwhile

    def _client(self, file: OpenFile) -> Client | None:
        try:
            return parse_fdinfo(read_text(f"{self._procfs}/{file.pid}/fdinfo/{file.descriptor}"))
        except DeviceError:
            return None  # closed meanwhile


def _numbers(procfs: str) -> Iterator[int]:
    try:
        return (int(name) for name in os.listdir(procfs) if name.isascii() and name.isdigit())  # noqa: PTH208
    except OSError:
        return iter(())


def _has_program(folder: str) -> bool:
    """Whether a process has a command line, which threads of the kernel lack."""
    try:
        return bool(read_text(f"{folder}/cmdline"))
    except DeviceError:
        return False
