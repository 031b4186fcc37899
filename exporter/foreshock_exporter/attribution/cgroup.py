"""What a process's cgroup path says of where it runs: pod, container, Slurm job, systemd unit. Pure.

Paths as these write them, on cgroup version 1 and 2: the kubelet with the cgroupfs and the systemd driver, also inside
a container (kind); containerd, CRI-O, Docker, Podman; Slurm's two cgroup plugins; systemd for the system and for users.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?![0-9a-f])")
_CONTAINER = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")
_SLURM = re.compile(r"slurm[^/]*/(?:uid_\d+/)?job_(\d+)(?=/|$)")
"""`/slurm[_node]/uid_1000/job_7` (version 1), `/system.slice/[node_]slurmstepd.scope/job_7` (version 2)."""
_UNIT = re.compile(r"/([^/]+)\.service(?=/|$)")
_KEEPER = re.compile(
    r"user@\d+|docker|snap\.docker\.dockerd|containerd|crio|cri-o|podman|kubelet|k3s|k3s-agent|rke2-server|rke2-agent"
    r"|slurmd|slurmstepd"
)
"""Units that start other people's processes: what runs below them is not their service."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a process runs; None where its cgroup does not say. `pod` is a uid as Kubernetes writes it."""

    pod: str | None = None
    container: str | None = None
    slurm_job: str | None = None
    unit: str | None = None


def parse_cgroup(text: str) -> tuple[str, ...]:
    """The paths in /proc/PID/cgroup, each once: the unified hierarchy (version 2) first, then those of version 1."""
    lines = [line.split(":", 2) for line in text.split("\n")]
    known = [fields for fields in lines if len(fields) == 3 and fields[2] not in ("/", "")]
    return tuple(dict.fromkeys(path for _, _, path in sorted(known, key=lambda fields: fields[1] != "")))


def placement(paths: Iterable[str]) -> Placement:
    """Read cgroup paths. Of things in one another the innermost counts: the pod in kind's container, not that."""
    paths = tuple(paths)
    pod, unit = _last(_POD, paths), _last(_UNIT, paths)
    return Placement(
        pod=None if pod is None else pod.replace("_", "-"),
        container=_last(_CONTAINER, paths),
        slurm_job=_last(_SLURM, paths),
        # systemd puts an underscore before names that the kernel would take for files of its own (cg_escape)
        unit=None if unit is None else unit.removeprefix("_") or None,
    )


def _last(pattern: re.Pattern[str], paths: Iterable[str]) -> str | None:
    """The innermost match of the first path that has one."""
    for path in paths:
        found = [name for name in pattern.findall(path) if not _KEEPER.fullmatch(name)]
        if found:
            return str(found[-1])
    return None
