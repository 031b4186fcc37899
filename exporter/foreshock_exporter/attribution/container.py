"""Whose numbers pids are: that of a process inside its own container, and whether a /proc has the host's.

NVML reports pids of the initial pid namespace; the `process.pid` of a span is the one inside the container.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from foreshock_exporter.attribution.cgroup import parse_cgroup, placement

INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""Inode of the initial pid namespace, the same on every Linux host (include/linux/proc_ns.h, PROC_PID_INIT_INO)."""
_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD of include/linux/sched.h, in field 9 of /proc/PID/stat."""
_LINK = re.compile(r"pid:\[(\d+)\]")
_MAX_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class ProcessContainer:
    """Where a process runs, for the join with its spans.

    `pid` is its number in the innermost pid namespace, which is its `process.pid`; `nested` tells whether that is
    another namespace than that of the /proc it was read from. Ids are None outside containers and pods.
    """

    pid: int
    nested: bool
    container_id: str | None = None
    pod_uid: str | None = None


def process_container(procfs: Path, pid: int) -> ProcessContainer | None:
    """Where the process with this number in `procfs` runs; None when it is gone."""
    folder = procfs / str(pid)
    numbers = parse_nspid(_read(folder / "status"))
    if not numbers:
        return None
    place = placement(parse_cgroup(_read(folder / "cgroup").decode(errors="replace")))
    return ProcessContainer(numbers[-1], len(numbers) > 1, place.container, place.pod)


def join_keys(procfs: Path, pid: int) -> tuple[str, ...]:
    """The words for the process with this number in `procfs`; none when it is gone."""
    place = process_container(procfs, pid)
    return () if place is None else container_join_keys(place)


def container_join_keys(place: ProcessContainer) -> tuple[str, ...]:
    """The words for a process by where it runs."""
    words = []
    if place.container_id is not None:
        words.append(f"container:{place.container_id}/{place.pid}")
    if place.pod_uid is not None:
        words.append(f"pod:{place.pod_uid}/{place.pid}")
    if not place.nested:
        words += host_join_keys(place.pid)
    return tuple(words)


def host_join_keys(pid: int) -> tuple[str, ...]:
    """The word for a process that is in no container."""
    return (f"host/{pid}",)


def parse_nspid(status: bytes) -> tuple[int, ...]:
    """The numbers of a process by /proc/PID/status, from the namespace of that /proc to the innermost.

    Kernels before 4.1 write no NSpid; then it is the one number that Pid gives. Empty where there is neither.
    """
    lines = dict(line.split(b":", 1) for line in status.split(b"\n") if b":" in line)
    numbers = lines.get(b"NSpid", lines.get(b"Pid", b"")).split()
    return tuple(int(number) for number in numbers) if all(map(bytes.isdigit, numbers)) else ()


def shows_host_pids(procfs: Path) -> bool:
    """Whether `procfs` shows the processes of the host by the numbers that NVML reports.

    It does not in a container without the host's pid namespace, unless the host's /proc is mounted there. Where no
    evidence can be read the answer is no: to attribute nothing is better than to attribute to whoever has that number.
    """
    return any(evidence(procfs) for evidence in _EVIDENCE)


def _init_is_the_hosts(procfs: Path) -> bool:
    """Process 1 is in the initial namespace; to read that takes CAP_SYS_PTRACE or its user."""
    return _namespace(procfs / "1") == INITIAL_PID_NAMESPACE


def _reader_is_on_the_host(procfs: Path) -> bool:
    """The reader is: a /proc that knows him is of his namespace or one around it, and none is around the initial."""
    return _namespace(procfs / "self") == INITIAL_PID_NAMESPACE


def _shows_kernel_threads(procfs: Path) -> bool:
    """Process 2 is kthreadd: kernel threads are in the initial namespace only, and anybody may see them."""
    fields = _read(procfs / "2" / "stat").rpartition(b")")[2].split()
    return len(fields) > 6 and fields[6].isdigit() and bool(int(fields[6]) & _KERNEL_THREAD)


_EVIDENCE: tuple[Callable[[Path], bool], ...] = (_init_is_the_hosts, _reader_is_on_the_host, _shows_kernel_threads)


def _namespace(process: Path) -> int | None:
    try:
        link = _LINK.fullmatch(str((process / "ns" / "pid").readlink()))
    except OSError:
        return None
    return int(link[1]) if link else None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES)
    except OSError:
        return b""
