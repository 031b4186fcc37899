"""Graphics cards of the host with a driver of AMD or Intel."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from foreshock_exporter.drm.attributes import read_bytes, read_text
from foreshock_exporter.drm.gpu_metrics import is_of_apu
from foreshock_exporter.model.device import DeviceError

Vendor = Literal["AMD", "Intel"]
_VENDORS: Mapping[str, Vendor] = {"amdgpu": "AMD", "i915": "Intel", "xe": "Intel"}
"""Vendor by kernel driver. NVIDIA's cards have the drivers nvidia and nouveau."""
_CARD = re.compile(r"card[0-9]+")
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


class Card(NamedTuple):
    """Card at a PCI address such as 0000:c1:00.0. `folder` has its attributes; `device_id` is 74a1 of 1002:74a1."""

    address: str
    vendor: Vendor
    driver: str
    device_id: str
    folder: str


def list_cards(sysfs: Path) -> dict[str, Card]:
    """Cards by PCI address, in the order of addresses. Cards without a PCI device are left out.

    `uevent` of a device names its driver, device ID, and address (Linux, drivers/pci/pci-driver.c, pci_uevent).
    """
    folder = f"{sysfs}/class/drm"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names only, once a second
    except OSError:
        return {}
    cards = {}
    for name in filter(_CARD.fullmatch, names):
        try:
            lines = read_text(f"{folder}/{name}/device/uevent").splitlines()
        except DeviceError:
            continue
        facts = dict(line.split("=", 1) for line in lines if "=" in line)
        address, driver = facts.get("PCI_SLOT_NAME", "").lower(), facts.get("DRIVER", "")
        if driver in _VENDORS and _ADDRESS.fullmatch(address):
            device_id = facts.get("PCI_ID", "").partition(":")[2].lower()
            cards[address] = Card(address, _VENDORS[driver], driver, device_id, f"{folder}/{name}/device")
    return dict(sorted(cards.items()))


def is_suspended(card: Card) -> bool:
    """Whether the kernel has suspended the GPU. False if unknown."""
    try:
        return read_text(f"{card.folder}/power/runtime_status") == "suspended"
    except DeviceError:
        return False


def address_of(sysfs: Path, name: str) -> str | None:
    """PCI address of the device with a DRM device file such as renderD128; None if the kernel has none."""
    try:
        lines = read_text(f"{sysfs}/class/drm/{name}/device/uevent").splitlines()
    except DeviceError:
        return None
    return next((line.partition("=")[2].lower() for line in lines if line.startswith("PCI_SLOT_NAME=")), None)


def is_integrated(card: Card) -> bool:
    """Whether the GPU is part of a CPU. Intel's are on PCI bus 0; AMD's have metrics of an APU. False if unknown.

    The metrics of a suspended GPU are not read, which could resume it: amdgpu suspends only discrete ones.
    """
    if card.vendor == "Intel":
        return card.address.split(":")[-2] == "00"
    try:
        return not is_suspended(card) and is_of_apu(read_bytes(f"{card.folder}/gpu_metrics"))
    except DeviceError:
        return False
