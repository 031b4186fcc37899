"""Number of NVIDIA GPUs on the PCI bus, whether or not their driver works."""

from __future__ import annotations

import os
from pathlib import Path

from foreshock_exporter.host.network import read_text

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
