"""XID errors by number: name, severity, and what to do first.

Source: NVIDIA, Xid Errors, Analyzing Xid Errors with the Xid Catalog (docs.nvidia.com/deploy/xid-errors). Names are its
descriptions, and actions its buckets of immediate actions. The severities are foreshock's: those of alerts and pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Severity = Literal["application", "informational", "hardware", "fatal"]
"""Caused by an application or limited to it; no fault; a fault; a fault that stops all services on the GPU."""
Action = Literal[
    "none",
    "restart the application",
    "reset the GPU",
    "reboot the host",
    "check NVLink",
    "contact support",
    "see the other XID",
]


class XidInfo(NamedTuple):
    """Entry of the catalog."""

    name: str
    severity: Severity
    action: Action


UNLISTED = XidInfo("see NVIDIA's XID catalog", "hardware", "contact support")
"""Any other number."""
_NVLINK5 = ("SAW", "RLW", "TLW", "TREX", "NVLPW_CTRL", "NETIR", "MSE")
"""Units of NVLink 5, which report XIDs 144 to 150."""
CATALOG: Mapping[int, XidInfo] = {
    8: XidInfo("GPU stopped processing", "application", "restart the application"),
    13: XidInfo("Graphics Engine Exception", "application", "restart the application"),
    31: XidInfo("GPU memory page fault", "application", "restart the application"),
    32: XidInfo("Invalid or corrupted push buffer stream", "hardware", "restart the application"),
    43: XidInfo("GPU stopped processing", "application", "none"),
    45: XidInfo("Preemptive cleanup, due to previous errors", "application", "see the other XID"),
    46: XidInfo("GPU stopped processing", "fatal", "reset the GPU"),
    48: XidInfo("Double Bit ECC Error", "fatal", "reset the GPU"),
    61: XidInfo("Internal micro-controller breakpoint/warning", "hardware", "contact support"),
    62: XidInfo("Internal micro-controller halt", "fatal", "reset the GPU"),
    63: XidInfo("ECC page retirement or row remapping recording event", "informational", "none"),
    64: XidInfo("ECC page retirement or row remapper recording failure", "fatal", "reset the GPU"),
    68: XidInfo("NVDEC0 Exception", "application", "restart the application"),
    74: XidInfo("NVLINK Error", "hardware", "check NVLink"),
    79: XidInfo("GPU has fallen off the bus", "fatal", "reboot the host"),
    92: XidInfo("High single-bit ECC error rate", "informational", "none"),
    94: XidInfo("Contained ECC error", "application", "restart the application"),
    95: XidInfo("Uncontained ECC error", "fatal", "reset the GPU"),
    109: XidInfo("Context Switch Timeout Error", "application", "reset the GPU"),
    110: XidInfo("Security Fault Error", "fatal", "reset the GPU"),
    119: XidInfo("GSP RPC Timeout", "fatal", "reset the GPU"),
    120: XidInfo("GSP Error", "fatal", "reset the GPU"),
    121: XidInfo("C2C Error", "hardware", "none"),
    136: XidInfo("Link Training Failed", "hardware", "reset the GPU"),
    137: XidInfo("NVLink Privilege Error", "hardware", "none"),
    140: XidInfo("ECC Unrecovered Error", "fatal", "reset the GPU"),
    143: XidInfo("GPU Initialization Error", "fatal", "reset the GPU"),
    **{144 + at: XidInfo(f"NVLINK: {unit} Error", "hardware", "check NVLink") for at, unit in enumerate(_NVLINK5)},
    154: XidInfo("GPU Recovery Action Changed", "hardware", "see the other XID"),
    155: XidInfo("NVLINK: SW Defined Error", "hardware", "reset the GPU"),
    156: XidInfo("Resource Retirement Event", "hardware", "reset the GPU"),
    157: XidInfo("Resource Retirement Failure", "hardware", "contact support"),
    158: XidInfo("GPU Fatal Timeout", "hardware", "reset the GPU"),
}


def xid_info(xid: int) -> XidInfo:
    """Entry of an XID."""
    return CATALOG.get(xid, UNLISTED)


def xids_of(severity: Severity) -> frozenset[int]:
    """XIDs of a severity, in the catalog."""
    return frozenset(xid for xid, info in CATALOG.items() if info.severity == severity)
