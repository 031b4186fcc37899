"""Pod, container, Slurm job, and systemd unit from the cgroup paths of a process. Pure.

Covers cgroup versions 1 and 2: the kubelet with cgroupfs and systemd drivers, also inside a container (kind);
containerd, CRI-O, Docker, Podman; both Slurm cgroup plugins; systemd system and user units.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?![0-9a-f])")
_CONTAINER = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")
_SLURM = re.compile(r"slurm(?:(?!slurm)[^/])*/(?:uid_\d+/)?job_(\d+)(?=/|$)")
"""`/slurm[_node]/uid_1000/job_7` (version 1), `/system.slice/[node_]slurmstepd.scope/job_7` (version 2).

The last `slurm` of a name counts, so that a name of many takes linear time.
"""
_UNIT = re.compile(r"/([^/]+)\.service(?=/|$)")
_ESCAPED_BYTE = re.compile(rb"\\x([0-9a-f]{2})")
_SERVICE_MANAGERS = re.compile(
    r"user@\d+|docker|snap\.docker\.dockerd|containerd|crio|cri-o|podman|kubelet|k3s|k3s-agent|rke2-server|rke2-agent"
    r"|slurmd|slurmstepd"
)
"""Units that start processes of others; these do not belong to the unit's service."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a process runs; None if its cgroup does not show it. `pod` is a UID in Kubernetes notation."""

    pod: str | None = None
    container: str | None = None
    slurm_job: str | None = None
    unit: str | None = None


def parse_cgroup(text: str) -> tuple[str, ...]:
    """Distinct paths of /proc/PID/cgroup: the unified hierarchy (version 2) first, then version 1."""
    lines = [line.split(":", 2) for line in text.split("\n")]
    valid = [fields for fields in lines if len(fields) == 3 and fields[2] not in ("/", "")]
    return tuple(dict.fromkeys(path for _, _, path in sorted(valid, key=lambda fields: fields[1] != "")))


def placement(paths: Iterable[str]) -> Placement:
    """Placement from cgroup paths; of nested entries the innermost, such as the pod inside kind's container."""
    paths = tuple(paths)
    pod, unit = _innermost(_POD, paths), _innermost(_UNIT, paths)
    return Placement(
        pod=None if pod is None else pod.replace("_", "-"),
        container=_innermost(_CONTAINER, paths),
        slurm_job=_innermost(_SLURM, paths),
        unit=None if unit is None else _unit_name(unit) or None,
    )


def _unit_name(unit: str) -> str:
    """Name of a unit as it was given to systemd-escape.

    systemd writes other bytes than letters, digits, and `:_.` as `\\x` and two digits (systemd.unit(5)), and puts an
    underscore before names that the kernel would take for its files (cg_escape).
    """
    raw = _ESCAPED_BYTE.sub(lambda escape: bytes.fromhex(escape[1].decode()), unit.removeprefix("_").encode())
    return raw.decode(errors="replace")


def _innermost(pattern: re.Pattern[str], paths: Iterable[str]) -> str | None:
    """Innermost match of the first path with one."""
    for path in paths:
        matches = [name for name in pattern.findall(path) if not _SERVICE_MANAGERS.fullmatch(name)]
        if matches:
            return str(matches[-1])
    return None
