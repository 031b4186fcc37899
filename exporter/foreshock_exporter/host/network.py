"""Network interfaces and TCP counters from /proc/net and /sys/class/net, as in node_exporter."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from foreshock_exporter.host import metrics
from foreshock_exporter.model.family import Families

MAX_INTERFACES = 128
"""Largest number of interfaces; --collector.network.device-exclude excludes virtual ones."""
_COLUMN_COUNT = 16
_COLUMNS = tuple(zip(metrics.NETWORK_COUNTERS, (0, 1, 2, 3, 8, 9, 10, 11), strict=True))
"""Field and column in /proc/net/dev."""
_NETSTAT_NAMES = {
    protocol: [field.removeprefix(f"{protocol}_") for field in metrics.NETSTAT if field.startswith(f"{protocol}_")]
    for protocol in ("Tcp", "TcpExt")
}
"""Names of the counters by protocol."""


class Interface(NamedTuple):
    """Interface with its values since it came up, by field of `metrics.NETWORK`; unreported ones are missing."""

    device: str
    values: Mapping[str, float]


class ProcNetwork:
    """Collector of the interfaces in the network namespace of `procfs` (see `net_folder`) and `sysfs`."""

    def __init__(self, procfs: Path, sysfs: Path, exclude: re.Pattern[str] | None = None) -> None:
        self._procfs = procfs
        self._interfaces = sysfs / "class" / "net"
        self._exclude = exclude

    def __call__(self) -> Families:
        return families(self.read())

    def read(self) -> tuple[Interface, ...]:
        """Counters of each interface, with state and speed if available.

        Raises:
            OSError: the counters cannot be read.
            ValueError: the counters are malformed.
        """
        path = net_folder(self._procfs) / "dev"
        interfaces = [
            interface
            for interface in parse_counters(path.read_text(errors="backslashreplace"), str(path))
            if self._exclude is None or not self._exclude.fullmatch(interface.device)
        ]
        if len(interfaces) > MAX_INTERFACES:
            raise ValueError(
                f"{len(interfaces)} network interfaces are more than {MAX_INTERFACES}; "
                "leave virtual ones out with --collector.network.device-exclude"
            )
        return tuple(Interface(device, {**values, **self._link(device)}) for device, values in interfaces)

    def _link(self, device: str) -> dict[str, float]:
        """State and speed of the link, as far as reported."""
        state, speed = (read_text(self._interfaces / device / name) for name in ("operstate", "speed"))
        link = {"up": None if state is None else float(state == "up"), "speed_bytes": parse_speed(speed)}
        return {field: value for field, value in link.items() if value is not None}


class ProcNetstat:
    """Collector of the TCP counters in the network namespace of `procfs`; see `net_folder`."""

    def __init__(self, procfs: Path) -> None:
        self._procfs = procfs

    def __call__(self) -> Families:
        return metrics.families(metrics.NETSTAT, [((), self.read())])

    def read(self) -> Mapping[str, float]:
        """Values by protocol and field, such as `Tcp_RetransSegs`; missing counters are left out.

        Raises:
            OSError: a file cannot be read.
            ValueError: a file is malformed.
        """
        folder = net_folder(self._procfs)
        snmp, netstat = (
            parse_netstat(path.read_text(errors="replace"), str(path)) for path in (folder / "snmp", folder / "netstat")
        )
        return snmp | netstat


def net_folder(procfs: Path) -> Path:
    """Folder with the network counters of the host.

    `procfs`/net links to self/net, the namespace of the reader, so a container with the host's /proc would report its
    own network. Process 1 is in the host's namespace. If it is hidden (hidepid), only the reader's namespace is left.
    """
    init_folder = procfs / "1" / "net"
    return init_folder if os.access(init_folder / "dev", os.R_OK) else procfs / "net"


def parse_counters(text: str, where: str = "/proc/net/dev") -> list[Interface]:
    """Parse /proc/net/dev: two heading lines, then `name:` and 16 counters per line.

    Raises:
        ValueError: a line is malformed; the message quotes it.
    """
    interfaces = []
    for line in filter(None, text.split("\n")[2:]):
        device, colon, columns = line.rpartition(":")
        numbers = columns.split()
        if not colon or len(numbers) < _COLUMN_COUNT or not all(map(_is_count, numbers)):
            raise ValueError(f"{where}: cannot read the line {line[:120]!r}")
        interfaces.append(Interface(device.strip(), {field: float(numbers[column]) for field, column in _COLUMNS}))
    return interfaces


def families(interfaces: Iterable[Interface]) -> Families:
    """Interfaces under node_exporter's names."""
    return metrics.families(metrics.NETWORK, [((device,), values) for device, values in interfaces])


def parse_speed(text: str | None) -> float | None:
    """Bytes per second from the kernel's Mbit/s; None if unknown (-1 or empty)."""
    try:
        megabits = int(text or "")
    except ValueError:
        return None
    return megabits * 1e6 / 8 if megabits >= 0 else None


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit()


def read_text(path: Path) -> str | None:
    """Text of a file; None if it is missing or unreadable, such as the speed of an interface that is down."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def parse_netstat(text: str, where: str) -> dict[str, float]:
    """Parse pairs of lines `Tcp: NAME NAME …` and `Tcp: VALUE VALUE …`; only fields of `metrics.NETSTAT` are kept.

    Raises:
        ValueError: a pair of lines is malformed; the message quotes it.
    """
    counters = {}
    lines = [line for line in text.split("\n") if line]
    for index in range(0, len(lines), 2):
        names, values = lines[index].split(), lines[index + 1].split() if index + 1 < len(lines) else []
        if not names or len(names) != len(values) or names[0] != values[0] or not names[0].endswith(":"):
            pair = "\n".join(lines[index : index + 2])
            raise ValueError(f"{where}: names and values do not match in {pair[:120]!r}")
        protocol = names[0].removesuffix(":")
        found = dict(zip(names, values, strict=True))
        for name in _NETSTAT_NAMES.get(protocol, ()):
            if name in found:
                field = f"{protocol}_{name}"
                counters[field] = _number(found[name], f"{where}: {field}")
    return counters


def _number(text: str, where: str) -> float:
    try:
        return float(int(text))
    except ValueError:
        raise ValueError(f"{where} is {text[:40]!r}, which is not a number") from None
