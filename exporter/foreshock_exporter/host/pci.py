"""NVIDIA GPUs on the PCI bus, whether or not their driver works: their number, and their PCIe errors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast, get_args

from foreshock_exporter.host.network import read_text
from foreshock_exporter.model.device import AerErrorType
from foreshock_exporter.model.xid import pci_address

_NVIDIA_VENDOR = "0x10de"
_GPU_CLASSES = ("0x0300", "0x0302")
"""VGA-compatible and 3D controllers (PCI Code and ID Assignment Specification, class 03h)."""
_PASSTHROUGH_DRIVERS = frozenset({"vfio-pci", "pci-stub", "pciback"})
"""Drivers that assign a device to a virtual machine, out of reach for the host's NVML."""


def nvidia_gpus(sysfs: Path) -> int | None:
    """Number of NVIDIA display and 3D controllers; None if `sysfs` has no PCI bus.

    Virtual functions (NVML lists the physical one) and devices assigned to a virtual machine do not count.
    """
    folder = sysfs / "bus" / "pci" / "devices"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names only
    except OSError:
        return None
    return sum(_is_gpu(folder / name) for name in names)


def aer_errors(sysfs: Path, pci_bus_id: str) -> Mapping[AerErrorType, float]:
    """Errors by `error_type` that a device reported by PCIe Advanced Error Reporting (AER) since boot.

    The files aer_dev_* have a line for each kind of error and one for the total (Linux, Documentation/ABI/testing/
    sysfs-bus-pci-devices-aer_stats). They are missing without AER, as in most virtual machines.
    """
    address = pci_address(pci_bus_id)
    if address is None:
        return {}
    folder = sysfs / "bus" / "pci" / "devices" / "{:04x}:{:02x}:{:02x}.0".format(*address)
    totals: dict[AerErrorType, float] = {}
    for error_type in cast("tuple[AerErrorType, ...]", get_args(AerErrorType)):
        for line in (read_text(folder / f"aer_dev_{error_type}") or "").splitlines():
            name, _, count = line.partition(" ")
            if name.startswith("TOTAL_ERR_") and count.strip().isdecimal():
                totals[error_type] = float(count)
    return totals


def _is_gpu(device: Path) -> bool:
    return (
        _attribute(device / "vendor") == _NVIDIA_VENDOR
        and _attribute(device / "class").startswith(_GPU_CLASSES)
        and not (device / "physfn").is_symlink()
        and _driver(device) not in _PASSTHROUGH_DRIVERS
    )


def _driver(device: Path) -> str:
    try:
        return (device / "driver").readlink().name
    except OSError:
        return ""


def _attribute(path: Path) -> str:
    return (read_text(path) or "").lower()
