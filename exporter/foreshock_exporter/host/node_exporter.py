"""Detection of node_exporter, whose host metrics would otherwise be exported twice."""

from __future__ import annotations

from pathlib import Path

PROCESS_NAMES = frozenset(("node_exporter", "prometheus-node"))
"""Names of the process in /proc/PID/comm, which has at most 15 characters: upstream's binary, and Debian's."""


def is_running(procfs: Path) -> bool:
    """Whether node_exporter runs on the host of `procfs`; False where its processes are not visible."""
    return any(_name(comm) in PROCESS_NAMES for comm in procfs.glob("[0-9]*/comm"))


def _name(comm: Path) -> str:
    try:
        return comm.read_text(errors="replace").strip()
    except OSError:  # the process has ended
        return ""
