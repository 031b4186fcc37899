"""GPUs on the PCI bus, on file trees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

from foreshock_exporter.host.pci import aer_errors, nvidia_gpus

if TYPE_CHECKING:
    from tests.exporter.conftest import Tree

NVIDIA, AMD = "0x10de", "0x1002"


def device(address: str, vendor: str, kind: str) -> Mapping[str, str]:
    folder = f"bus/pci/devices/{address}"
    return {f"{folder}/vendor": f"{vendor}\n", f"{folder}/class": f"{kind}\n"}


@pytest.mark.parametrize(
    ("case", "vendor", "kind", "links", "count"),
    [
        ("a 3D controller, as data centre cards are", NVIDIA, "0x030200", {}, 1),
        ("a VGA controller, as workstation cards are", NVIDIA, "0x030000", {}, 1),
        ("the sound of a card", NVIDIA, "0x040300", {}, 0),
        ("an NVSwitch", NVIDIA, "0x068000", {}, 0),
        ("a card of another vendor", AMD, "0x030200", {}, 0),
        ("a virtual function", NVIDIA, "0x030200", {"physfn": "../0000:17:00.0"}, 0),
        ("a card given to a virtual machine", NVIDIA, "0x030200", {"driver": "../../drivers/vfio-pci"}, 0),
        ("a card with its driver", NVIDIA, "0x030200", {"driver": "../../drivers/nvidia"}, 1),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_gpus_of_the_host_are_counted(
    case: str, vendor: str, kind: str, links: Mapping[str, str], count: int, tree: Tree
) -> None:
    root = tree(device("0000:17:00.0", vendor, kind))
    for name, target in links.items():
        (root / "bus/pci/devices/0000:17:00.0" / name).symlink_to(target)
    assert nvidia_gpus(root) == count, case


def test_every_card_counts_once_and_an_unreadable_device_not_at_all(tree: Tree) -> None:
    root = tree({
        **device("0000:17:00.0", NVIDIA, "0x030200"), **device("0000:18:00.0", NVIDIA, "0x030200"),
        "bus/pci/devices/0000:19:00.0/vendor": f"{NVIDIA}\n",
    })  # fmt: skip
    assert nvidia_gpus(root) == 2


def test_a_host_without_a_pci_bus_does_not_know(tree: Tree) -> None:
    assert nvidia_gpus(tree({"class/net/lo/operstate": ""})) is None


def test_pcie_errors_are_the_totals_of_the_device(tree: Tree) -> None:
    """As the kernel writes them: a line for each kind, and the total. An error type without its file is absent."""
    folder = "bus/pci/devices/0000:3b:00.0"
    root = tree(
        {
            f"{folder}/aer_dev_correctable": "RxErr 2\nBadTLP 3\nBadDLLP 0\nTOTAL_ERR_COR 5\n",
            f"{folder}/aer_dev_nonfatal": "Undefined 0\nTOTAL_ERR_NONFATAL 0\n",
            f"{folder}/aer_dev_fatal": "garbage\nTOTAL_ERR_FATAL x\n",
        }
    )
    assert aer_errors(root, "00000000:3B:00.0") == {"correctable": 5.0, "nonfatal": 0.0}
    assert aer_errors(root, "00000000:AF:00.0") == {}
    assert aer_errors(root, "") == {}
