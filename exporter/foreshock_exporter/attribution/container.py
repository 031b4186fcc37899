"""Container of a process, its join keys, and whether a /proc shows the host's PIDs.

NVML reports PIDs of the initial PID namespace; `process.pid` of a span is the PID inside the container. Join keys match
processes to spans: `container:<id>/<innermost pid>`, `pod:<uid>/<innermost pid>`, and `host/<pid>` for a process in the
host's PID namespace. The last is unique only together with `host.id`.
"""

from __future__ import annotations

import re
from pathlib import Path

from foreshock_exporter.attribution.cgroup import parse_cgroup, placement

INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""Inode of the initial PID namespace on every Linux host (include/linux/proc_ns.h, PROC_PID_INIT_INO)."""
_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD of include/linux/sched.h, in field 9 of /proc/PID/stat."""
_LINK = re.compile(r"pid:\[(\d+)\]")
_MAX_BYTES = 1 << 16


def join_keys(procfs: Path, pid: int) -> tuple[str, ...]:
    """Join keys of the process with this PID in `procfs`; empty if it is gone."""
    folder = procfs / str(pid)
    pids = parse_nspid(read_bytes(folder / "status"))
    if not pids:
        return ()
    place = placement(parse_cgroup(read_bytes(folder / "cgroup").decode(errors="replace")))
    ids = {"container": place.container, "pod": place.pod}
    keys = tuple(f"{kind}:{value}/{pids[-1]}" for kind, value in ids.items() if value is not None)
    return keys if len(pids) > 1 else (*keys, *host_join_keys(pids[-1]))


def host_join_keys(pid: int) -> tuple[str, ...]:
    """Join keys of a process outside containers."""
    return (f"host/{pid}",)


def parse_nspid(status: bytes) -> tuple[int, ...]:
    """PIDs in /proc/PID/status, from the namespace of that /proc to the innermost.

    Kernels before 4.1 have no NSpid; then the single value of Pid. Empty without either.
    """
    lines = dict(line.split(b":", 1) for line in status.split(b"\n") if b":" in line)
    numbers = lines.get(b"NSpid", lines.get(b"Pid", b"")).split()
    return tuple(int(number) for number in numbers) if all(map(bytes.isdigit, numbers)) else ()


def shows_host_pids(procfs: Path) -> bool:
    """Whether `procfs` shows host processes under the PIDs that NVML reports.

    False in a container without the host's PID namespace or a mount of its /proc. False as well if nothing can be read:
    no attribution is better than a wrong one.
    """
    return (
        _namespace(procfs / "1") == INITIAL_PID_NAMESPACE  # needs CAP_SYS_PTRACE or the user of PID 1
        or _namespace(procfs / "self") == INITIAL_PID_NAMESPACE  # which contains all others
        or _shows_kernel_threads(procfs)
    )


def _shows_kernel_threads(procfs: Path) -> bool:
    """Whether PID 2 is kthreadd; kernel threads exist only in the initial namespace."""
    fields = read_bytes(procfs / "2" / "stat").rpartition(b")")[2].split()
    return len(fields) > 6 and fields[6].isdigit() and bool(int(fields[6]) & _KERNEL_THREAD)


def _namespace(process: Path) -> int | None:
    try:
        link = _LINK.fullmatch(str((process / "ns" / "pid").readlink()))
    except OSError:
        return None
    return int(link[1]) if link else None


def read_bytes(path: Path, max_bytes: int = _MAX_BYTES) -> bytes:
    """First bytes of a file; empty if it is missing or unreadable."""
    try:
        with path.open("rb") as file:
            return file.read(max_bytes)
    except OSError:
        return b""
