"""Identity of this host as in its spans: `host.id` and `host.name` of OpenTelemetry."""

from __future__ import annotations

import socket
from pathlib import Path


def host_name(rootfs: Path) -> str:
    """Name in etc/hostname of a mounted root, else the system's host name."""
    named = _first_line(rootfs / "etc" / "hostname") if rootfs != Path("/") else ""
    return named or socket.gethostname()


def host_id(rootfs: Path, fallback: str) -> str:
    """Machine id, from the files that OpenTelemetry's host detector reads; `fallback` without one."""
    return _first_line(rootfs / "etc/machine-id") or _first_line(rootfs / "var/lib/dbus/machine-id") or fallback


def _first_line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip().partition("\n")[0]
    except OSError:
        return ""
