"""Faults of resources: CPU taken by a neighbor, CPU and memory limits, a full disk."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

from foreshock_lab.faults.target import System

BURN = "while True: pass"
MEASURED_SECONDS = 20.0
"""Time over which the usual CPU use of a replica is measured before it is limited."""
POSTGRES = "postgres"
CHUNK_BYTES = 1 << 20


class CpuHog:
    """Busy processes in the cgroup of each replica, which compete with it for its CPU limit."""

    def __init__(self, system: System, name: str) -> None:
        self._replicas = system.service(name).replicas
        self._processes: list[subprocess.Popen[bytes]] = []

    def set(self, amount: float) -> None:
        """Have `amount` busy processes per replica."""
        while len(self._processes) < round(amount) * len(self._replicas):
            process = subprocess.Popen([sys.executable, "-S", "-c", BURN])
            self._replicas[len(self._processes) % len(self._replicas)].cgroup.add(process.pid)
            self._processes.append(process)

    def clear(self) -> None:
        """End the busy processes."""
        for process in self._processes:
            process.kill()
            process.wait()


class CpuLimit:
    """A CPU limit of each replica, as a multiple of its usual use."""

    def __init__(self, system: System, name: str) -> None:
        self._cgroups = [replica.cgroup for replica in system.service(name).replicas]
        began, before = time.monotonic(), [cgroup.usage() for cgroup in self._cgroups]
        time.sleep(MEASURED_SECONDS)
        seconds = time.monotonic() - began
        self._limits = [usage.cpu_cores for usage in before]
        self._usual = [
            (cgroup.usage().cpu_seconds - usage.cpu_seconds) / seconds
            for cgroup, usage in zip(self._cgroups, before, strict=True)
        ]

    def set(self, amount: float) -> None:
        """Limit the CPU of each replica to `amount` times its usual use."""
        for cgroup, cores in zip(self._cgroups, self._usual, strict=True):
            cgroup.cpu_limit(amount * cores)

    def clear(self) -> None:
        """Restore the limits."""
        for cgroup, cores in zip(self._cgroups, self._limits, strict=True):
            cgroup.cpu_limit(None if cores == float("inf") else cores)


class MemoryLeak:
    """Replicas keep memory of each request until their cgroup is full, the kernel kills them, and they start again."""

    def __init__(self, system: System, name: str) -> None:
        self._system, self._name = system, name

    def set(self, amount: float) -> None:
        """Keep `amount` MiB of each request."""
        self._system.behave(self._name, leak_bytes=round(amount * 2**20))

    def clear(self) -> None:
        """Stop the leak, and restart the replicas."""
        self._system.behave(self._name)
        for replica in range(len(self._system.service(self._name).replicas)):
            self._system.stop(self._name, replica)
            self._system.start(self._name, replica)


class FullDisk:
    """Something else fills the volume of PostgreSQL, which then cannot write."""

    FILE = "backup.tar"

    def __init__(self, system: System, _name: str) -> None:
        self._file = system.volume(POSTGRES) / self.FILE
        stat = os.statvfs(self._file.parent)
        self._free = stat.f_bavail * stat.f_frsize

    def set(self, amount: float) -> None:
        """Fill a share of `amount` of what is free."""
        with self._file.open("ab") as file, contextlib.suppress(OSError):  # the last write meets a full volume
            while (missing := round(amount * self._free) - file.tell()) > 0:
                file.write(bytes(min(CHUNK_BYTES, missing)))
                file.flush()

    def clear(self) -> None:
        """Make room. PostgreSQL that ended because of it starts again on its own."""
        self._file.unlink(missing_ok=True)
