"""Network interfaces from /proc/net/dev and /sys/class/net, as in node_exporter."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from foreshock_exporter.host import metrics as host_metrics
from foreshock_exporter.model.family import Families, Family, Sample

MAX_INTERFACES = 128
"""Largest number of interfaces; --collector.network.device-exclude excludes virtual ones."""
_COLUMN_COUNT = 16


@dataclass(frozen=True, slots=True)
class InterfaceCounters:
    """Counters of an interface since it came up; None if the system does not report a value."""

    device: str
    receive_bytes: float | None = None
    receive_packets: float | None = None
    receive_errors: float | None = None
    receive_drops: float | None = None
    transmit_bytes: float | None = None
    transmit_packets: float | None = None
    transmit_errors: float | None = None
    transmit_drops: float | None = None
    up: bool | None = None
    speed_bytes: float | None = None


_VALUES: tuple[tuple[Family, Callable[[InterfaceCounters], float | None]], ...] = (
    (host_metrics.NETWORK_RECEIVE_BYTES, lambda counters: counters.receive_bytes),
    (host_metrics.NETWORK_RECEIVE_PACKETS, lambda counters: counters.receive_packets),
    (host_metrics.NETWORK_RECEIVE_ERRORS, lambda counters: counters.receive_errors),
    (host_metrics.NETWORK_RECEIVE_DROPS, lambda counters: counters.receive_drops),
    (host_metrics.NETWORK_TRANSMIT_BYTES, lambda counters: counters.transmit_bytes),
    (host_metrics.NETWORK_TRANSMIT_PACKETS, lambda counters: counters.transmit_packets),
    (host_metrics.NETWORK_TRANSMIT_ERRORS, lambda counters: counters.transmit_errors),
    (host_metrics.NETWORK_TRANSMIT_DROPS, lambda counters: counters.transmit_drops),
    (host_metrics.NETWORK_UP, lambda counters: counters.up),
    (host_metrics.NETWORK_SPEED, lambda counters: counters.speed_bytes),
)


class ProcNetwork:
    """Collector of the interfaces in the network namespace of `procfs` (see `net_folder`) and `sysfs`."""

    def __init__(self, procfs: Path, sysfs: Path, exclude: re.Pattern[str] | None = None) -> None:
        self._procfs = procfs
        self._interfaces = sysfs / "class" / "net"
        self._exclude = exclude

    def __call__(self) -> Families:
        """Interfaces as families. Raises as `read`."""
        return families(self.read())

    def read(self) -> tuple[InterfaceCounters, ...]:
        """Counters of each interface, with state and speed if available.

        Raises:
            OSError: the counters cannot be read.
            ValueError: the counters are malformed.
        """
        path = net_folder(self._procfs) / "dev"
        interfaces = [
            counters
            for counters in parse_counters(path.read_text(errors="backslashreplace"), str(path))
            if self._exclude is None or not self._exclude.fullmatch(counters.device)
        ]
        if len(interfaces) > MAX_INTERFACES:
            raise ValueError(
                f"{len(interfaces)} network interfaces are more than {MAX_INTERFACES}; "
                "leave virtual ones out with --collector.network.device-exclude"
            )
        return tuple(self._with_link(counters) for counters in interfaces)

    def _with_link(self, counters: InterfaceCounters) -> InterfaceCounters:
        link = self._interfaces / counters.device
        state, speed = read_text(link / "operstate"), read_text(link / "speed")
        return replace(counters, up=None if state is None else state == "up", speed_bytes=parse_speed(speed))


def net_folder(procfs: Path) -> Path:
    """Folder with the network counters of the host.

    `procfs`/net links to self/net, the namespace of the reader, so a container with the host's /proc would report its
    own network. Process 1 is in the host's namespace. If it is hidden (hidepid), only the reader's namespace is left.
    """
    init_folder = procfs / "1" / "net"
    return init_folder if os.access(init_folder / "dev", os.R_OK) else procfs / "net"


def parse_counters(text: str, where: str = "/proc/net/dev") -> list[InterfaceCounters]:
    """Parse /proc/net/dev: two heading lines, then `name:` and 16 counters per line.

    Raises:
        ValueError: a line is malformed; the message quotes it.
    """
    interfaces = []
    for line in text.split("\n")[2:]:
        if not line:
            continue
        device, colon, columns = line.rpartition(":")
        numbers = columns.split()
        if not colon or len(numbers) < _COLUMN_COUNT or not all(map(_is_count, numbers)):
            raise ValueError(f"{where}: cannot read the line {line[:120]!r}")
        value = [float(number) for number in numbers]
        interfaces.append(
            InterfaceCounters(
                device.strip(),
                receive_bytes=value[0],
                receive_packets=value[1],
                receive_errors=value[2],
                receive_drops=value[3],
                transmit_bytes=value[8],
                transmit_packets=value[9],
                transmit_errors=value[10],
                transmit_drops=value[11],
            )
        )
    return interfaces


def families(interfaces: Iterable[InterfaceCounters]) -> Families:
    """Interfaces under node_exporter's names; None is left out."""
    interfaces = tuple(interfaces)
    return [
        (
            family,
            [Sample((counters.device,), value) for counters in interfaces if (value := value_of(counters)) is not None],
        )
        for family, value_of in _VALUES
    ]


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
