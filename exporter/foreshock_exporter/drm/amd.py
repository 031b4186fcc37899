"""State of an AMD GPU from amdgpu's attributes in sysfs (Linux, Documentation/gpu/amdgpu/{driver-misc,thermal}.rst).

`pcie_bw` is not read: the driver waits a second for each answer. Bytes over PCIe are therefore absent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from foreshock_exporter.drm.attributes import Attributes
from foreshock_exporter.drm.gpu_metrics import GpuMetrics, parse_gpu_metrics
from foreshock_exporter.model.device import (
    Clock,
    Counters,
    ErrorType,
    Health,
    MemoryLocation,
    Reading,
    Sensor,
    Throttle,
)

MICRO, MILLI = 1e-6, 1e-3
_TEMPERATURES: Mapping[str, Sensor] = {"temp1_input": "gpu", "temp2_input": "junction", "temp3_input": "memory"}
"""Channels of amdgpu's hwmon: edge, junction, and memory (amdgpu_pm.c, DOC: hwmon)."""
_CLOCKS: Mapping[str, Clock] = {"freq1_input": "sm", "freq2_input": "memory"}
"""Clocks of the compute units (sclk) and of the memory (mclk)."""
_LEVELS: Mapping[str, Clock] = {"pp_dpm_sclk": "sm", "pp_dpm_mclk": "memory"}
_LEVEL = re.compile(r"^\w+: *([0-9]{1,6})Mhz", re.MULTILINE | re.IGNORECASE)
_RAS_BLOCKS: Mapping[str, MemoryLocation] = {
    "umc": "dram",
    **dict.fromkeys(("gfx", "sdma", "mmhub", "athub", "hdp", "vcn", "jpeg", "mca"), "sram"),
}
"""Blocks with counters of errors (amdgpu_ras.c, ras_block_string): the memory controller, and others with memory.

`xgmi_wafl` and `pcie_bif` are left out: they count errors of links, not of a memory.
"""
_ECC_FIELDS = ("ecc_errors", "ecc_location_errors")
_RAS_LINE = re.compile(r"^(ue|ce): *([0-9]{1,20})$", re.MULTILINE)
_ERROR_TYPES: Mapping[str, ErrorType] = {"ce": "corrected", "ue": "uncorrected"}
_GENERATIONS = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}
"""PCIe generation by the speed of a lane in GT/s."""
_AMD = "0x1002"
"""PCI vendor ID of AMD's GPUs and of the switches on their cards, not of AMD's CPUs (1022)."""
_XGMI_BYTES = ("xgmi_transmit_bytes", "xgmi_receive_bytes")
_XGMI_LINKS = ("xgmi_links_up", "xgmi_link_bytes_per_second")
_THERMAL = ("socket_thm", "vr_thm", "hbm_thm")
MAX_SAMPLED_SECONDS = 2.0
"""Longest time for which a throttler that is active now counts as active before."""

_Key = TypeVar("_Key", Sensor, Clock)


def busy_ratio(attributes: Attributes, *fields: str) -> float | None:
    """Share of time, 0 to 1, in which the GPU worked, over a recent period that the firmware chooses."""
    return _ratio(attributes, "gpu_busy_percent", *fields)


def read_state(attributes: Attributes) -> Reading:
    """Current state. Raises DeviceError if the GPU is lost."""
    busy = busy_ratio(attributes, "utilization_ratio")
    memory_busy = _ratio(attributes, "mem_busy_percent", "memory_busy_ratio")
    used = attributes.number("mem_info_vram_used", "memory_used_bytes", "memory_free_bytes")
    total = attributes.number("mem_info_vram_total", "memory_total_bytes", "memory_free_bytes")
    power = attributes.sensor("power1_average", "power_watts", scale=MICRO)
    if power is None:  # newer GPUs have no average
        power = attributes.sensor("power1_input", "power_watts", scale=MICRO)
    temperatures = _sensors(attributes, _TEMPERATURES, "temperature_celsius", MILLI)
    if "gpu" not in temperatures and "junction" in temperatures:  # Instinct MI300 has no sensor at the edge
        temperatures["gpu"] = temperatures["junction"]
    return Reading(
        utilization_ratio=busy,
        memory_busy_ratio=memory_busy,
        memory_used_bytes=used,
        memory_free_bytes=None if used is None or total is None else max(0.0, total - used),
        memory_total_bytes=total,
        power_watts=power,
        power_limit_watts=attributes.sensor("power1_cap", "power_limit_watts", scale=MICRO),
        temperature_celsius=temperatures,
        clock_hertz=_sensors(attributes, _CLOCKS, "clock_hertz", 1.0),
        absent=attributes.absent,
    )


