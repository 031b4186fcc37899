"""Files of the cgroup of a process: pressure of CPU, storage, and memory, the CPU limit, and misses of the page cache.

Formats: Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.pressure, cpu.stat, io.pressure, memory.pressure,
memory.stat), cgroup-v1/ and scheduler/sched-bwc.rst (throttled_time).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from foreshock_exporter.host.network import read_text
from foreshock_exporter.host.pressure import parse_totals

MAX_HIDDEN_LEVELS = 4
"""Levels of the cgroup tree above the exporter's own that are searched: its paths in /proc do not name them."""
PAGE_KINDS = frozenset({"refaults"})
"""Kinds of `read_cgroup` that are pages, not seconds."""
_REFAULTS = ("workingset_refault_file", "workingset_refault")
"""Since Linux 5.9, and before, when only pages of files counted."""


def cgroup_folders(cgroupfs: Path, process: Path) -> Iterator[Path]:
    """Folders with the CPU files of the cgroup of a process: of version 2, else of version 1. Not the root cgroup."""
    lines = [line.split(":", 2) for line in (read_text(process / "cgroup") or "").split("\n")]
    by_controllers = {fields[1]: fields[2] for fields in lines if len(fields) == 3}
    hybrid = cgroupfs / "unified"
    roots = [(hybrid if hybrid.is_dir() else cgroupfs, by_controllers.get("", "/"))]
    roots += [(cgroupfs / names, path) for names, path in by_controllers.items() if "cpu" in names.split(",")]
    for root, path in roots:
        folder = _folder(root, path)
        if folder is not None:
            yield folder


def _folder(root: Path, path: str) -> Path | None:
    """Folder of a cgroup path as /proc has it: a namespace shows cgroups outside of it as `/../NAME`."""
    parts = [part for part in path.split("/") if part]
    below = "/".join(part for part in parts if part != "..")
    if not below:
        return None
    if ".." not in parts:
        return root / below if (root / below).is_dir() else None
    levels = ("*/" * level for level in range(MAX_HIDDEN_LEVELS))
    return next((folder for level in levels for folder in root.glob(level + below)), None)


def read_cgroup(folder: Path) -> dict[str, float]:
    """Values of a cgroup by kind; only those that it has.

    `some` and `full` are seconds of CPU pressure, `throttled` those in which its CPU limit stopped it. `io` and
    `memory` are seconds in which a task waited for storage, and for memory. `refaults` are pages that were read again
    after their eviction from the page cache.
    """
    found = _pressure(folder / "cpu.pressure")
    for line in (read_text(folder / "cpu.stat") or "").split("\n"):
        name, _, number = line.partition(" ")
        if name in ("throttled_usec", "throttled_time") and number.isdecimal():
            found["throttled"] = int(number) / (1e6 if name == "throttled_usec" else 1e9)
    for kind in ("io", "memory"):
        pressure = _pressure(folder / f"{kind}.pressure")
        found |= {kind: pressure["some"]} if "some" in pressure else {}
    for line in (read_text(folder / "memory.stat") or "").split("\n"):
        name, _, number = line.partition(" ")
        if name in _REFAULTS and number.isdecimal():
            found["refaults"] = float(number)
    return found


def _pressure(path: Path) -> dict[str, float]:
    """Seconds of pressure, `some` and `full`; empty without the file, or if it is malformed."""
    try:
        return dict(parse_totals(read_text(path) or "", str(path)))
    except ValueError:
        return {}
