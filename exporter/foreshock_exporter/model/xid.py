"""XID errors of GPUs and SXID errors of NVSwitches in messages of the kernel. Pure.

Formats: open-gpu-kernel-modules, src/nvidia/src/kernel/gpu/rc/kernel_rc.c (R515 to R595), with the process where it is
known, and GPU and compute instance under MIG. Earlier drivers print no name, or no process at all.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class KernelMessage(NamedTuple):
    """Message of the kernel, with the seconds since boot."""

    time: float
    text: str


class PciAddress(NamedTuple):
    """Domain, bus, and device, without the function, which the driver does not print."""

    domain: int
    bus: int
    device: int


class LoggedXid(NamedTuple):
    """XID error of the GPU at a PCI address. `pid` is None, and `process` empty, if the driver did not know them."""

    address: PciAddress
    xid: int
    pid: int | None
    process: str


class LoggedSxid(NamedTuple):
    """SXID error of the NVSwitch at a PCI address (text as printed). `error_type` is fatal or nonfatal."""

    pci_bus_id: str
    sxid: int
    error_type: str


_ADDRESS = re.compile(r"([0-9a-f]+):([0-9a-f]+):([0-9a-f]+)", re.IGNORECASE)
_XID = re.compile(
    r"NVRM: Xid \((?:PCI:)?(?P<address>[0-9a-f:]+)[^)]*\): (?P<xid>\d+)"
    r"(?:, pid='?(?P<pid>\d+)'?(?:, name=(?P<name>[^,]*),)?)?",
    re.IGNORECASE,
)
_SXID = re.compile(
    r"nvidia-nvswitch\d+: SXid \(PCI:(?P<address>[0-9a-f:.]+)\): (?P<sxid>\d+), (?P<type>Fatal|Non-fatal)\b",
    re.IGNORECASE,
)
"""The line of an error that has its severity; other lines of the same error have its data."""


def pci_address(text: str) -> PciAddress | None:
    """Address in text such as 00000000:3B:00.0 (NVML) or 0000:3b:00 (kernel); None if it is malformed."""
    match = _ADDRESS.match(text)
    return PciAddress(*(int(part, 16) for part in match.groups())) if match else None


def parse_xid(text: str) -> LoggedXid | None:
    """XID error in a message of the kernel; None for any other message."""
    match = _XID.match(text)
    address = pci_address(match["address"]) if match else None
    if match is None or address is None:
        return None
    return LoggedXid(address, int(match["xid"]), int(match["pid"]) if match["pid"] else None, match["name"] or "")


def parse_sxid(text: str) -> LoggedSxid | None:
    """SXID error in a message of the kernel; None for any other message."""
    match = _SXID.match(text)
    if not match:
        return None
    return LoggedSxid(match["address"].lower(), int(match["sxid"]), match["type"].lower().replace("-", ""))
