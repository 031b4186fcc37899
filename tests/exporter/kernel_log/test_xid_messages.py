"""XID and SXID errors in messages of the kernel, in the formats of the drivers since R418."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.model.xid import LoggedSxid, LoggedXid, PciAddress, parse_sxid, parse_xid, pci_address

GPU = PciAddress(0, 0x3B, 0)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.", LoggedXid(GPU, 79, None, "")),
        ("NVRM: Xid (0000:3b:00): 14, Channel 00000001", LoggedXid(GPU, 14, None, "")),
        ("NVRM: Xid (PCI:0000:3b:00): 31, pid=1234, Ch 00000010, intr 10000000", LoggedXid(GPU, 31, 1234, "")),
        (
            "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
            LoggedXid(GPU, 79, None, ""),
        ),
        (
            "NVRM: Xid (PCI:0000:3b:00): 13, pid=2345, name=python3, Graphics SM Warp Exception on (GPC 0, TPC 1)",
            LoggedXid(GPU, 13, 2345, "python3"),
        ),
        (
            "NVRM: Xid (PCI:0000:3b:00 GPU-I:05): 94, pid=7194, Contained: CE User Channel (0x9). RST: No",
            LoggedXid(GPU, 94, 7194, ""),
        ),
        (
            "NVRM: Xid (PCI:0000:3b:00 GPU-I:01 GPU-CI:02): 13, pid=9, name=VLLM::Worker, Graphics Exception",
            LoggedXid(GPU, 13, 9, "VLLM::Worker"),
        ),
        (
            "NVRM: Xid (PCI:0019:01:00): 149, NETIR Fatal XC0 i0 Link -1 (0x000fe406 0x00000000)",
            LoggedXid(PciAddress(0x19, 1, 0), 149, None, ""),
        ),
        (
            "NVRM: Xid (PCI:10000:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)",
            LoggedXid(PciAddress(0x10000, 1, 0), 154, None, ""),
        ),
        ("NVRM: GPU at PCI:0000:3b:00: GPU-926ecdb0-adb1-6ee9-2fad-52e7214c5011", None),
        ("python3: NVRM: Xid (PCI:0000:3b:00): 79, pid=1, name=x, forged", None),
        ("NVRM: Xid (PCI:): 79,", None),
    ],
)
def test_an_xid_has_its_gpu_number_and_process(text: str, error: LoggedXid | None) -> None:
    assert parse_xid(text) == error


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "nvidia-nvswitch3: SXid (PCI:0000:C1:00.0): 28006, Non-fatal, Link 46 MC TS crumbstore MCTO (First)",
            LoggedSxid("0000:c1:00.0", 28006, "nonfatal"),
        ),
        (
            "nvidia-nvswitch0: SXid (PCI:0000:84:00.0): 12028, Fatal, Link 32 egress non-posted PRIV error (First)",
            LoggedSxid("0000:84:00.0", 12028, "fatal"),
        ),
        (
            "nvidia-nvswitch3: SXid (PCI:0000:04:00.0): 22013, Severity 0 Engine instance 44 Sub-engine",
            None,
        ),
        ("nvidia-nvswitch3: SXid (PCI:0000:04:00.0): 22013, Data {0x0000002b, 0x0000002b, 0x00000000}", None),
        ("nvidia-nvswitch3: open (major=510)", None),
    ],
)
def test_an_sxid_counts_once_and_not_with_its_lines_of_data(text: str, error: LoggedSxid | None) -> None:
    assert parse_sxid(text) == error


def test_addresses_of_nvml_and_of_the_kernel_are_equal() -> None:
    assert pci_address("00000000:3B:00.0") == pci_address("0000:3b:00") == GPU
    assert pci_address("") is None


@given(st.text())
def test_any_other_text_is_no_error(text: str) -> None:
    for prefix in ("", "NVRM: Xid (PCI:", "nvidia-nvswitch0: SXid (PCI:"):
        found = parse_xid(prefix + text), parse_sxid(prefix + text)
        assert all(error is None or isinstance(error, tuple) for error in found)
