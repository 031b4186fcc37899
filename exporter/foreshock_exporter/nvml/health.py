"""What tells a sick GPU from a busy one: memory errors, links, and clocks below what they could be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast, get_args

from foreshock_exporter.model.device import Health, LinkError, Severity
from foreshock_exporter.nvml.counters import (
    absent_fields,
    count_links_up,
    link_count,
    per_link_source,
    total_or_per_link_sources,
)
from foreshock_exporter.nvml.device_query import DeviceQuery
from foreshock_exporter.nvml.fields import FieldSource, FieldValue, Quantities
from foreshock_exporter.nvml.state import clocks

_LINK_ERRORS: Mapping[LinkError, tuple[int, ...]] = {"crc": (163, 208), "replay": (161,), "recovery": (162, 215)}
"""Fields up to Hopper, and what NVLink 5 has in their place: packets received with errors, recoveries of the link
whatever their result. Blocks that its physical layer sends again (field 295) are everyday, and no errors."""


def read_health(asked: DeviceQuery) -> Health:
    """The health now; what the device lacks is None or missing. Raises DeviceError where it is lost."""
    links = link_count(asked)
    said = {**asked.fields("health", _wanted(links))}
    if not isinstance(said.get("pcie_replays"), FieldValue):
        replays = asked.may("nvmlDeviceGetPcieReplayCounter", of=("pcie_replays",))
        said |= {} if replays is None else {"pcie_replays": FieldValue(float(replays), 2.0**32)}
    rows = (
        asked.may("nvmlDeviceGetRemappedRows", of=("remapped_rows", "row_remap_pending", "row_remap_failed"))
        or (None,) * 4
    )
    measured = {name: value.value for name, value in said.items() if isinstance(value, FieldValue)}
    return Health(
        clock_max_hertz=clocks(asked, "nvmlDeviceGetMaxClockInfo", "clock_max_hertz"),
        ecc_errors=_ecc(asked),
        remapped_rows=_present(dict(zip(_severities(), rows[:2], strict=True))),
        row_remap_pending=None if rows[2] is None else bool(rows[2]),
        row_remap_failed=None if rows[3] is None else bool(rows[3]),
        nvlink_errors={kind: measured[name] for kind in _LINK_ERRORS if (name := f"nvlink_errors/{kind}") in measured},
        nvlink_links=links or None,
        nvlink_links_up=count_links_up(asked, links),
        pcie_replays=measured.get("pcie_replays"),
        pcie_link_width=asked.may("nvmlDeviceGetCurrPcieLinkWidth", of=("pcie_link_width",)),
        pcie_link_width_max=asked.may("nvmlDeviceGetMaxPcieLinkWidth", of=("pcie_link_width_max",)),
        pcie_link_generation=asked.may("nvmlDeviceGetCurrPcieLinkGeneration", of=("pcie_link_generation",)),
        pcie_link_generation_max=asked.may("nvmlDeviceGetMaxPcieLinkGeneration", of=("pcie_link_generation_max",)),
        absent={**asked.absent, **absent_fields(said)},
    )


def _wanted(links: int) -> Quantities:
    wanted: dict[str, tuple[FieldSource, ...]] = {"pcie_replays": (FieldSource(94),)}
    for kind, (field, *later) in _LINK_ERRORS.items() if links else ():
        instead = [source for each in later for source in total_or_per_link_sources(each, links)]
        wanted[f"nvlink_errors/{kind}"] = (*per_link_source(field, links), *instead)
    return wanted


def _ecc(asked: DeviceQuery) -> dict[Severity, float]:
    """Errors of all memories since the driver was loaded."""
    nvml = asked.library.nvml
    kinds = (nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED)
    counts = [
        asked.may("nvmlDeviceGetTotalEccErrors", kind, nvml.NVML_VOLATILE_ECC, of=("ecc_errors",)) for kind in kinds
    ]
    return _present(dict(zip(_severities(), counts, strict=True)))


def _severities() -> tuple[Severity, ...]:
    return cast("tuple[Severity, ...]", get_args(Severity))


def _present(counts: Mapping[Severity, int | None]) -> dict[Severity, float]:
    return {severity: float(count) for severity, count in counts.items() if count is not None}