def read_health(attributes: Attributes, known_blocks: set[str]) -> Health:
    """Current health. Raises DeviceError if the GPU is lost.

    Args:
        attributes: those of the GPU.
        known_blocks: blocks that have reported errors so far; updated. If one of them does not, as during a reset, the
            errors are absent: a sum without it would look like counters that started again.
    """
    highest: dict[Clock, float] = {}
    for name, clock in _LEVELS.items():
        if levels := _LEVEL.findall(attributes.text(name, "clock_max_hertz") or ""):
            highest[clock] = max(map(float, levels)) * 1e6
    errors: dict[ErrorType, float] = {}
    by_location: dict[tuple[MemoryLocation, ErrorType], float] = {}
    for block, location in _RAS_BLOCKS.items():
        text = attributes.text(f"ras/{block}_err_count", *_ECC_FIELDS)
        counts = _RAS_LINE.findall(text or "")
        if counts:
            known_blocks.add(block)
        elif text is not None or block in known_blocks:
            attributes.absent.update(dict.fromkeys(_ECC_FIELDS, "driver"))
        for kind, count in counts:
            error_type = _ERROR_TYPES[kind]
            errors[error_type] = errors.get(error_type, 0.0) + float(count)
            by_location[location, error_type] = by_location.get((location, error_type), 0.0) + float(count)
    if "ecc_errors" in attributes.absent:
        errors, by_location = {}, {}
    links = parse_gpu_metrics(attributes.bytes("gpu_metrics", *_XGMI_LINKS) or b"")
    card, port = _link_ends(attributes)
    width, generation = "pcie_link_width", "pcie_link_generation"
    health = Health(
        clock_max_hertz=highest,
        ecc_errors=errors,
        ecc_location_errors=by_location,
        xgmi_links_up=links.xgmi_links_up,
        xgmi_link_bytes_per_second=links.xgmi_link_bytes_per_second,
        pcie_replays=attributes.number("pcie_replay_count", "pcie_replays"),
        pcie_link_width=_width(card, "current_link_width", width),
        pcie_link_width_max=_smaller(
            _width(card, "max_link_width", f"{width}_max"), _width(port, "max_link_width", f"{width}_max")
        ),
        pcie_link_generation=_generation(card, "current_link_speed", generation),
        pcie_link_generation_max=_smaller(
            _generation(card, "max_link_speed", f"{generation}_max"),
            _generation(port, "max_link_speed", f"{generation}_max"),
        ),
    )
    return replace(health, absent={**attributes.absent, **card.absent})


class ThrottleClock:
    """Seconds during which the clocks of one GPU were throttled, as integrals over time.

    From version 1.6 of the metrics on, the firmware counts its cycles, and those in which a throttler was active. Their
    ratio is the share of time (AMD SMI, "GPU violations"). Version 1.3 has only what is active now: a sample.
    """

    def __init__(self) -> None:
        self._before: tuple[float, GpuMetrics] | None = None
        self._seconds: dict[Throttle, float] = {}

    def read(self, attributes: Attributes, now: float) -> Counters:
        """Energy, bytes over XGMI, and throttled seconds since the first call. Raises DeviceError if it is lost."""
        raw = attributes.bytes("gpu_metrics", "energy_joules", "throttled_seconds", *_XGMI_BYTES)
        metrics = GpuMetrics() if raw is None else parse_gpu_metrics(raw)
        before_at, before = self._before or (now, GpuMetrics())
        shares = throttled_shares(before, metrics)
        seconds = max(0.0, now - before_at)
        if metrics.residencies is None:
            seconds = min(seconds, MAX_SAMPLED_SECONDS)
        for reason, share in shares.items():
            self._seconds[reason] = self._seconds.get(reason, 0.0) + share * seconds
        if raw is not None:
            self._before = now, metrics
        return Counters(
            energy_joules=metrics.energy_joules,
            throttled_seconds=dict(self._seconds) if raw is not None else {},
            xgmi_transmit_bytes=metrics.xgmi_write_bytes,
            xgmi_receive_bytes=metrics.xgmi_read_bytes,
            absent=attributes.absent,
        )


def throttled_shares(before: GpuMetrics, now: GpuMetrics) -> dict[Throttle, float]:
    """Share of the time between two readings, 0 to 1, by reason; empty if the GPU does not report any.

    Thermal throttlers overlap, so the largest is a lower bound of their union.
    """
    if now.residencies is not None:
        cycles = now.cycles - before.cycles if now.cycles is not None and before.cycles is not None else 0
        counts_before = before.residencies or {}
        active = {
            name: min(1.0, max(0, count - counts_before.get(name, count)) / cycles) if cycles > 0 else 0.0
            for name, count in now.residencies.items()
        }
        return {
            "power": active.get("ppt", 0.0),
            "thermal": max((active[name] for name in _THERMAL if name in active), default=0.0),
            "hw_thermal": active.get("prochot", 0.0),
        }
    if now.power_throttled is None or now.thermal_throttled is None:
        return {}
    return {"power": float(now.power_throttled), "thermal": float(now.thermal_throttled)}


def _ratio(attributes: Attributes, name: str, *fields: str) -> float | None:
    percent = attributes.number(name, *fields)
    return None if percent is None else percent / 100.0


def _sensors(attributes: Attributes, names: Mapping[str, _Key], field: str, scale: float) -> dict[_Key, float]:
    values = {key: attributes.sensor(name, field, scale=scale) for name, key in names.items()}
    return {key: value for key, value in values.items() if value is not None}


def _width(attributes: Attributes, name: str, field: str) -> int | None:
    """Number of lanes; None for 0, which a suspended link has."""
    lanes = attributes.number(name, field)
    return int(lanes) if lanes else None


def _generation(attributes: Attributes, name: str, field: str) -> int | None:
    """PCIe generation of a speed such as "16.0 GT/s PCIe", or "16 GT/s" before Linux 5.8."""
    speed = (attributes.text(name, field) or "").partition(" ")[0]
    try:
        return _GENERATIONS.get(float(speed))
    except ValueError:
        return None


def _link_ends(attributes: Attributes) -> tuple[Attributes, Attributes]:
    """The two ends of the link between card and slot: the card's, and the port above it.

    Newer cards have a PCIe switch of AMD of their own, whose link to the GPU is always the fastest.
    """
    folder = os.path.realpath(attributes.folder)
    while Attributes(parent := folder.rpartition("/")[0]).text("vendor") == _AMD:
        folder = parent
    return Attributes(folder), Attributes(parent)


def _smaller(first: int | None, second: int | None) -> int | None:
    """The smaller of two values; None without the first. A port of a virtual machine has none."""
    return first if first is None or second is None else min(first, second)
