"""Faults of resources: CPU taken by a neighbor, CPU and memory limits, a full disk."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

from foreshock_lab.faults.target import System

POSTGRES = "postgres"
CHUNK_BYTES = 1 << 20
RESERVED_FILES = 4
"""WAL files of 16 MiB that PostgreSQL may have made in advance."""
BURN = """
import sys, threading, time
cores = 0.0
def burn():
    while True:
        end = time.thread_time() + cores * 0.02
        while time.thread_time() < end:
            pass
        time.sleep(max(0.0, 1.0 - cores) * 0.02)
threading.Thread(target=burn, daemon=True).start()
for line in sys.stdin:
    cores = float(line)
"""
"""Uses as much of a core as the last line of its input says."""
MEASURED_SECONDS = 20.0
"""Time over which the normal CPU use of a replica is measured before it is limited."""
MIN_CORES = 0.05
POD_LIMIT_FACTOR = 1.5
"""CPU limit of a pod with a busy neighbor, as a multiple of its normal use."""


class InitialCpu:
    """Control groups of the replicas of a service, their normal CPU use in cores, and their limits."""

    def __init__(self, system: System, name: str) -> None:
        self.cgroups = [replica.cgroup for replica in system.service(name).replicas]
        began, before = time.monotonic(), [cgroup.usage() for cgroup in self.cgroups]
        time.sleep(MEASURED_SECONDS)
        seconds = time.monotonic() - began
        self.cores = [
            (cgroup.usage().cpu_seconds - usage.cpu_seconds) / seconds
            for cgroup, usage in zip(self.cgroups, before, strict=True)
        ]
        self._limits = [usage.cpu_cores for usage in before]

    def restore(self) -> None:
        """Restore the limits."""
        for cgroup, cores in zip(self.cgroups, self._limits, strict=True):
            cgroup.cpu_limit(None if cores == float("inf") else cores)


class CpuHog:
    """A busy process in the cgroup of each replica, as of a sidecar, which competes with it for its CPU limit."""

    def __init__(self, system: System, name: str) -> None:
        self._initial = InitialCpu(system, name)
        self._limits = [max(MIN_CORES, POD_LIMIT_FACTOR * cores) for cores in self._initial.cores]
        self._processes: list[subprocess.Popen[str]] = []
        for cgroup, cores in zip(self._initial.cgroups, self._limits, strict=True):
            cgroup.cpu_limit(cores)
            command = [sys.executable, "-S", "-c", BURN]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
            cgroup.add(process.pid)
            self._processes.append(process)

    def set(self, amount: float) -> None:
        """Try to use `amount` times the CPU limit of each replica."""
        for process, cores in zip(self._processes, self._limits, strict=True):
            assert process.stdin is not None
            process.stdin.write(f"{amount * cores}\n")
            process.stdin.flush()

    def clear(self) -> None:
        """End the busy processes, and restore the limits."""
        for process in self._processes:
            process.kill()
            process.communicate()
        self._initial.restore()


class CpuLimit:
    """A CPU limit of each replica, as a multiple of its normal use."""

    def __init__(self, system: System, name: str) -> None:
        self._initial = InitialCpu(system, name)

    def set(self, amount: float) -> None:
        """Limit the CPU of each replica to `amount` times its normal use."""
        for cgroup, cores in zip(self._initial.cgroups, self._initial.cores, strict=True):
            cgroup.cpu_limit(amount * cores)

    def clear(self) -> None:
        """Restore the limits."""
        self._initial.restore()


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
    """Something else fills the volume of PostgreSQL, which ends when its log of writes (WAL) needs a further file."""

    FILE = "backup.tar"

    def __init__(self, system: System, _name: str) -> None:
        self._file = system.volume(POSTGRES) / self.FILE
        stat = os.statvfs(self._file.parent)
        self._free = stat.f_bavail * stat.f_frsize
        self._dsn = system.postgres

    def set(self, amount: float) -> None:
        """Fill a share of `amount` of what is free."""
        with self._file.open("ab") as file, contextlib.suppress(OSError):  # the last write meets a full volume
            while (missing := round(amount * self._free) - file.tell()) > 0:
                file.write(bytes(min(CHUNK_BYTES, missing)))
                file.flush()
        if amount >= 1.0:
            self._use_up_reserve()

    def _use_up_reserve(self) -> None:
        """Switch through the WAL files that PostgreSQL keeps in reserve, as hours of writes would."""
        switch = "select pg_logical_emit_message(false, 'lab', 'switch'), pg_switch_wal()"
        command = ["psql", "-q", "-d", self._dsn, *(part for _ in range(RESERVED_FILES) for part in ("-c", switch))]
        subprocess.run(command, check=False, capture_output=True)

    def clear(self) -> None:
        """Make room. PostgreSQL that ended because of it starts again on its own."""
        self._file.unlink(missing_ok=True)
