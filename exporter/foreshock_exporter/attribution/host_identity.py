"""Who this host is, in the words that its spans use: `host.id` and `host.name` of OpenTelemetry."""

from __future__ import annotations

import socket
from pathlib import Path


def host_name(rootfs: Path) -> str:
    """The name in the host's own /etc/hostname where another root is mounted, else that of the system."""
    named = _first_line(rootfs / "etc" / "hostname") if rootfs != Path("/") else ""
    return named or socket.gethostname()


def host_id(rootfs: Path, fallback: str) -> str:
    """The machine id, where OpenTelemetry's host detector looks for it too; `fallback` where the host has none."""
    return _first_line(rootfs / "etc/machine-id") or _first_line(rootfs / "var/lib/dbus/machine-id") or fallback


def _first_line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip().partition("\n")[0]
    except OSError:
        return ""
