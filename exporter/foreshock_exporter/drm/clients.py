"""DRM clients of all processes, found by their open files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from foreshock_exporter.drm.attributes import exists, read_text
from foreshock_exporter.drm.cards import address_of
from foreshock_exporter.drm.fdinfo import Client, parse_fdinfo
from foreshock_exporter.model.device import DeviceError

SCAN_INTERVAL_SECONDS = 10.0
"""Shortest time between two searches in the files of all processes, of which a host may have ten thousands."""
MAX_SCAN_RATIO = 0.01
"""Longest part of the time spent on searches."""
IDLE_INTERVAL_SECONDS = 1.0
"""Time between two readings of a client for which no kernel engine has worked yet."""
COMPUTE_INTERVAL_SECONDS = 10.0
"""That time for processes of ROCm. Each opens the files of all GPUs, and submits nothing by them."""
MAX_STEP_SECONDS = 0.02
"""Longest part of a search in one call, after the first search: a longer call delays the samples of other GPUs."""
_DEVICES = "/dev/dri/"


class OpenFile(NamedTuple):
    """File descriptor of a process."""

    pid: int
    descriptor: str


class DrmClients:
    """Finds the DRM clients of a host. Thread-safe.

    The GPU of a file is that of its name in /dev/dri: to read the file's statistics can resume a suspended GPU.

    `incomplete`: whether files of some process may not be listed, which needs its user or CAP_SYS_PTRACE.
    """

    def __init__(self, sysfs: Path, procfs: Path, now: Callable[[], float]) -> None:
        self._sysfs = sysfs
        self._procfs = procfs
        self._now = now
        self._lock = threading.Lock()
        self._scan_at = float("-inf")
        self._search: Iterator[None] | None = None
        self._search_seconds = 0.0
        self._max_step_seconds = float("inf")
        self._files: Mapping[str, tuple[OpenFile, ...]] = {}
        self._idle: dict[OpenFile, tuple[float, Client]] = {}
        self.incomplete = False

    def read(self, address: str, compute_pids: Collection[int] = ()) -> dict[tuple[int, str], Client]:
        """Clients of the GPU at a PCI address, by PID and number. One of several processes has the lowest PID.

        A client without work is read less often, also after its file is closed; `compute_pids` are those of ROCm.
        """
        with self._lock:
            now = self._now()
            if self._search is not None or now >= self._scan_at:
                self._continue_search(now)
            files = self._files.get(address, ())
        clients: dict[str, tuple[int, Client]] = {}
        for file in files:
            client = self._client(
                file, now, COMPUTE_INTERVAL_SECONDS if file.pid in compute_pids else IDLE_INTERVAL_SECONDS
            )
            if client is not None and client.address == address:
                clients.setdefault(client.number, (file.pid, client))
        return {(pid, number): client for number, (pid, client) in clients.items()}

    def _continue_search(self, now: float) -> None:
        """Search until the end, or for `MAX_STEP_SECONDS`."""
        self._search = self._search or self._scan()
        for _ in self._search:
            if self._now() - now > self._max_step_seconds:
                self._search_seconds += self._now() - now
                return
        took = self._search_seconds + self._now() - now
        self._scan_at = now + max(SCAN_INTERVAL_SECONDS, took / MAX_SCAN_RATIO)
        self._search, self._search_seconds, self._max_step_seconds = None, 0.0, MAX_STEP_SECONDS

    def _scan(self) -> Iterator[None]:
        """Search the files of all processes, with a step for each. Results are set at the end."""
        by_name: dict[str, list[OpenFile]] = {}
        incomplete = not exists(f"{self._procfs}/1")  # the option hidepid of /proc hides other users' processes
        for pid in sorted(_numbers(str(self._procfs))):
            try:
                for descriptor, name in self._drm_files(pid):
                    by_name.setdefault(name, []).append(OpenFile(pid, descriptor))
            except PermissionError:
                incomplete = incomplete or _has_program(f"{self._procfs}/{pid}")
            yield
        files: dict[str, tuple[OpenFile, ...]] = {}
        for name, found in by_name.items():
            if (address := address_of(self._sysfs, name)) is not None:
                files[address] = tuple(sorted((*files.get(address, ()), *found)))
        self._files, self.incomplete = files, incomplete
        self._idle = {file: self._idle[file] for found in files.values() for file in found if file in self._idle}

    def _drm_files(self, pid: int) -> Iterator[tuple[str, str]]:
        """Descriptors of a process's DRM files, with the name of the device file. Raises PermissionError."""
        folder = f"{self._procfs}/{pid}"
        try:
            descriptors = os.listdir(f"{folder}/fd")  # noqa: PTH208 - names only, of every process
        except PermissionError:
            raise
        except OSError:
            return  # ended meanwhile
        for descriptor in descriptors:
            try:
                path = os.readlink(f"{folder}/fd/{descriptor}")  # noqa: PTH115 - text only
            except OSError:
                continue  # closed meanwhile
            if path.startswith(_DEVICES):
                yield descriptor, path.removeprefix(_DEVICES)

    def _client(self, file: OpenFile, now: float, idle_interval: float) -> Client | None:
        read_at, client = self._idle.get(file, (0.0, None))
        if client is not None and now - read_at < idle_interval:
            return client
        self._idle.pop(file, None)
        try:
            client = parse_fdinfo(read_text(f"{self._procfs}/{file.pid}/fdinfo/{file.descriptor}"))
        except DeviceError:
            return None  # closed meanwhile
        if client is not None and not client.has_worked:
            self._idle[file] = now, client
        return client


def _numbers(procfs: str) -> Iterator[int]:
    try:
        return (int(name) for name in os.listdir(procfs) if name.isascii() and name.isdigit())  # noqa: PTH208
    except OSError:
        return iter(())


def _has_program(folder: str) -> bool:
    """Whether a process has a command line, which threads of the kernel lack, or one that may not be read."""
    try:
        return bool(read_text(f"{folder}/cmdline"))
    except DeviceError as error:
        return error.reason != "not_supported"  # /proc with hidepid=1 answers EPERM
