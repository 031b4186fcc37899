"""What a process's cgroup path says of where it runs: pod, container, Slurm job, systemd unit. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?![0-9a-f])")
_CONTAINER = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")
_SLURM = re.compile(r"/job_(\d+)(?=/|$)")
_UNIT = re.compile(r"/([^/]+)\.service(?=/|$)")
_MANAGER = re.compile(r"user@\d+")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a process runs; None where its cgroup does not say. `pod` is a uid as Kubernetes writes it."""

    pod: str | None = None
    container: str | None = None
    slurm_job: str | None = None
    unit: str | None = None


def parse_cgroup(text: str) -> tuple[str, ...]:
    """The paths in /proc/PID/cgroup, each once: the unified hierarchy (version 2) first, then those of version 1."""
    lines = [line.split(":", 2) for line in text.splitlines()]
    known = [fields for fields in lines if len(fields) == 3 and fields[2] != "/"]
    return tuple(dict.fromkeys(path for _, _, path in sorted(known, key=lambda fields: fields[1] != "")))


def placement(paths: Iterable[str]) -> Placement:
    """Read cgroup paths of either driver (cgroupfs, systemd) and any container runtime."""
    paths = tuple(paths)
    pod = _last(_POD, paths)
    return Placement(
        pod=None if pod is None else pod.replace("_", "-"),
        container=_last(_CONTAINER, paths),
        slurm_job=_last(_SLURM, paths),
        unit=_last(_UNIT, paths),
    )


def _last(pattern: re.Pattern[str], paths: Iterable[str]) -> str | None:
    """The innermost match of the first path that has one; the unit that only manages a user's session is none."""
    for path in paths:
        found = [name for name in pattern.findall(path) if not _MANAGER.fullmatch(name)]
        if found:
            return str(found[-1])
    return None
