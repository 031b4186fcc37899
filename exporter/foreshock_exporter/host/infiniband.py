"""InfiniBand and RoCE ports from /sys/class/infiniband, as in node_exporter, without saturated counters.

Counters of the performance management agent (`counters/…`) stop at the maximum of their field instead of wrapping
(InfiniBand Architecture Specification, volume 1, PortCounters). Such a value would have a rate of zero until a reset,
so it is left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from foreshock_exporter.common.log import ProblemLog
from foreshock_exporter.host import metrics
from foreshock_exporter.model.family import Families, Sample, label_value

MAX_PORTS = 128
"""Largest number of ports: 8 adapters with 16 virtual functions each."""
_MAX_BYTES = 256
_SCALES = {
    "counters/port_rcv_data": 4, "counters/port_xmit_data": 4,
    "counters_ext/port_rcv_data_64": 4, "counters_ext/port_xmit_data_64": 4,
    "hw_counters/lifespan": 1e-3,
}  # fmt: skip
"""Factors to base units. Data is in units of 4 octets on every kind of link (same specification), lifespan in ms."""
COUNTER_BITS: Mapping[str, int] = {
    "counters/local_link_integrity_errors": 4, "counters/excessive_buffer_overrun_errors": 4,
    "counters/link_error_recovery": 8, "counters/link_downed": 8,
    "counters/port_xmit_constraint_errors": 8, "counters/port_rcv_constraint_errors": 8,
    "counters/symbol_error": 16, "counters/port_rcv_errors": 16, "counters/port_xmit_discards": 16,
    "counters/port_rcv_remote_physical_errors": 16, "counters/port_rcv_switch_relay_errors": 16,
    "counters/VL15_dropped": 16,
    "counters/port_xmit_wait": 32, "counters/port_xmit_data": 32, "counters/port_rcv_data": 32,
    "counters/port_xmit_packets": 32, "counters/port_rcv_packets": 32,
}  # fmt: skip
"""Field width of each saturating counter (Linux, drivers/infiniband/core/sysfs.c, PORT_PMA_ATTR).

Adapters with extended counters count data and packets in 64 bits, which reach the 32-bit limit only by chance.
"""


class Port(NamedTuple):
    """Port of an adapter: values by file in base units, and the files of saturated counters."""

    device: str
    port: int
    values: Mapping[str, float]
    saturated: tuple[str, ...] = ()


class Adapter(NamedTuple):
    """Adapter with its ports; texts are empty if the driver does not report them."""

    device: str
    board_id: str
    firmware_version: str
    hca_type: str
    ports: tuple[Port, ...]


class SysInfiniband:
    """Collector of all ports below `sysfs`; logs saturated counters once."""

    def __init__(self, sysfs: Path) -> None:
        self._folder = sysfs / "class" / "infiniband"
        self._problems = ProblemLog()

    def __call__(self) -> Families:
        """Adapters and ports as families, sorted by name; empty without adapters.

        Raises:
            OSError: the folder exists but cannot be read.
            ValueError: a file is malformed, or there are more than `MAX_PORTS` ports.
        """
        try:
            devices = sorted(os.listdir(self._folder))  # noqa: PTH208 - names only
        except FileNotFoundError:
            return families(())
        ports = {device: _ports(self._folder / device) for device in devices}
        if (count := sum(map(len, ports.values()))) > MAX_PORTS:
            raise ValueError(
                f"{count} ports in {self._folder} exceed the limit of {MAX_PORTS}; set --no-collector.infiniband, "
                "or move virtual functions to the namespaces that use them"
            )
        adapters = [_adapter(self._folder / device, numbers) for device, numbers in ports.items()]
        self._report_saturated(port for adapter in adapters for port in adapter.ports)
        return families(adapters)

    def _report_saturated(self, ports: Iterable[Port]) -> None:
        for port in ports:
            subject = f"infiniband: {port.device} port {port.port}"
            if port.saturated:
                counters = ", ".join(f"{file.rpartition('/')[2]} = {_limit(file)}" for file in port.saturated)
                self._problems.report(
                    subject,
                    f"counters at their maximum are dropped until a reset (perfquery -R): {counters}",
                )
            else:
                self._problems.resolve(subject)


def families(adapters: Iterable[Adapter]) -> Families:
    """Adapters and ports under node_exporter's names, without missing and saturated values."""
    adapters = tuple(adapters)
    infos = [Sample(adapter[:4], 1.0) for adapter in adapters]
    ports = [((port.device, str(port.port)), port.values) for adapter in adapters for port in adapter.ports]
    return [(metrics.INFINIBAND_INFO, infos), *metrics.families(metrics.INFINIBAND, ports)]


def parse_state(text: str) -> int | None:
    """Number of `4: ACTIVE`; None without one."""
    number = text.partition(":")[0].strip()
    return int(number) if number.isascii() and number.isdigit() else None


def parse_rate(text: str) -> float | None:
    """Bytes per second of `100 Gb/sec (4X EDR)`; None for another form."""
    number, _, unit = text.partition(" ")
    try:
        return float(number) * 1e9 / 8 if unit.startswith("Gb/sec") else None
    except ValueError:
        return None


def parse_counter(text: str, where: str) -> int | None:
    """Count; None for `N/A (no PMA)`, which old drivers write for missing counters.

    Raises:
        ValueError: the text is neither; the message names the file.
    """
    if text.isascii() and text.isdigit():
        return int(text)
    if text.startswith("N/A") or not text:
        return None
    raise ValueError(f"{where}: {text[:40]!r} is not a count")


_PARSERS: Mapping[str, Callable[[str], float | None]] = {
    "state": parse_state,
    "phys_state": parse_state,
    "rate": parse_rate,
}


def _ports(folder: Path) -> list[int]:
    try:
        names = os.listdir(folder / "ports")  # noqa: PTH208 - names only
    except OSError:
        return []
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def _adapter(folder: Path, ports: Iterable[int]) -> Adapter:
    device = label_value(folder.name)
    board, firmware, kind = (
        label_value(_read(f"{folder}/{name}") or "") for name in ("board_id", "fw_ver", "hca_type")
    )
    return Adapter(
        device, board, firmware, kind, tuple(_port(folder / "ports" / str(port), device, port) for port in ports)
    )


def _port(folder: Path, device: str, number: int) -> Port:
    values = dict(_values(folder))
    saturated = tuple(file for file, value in values.items() if value == _limit(file))
    return Port(
        device,
        number,
        {file: value * _SCALES.get(file, 1) for file, value in values.items() if file not in saturated},
        saturated,
    )


def _limit(file: str) -> int | None:
    return (1 << COUNTER_BITS[file]) - 1 if file in COUNTER_BITS else None


def _values(folder: Path) -> Iterator[tuple[str, float]]:
    """Values by file as the kernel reports them."""
    for file in metrics.INFINIBAND:
        path = f"{folder}/{file}"
        if (text := _read(path)) is None:
            continue
        value = _PARSERS[file](text) if file in _PARSERS else parse_counter(text, path)
        if value is not None:
            yield file, value


def _read(path: str) -> str | None:
    """Text of a file; None if it is missing or unreadable. Plain calls, because a port has about 60 files."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(file, _MAX_BYTES).decode(errors="replace").strip()
    except OSError:
        return None
    finally:
        os.close(file)
