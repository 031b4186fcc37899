"""Control groups of replicas: CPU and memory limits as containers have them, and their counters (cgroup v1 and v2)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/sys/fs/cgroup")
PARENT = "foreshock-lab"
PERIOD_MICROSECONDS = 100_000
CPU_WEIGHT, CPU_SHARES = 10_000, 262_144
"""Largest CPU weight of cgroups v2 and v1, for all groups together: other work on the machine must not be recorded."""
STALE_SECONDS = 3600.0
"""Age from which an empty group is one that a killed run left behind."""
NO_LIMIT_BYTES = 1 << 62
"""From here on a memory limit of v1 means none."""


class CgroupUsage(NamedTuple):
    """Counters and gauges of a cgroup, under the names that cAdvisor gives them.

    cpu_seconds: CPU time. cpu_cores: its limit, infinite without one. periods, throttled_periods, throttled_seconds: of
    the CPU controller. memory: bytes in use. working_set: those without inactive file pages. memory_limit: bytes,
    infinite without one. oom_kills: number.
    """

    cpu_seconds: float
    cpu_cores: float
    periods: float
    throttled_periods: float
    throttled_seconds: float
    memory: float
    working_set: float
    memory_limit: float
    oom_kills: float


class Cgroup:
    """The cgroup of a replica, made at once; `add` moves processes into it.

    Raises:
        OSError: control groups are not mounted, or may not be written.
    """

    def __init__(self, name: str, root: Path = ROOT) -> None:
        self._is_v2 = (root / "cgroup.controllers").exists()
        folders = [root] if self._is_v2 else [root / "cpu", root / "cpuacct", root / "memory"]
        self._cpu, *others = (folder / PARENT / name for folder in folders)
        self._account, self._memory = others or (self._cpu, self._cpu)
        for folder in dict.fromkeys((self._cpu, self._account, self._memory)):
            folder.mkdir(parents=True, exist_ok=True)
        if self._is_v2:
            for folder in (root, root / PARENT):
                (folder / "cgroup.subtree_control").write_text("+cpu +memory")
            (root / PARENT / "cpu.weight").write_text(str(CPU_WEIGHT))
        else:
            (root / "cpu" / PARENT / "cpu.shares").write_text(str(CPU_SHARES))

    def add(self, pid: int) -> None:
        """Move a process into the group, unless it has ended."""
        for folder in dict.fromkeys((self._cpu, self._account, self._memory)):
            with contextlib.suppress(ProcessLookupError):
                (folder / "cgroup.procs").write_text(str(pid))

    def cpu_limit(self, cores: float | None) -> None:
        """Limit the CPU time per second; None: no limit. The kernel grants at least 1 ms in 100 ms."""
        quota = None if cores is None else max(1000, round(cores * PERIOD_MICROSECONDS))
        if self._is_v2:
            (self._cpu / "cpu.max").write_text(f"{'max' if quota is None else quota} {PERIOD_MICROSECONDS}")
        else:
            (self._cpu / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
            (self._cpu / "cpu.cfs_quota_us").write_text(str(-1 if quota is None else quota))

    def memory_limit(self, size: int | None) -> None:
        """Limit the memory in bytes; None: no limit."""
        if self._is_v2:
            (self._memory / "memory.max").write_text("max" if size is None else str(size))
        else:
            (self._memory / "memory.limit_in_bytes").write_text(str(-1 if size is None else size))

    def usage(self) -> CgroupUsage:
        """The present counters."""
        stat = _table(self._cpu / "cpu.stat")
        if self._is_v2:
            quota, period = (self._cpu / "cpu.max").read_text().split()
            cores = float("inf") if quota == "max" else float(quota) / float(period)
            limit = (self._memory / "memory.max").read_text().strip()
            return CgroupUsage(
                stat["usage_usec"] / 1e6,
                cores,
                stat.get("nr_periods", 0.0),
                stat.get("nr_throttled", 0.0),
                stat.get("throttled_usec", 0.0) / 1e6,
                memory := _number(self._memory / "memory.current"),
                memory - _table(self._memory / "memory.stat").get("inactive_file", 0.0),
                float("inf") if limit == "max" else float(limit),
                _table(self._memory / "memory.events").get("oom_kill", 0.0),
            )
        microseconds = _number(self._cpu / "cpu.cfs_quota_us")
        size = _number(self._memory / "memory.limit_in_bytes")
        return CgroupUsage(
            _number(self._account / "cpuacct.usage") / 1e9,
            float("inf") if microseconds < 0 else microseconds / _number(self._cpu / "cpu.cfs_period_us"),
            stat["nr_periods"],
            stat["nr_throttled"],
            stat["throttled_time"] / 1e9,
            memory := _number(self._memory / "memory.usage_in_bytes"),
            memory - _table(self._memory / "memory.stat").get("total_inactive_file", 0.0),
            float("inf") if size >= NO_LIMIT_BYTES else size,
            _table(self._memory / "memory.oom_control").get("oom_kill", 0.0),
        )

    def remove(self) -> None:
        """Remove the group; one with processes in it stays."""
        for folder in dict.fromkeys((self._cpu, self._account, self._memory)):
            with contextlib.suppress(OSError):
                folder.rmdir()


def remove_stale(root: Path = ROOT) -> None:
    """Remove the groups that killed runs left behind."""
    for parent in (root / PARENT, *(root / name / PARENT for name in ("cpu", "cpuacct", "memory"))):
        for folder in parent.glob("*/"):
            if folder.stat().st_mtime < time.time() - STALE_SECONDS:
                with contextlib.suppress(OSError):  # one with processes stays
                    folder.rmdir()


def _number(path: Path) -> float:
    return float(path.read_text())


def _table(path: Path) -> Mapping[str, float]:
    """Values of a file with a name and a value on each line."""
    pairs = (line.split() for line in path.read_text().splitlines())
    return {name: float(value) for name, value in pairs}
