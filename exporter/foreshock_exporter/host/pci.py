"""How many NVIDIA GPUs are in the slots of this host, whether or not their driver answers."""

from __future__ import annotations

import os
from pathlib import Path

_VENDOR = "0x10de"
_CLASSES = ("0x0300", "0x0302")
"""VGA-compatible and 3D controllers (PCI Code and ID Assignment Specification, class 03h)."""
_GIVEN_AWAY = frozenset({"vfio-pci", "pci-stub", "pciback"})
"""Drivers that hold a device for a virtual machine: the host's NVML never sees it."""


def nvidia_gpus(sysfs: Path) -> int | None:
    """NVIDIA display and 3D controllers on the PCI bus; None where `sysfs` shows no PCI bus.

    Virtual functions are not counted (NVML knows the physical one), nor devices given to a virtual machine.
    """
    folder = sysfs / "bus" / "pci" / "devices"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names only
    except OSError:
        return None
    return sum(_is_gpu(folder / name) for name in names)


def _is_gpu(device: Path) -> bool:
    return (
        _first_line(device / "vendor") == _VENDOR
        and _first_line(device / "class").startswith(_CLASSES)
        and not (device / "physfn").is_symlink()
        and _driver(device) not in _GIVEN_AWAY
    )


def _driver(device: Path) -> str:
    try:
        return (device / "driver").readlink().name
    except OSError:
        return ""


def _first_line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip().lower()
    except OSError:
        return ""
