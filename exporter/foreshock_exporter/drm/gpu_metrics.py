"""Parser of amdgpu's binary `gpu_metrics`. Pure.

Layouts are those of drivers/gpu/drm/amd/include/kgd_pp_interface.h (Linux 5.9 to 6.18): a header of 4 bytes with size,
format revision, and content revision, then naturally aligned little-endian fields. A field of ones is not supported.
Only versions are read of which that header file documents the fields.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace

_HEADER = struct.Struct("<HBB")
_DISCRETE, _APU = 1, (2, 3)
"""Format revisions."""
JOULES_PER_UNIT = 2.0**-16
"""Unit of the energy accumulator, 15.259 µJ: a comment of the versions from 1.4 on; of 1.1 to 1.3, amdsmi.h."""
_ENERGY_AT = {1: 24, 2: 24, 3: 24, 4: 24, 5: 88, 6: 16, 7: 24, 8: 24}
"""Offset of the 64-bit energy accumulator by content revision."""
_THROTTLE_BITS_AT = {3: 112}
"""Offset of the 64-bit `indep_throttle_status`, whose bits are amdgpu_smu.h's SMU_THROTTLER_…_BIT."""
_RESIDENCIES_AT = {6: 32, 7: 40, 8: 40}
"""Offset of `accumulation_counter`, which the residencies of five throttlers follow, each with 32 bits."""
_XGMI_WIDTH_AT = {4: 52, 5: 116, 6: 64, 7: 72, 8: 72}
"""Offset of `xgmi_link_width` in lanes, which `xgmi_link_speed` in Gb/s and lane follows, each with 16 bits."""
_XGMI_READ_AT = {4: 104, 5: 176, 6: 128, 7: 136, 8: 136}
"""Offset of `xgmi_read_data_acc` and, after it, `xgmi_write_data_acc`: kilobytes of each link with 64 bits."""
_XGMI_STATUS_AT = {7: 264, 8: 264}
"""Offset of `xgmi_link_status`, with 16 bits for each link: 1 if it is active."""
XGMI_LINKS = 8
_KILO, _BITS_PER_SECOND = 1e3, 1e9
_SIZES = {6: 1664}
"""Size of a version that an earlier kernel had with another layout (reverted)."""
_THROTTLERS = ("prochot", "ppt", "socket_thm", "vr_thm", "hbm_thm")
_POWER_BITS, _THERMAL_BITS = 0x0000_0000_FFFF_FFFF, 0x0000_FFFF_0000_0000
"""Throttlers of power (0 to 15) and current (16 to 31), and of temperatures (32 to 47)."""


@dataclass(frozen=True, slots=True)
class GpuMetrics:
    """Fields of one version; None if the version or the GPU lacks them.

    cycles: number of the firmware's accumulation cycles. residencies: cycles in which a throttler was active.
    power_throttled, thermal_throttled: whether such a throttler is active now. xgmi_read_bytes, xgmi_write_bytes: sums
    over all links. xgmi_links_up: number of active links. xgmi_link_bytes_per_second: speed of one link.
    """

    energy_joules: float | None = None
    cycles: int | None = None
    residencies: Mapping[str, int] | None = None
    power_throttled: bool | None = None
    thermal_throttled: bool | None = None
    xgmi_read_bytes: float | None = None
    xgmi_write_bytes: float | None = None
    xgmi_links_up: int | None = None
    xgmi_link_bytes_per_second: float | None = None


def is_of_apu(raw: bytes) -> bool:
    """Whether the metrics are those of a GPU within a CPU (`gpu_metrics_v2_…`, `gpu_metrics_v3_…`)."""
    return len(raw) >= _HEADER.size and _HEADER.unpack_from(raw)[1] in _APU


def parse_gpu_metrics(raw: bytes) -> GpuMetrics:
    """Fields of the metrics; without any if the version is unknown or the table is cut."""
    if len(raw) < _HEADER.size:
        return GpuMetrics()
    size, revision, content = _HEADER.unpack_from(raw)
    if revision != _DISCRETE or size > len(raw) or _SIZES.get(content, size) != size:
        return GpuMetrics()
    table = raw[:size]
    energy = _unsigned(table, _ENERGY_AT.get(content), 8)
    bits = _unsigned(table, _THROTTLE_BITS_AT.get(content), 8)
    start = _RESIDENCIES_AT.get(content)
    cycles = _unsigned(table, start, 4)
    residencies = {
        name: value
        for number, name in enumerate(_THROTTLERS, 1)
        if start is not None and (value := _unsigned(table, start + 4 * number, 4)) is not None
    }
    metrics = GpuMetrics(
        energy_joules=None if energy is None else energy * JOULES_PER_UNIT,
        cycles=cycles if residencies else None,
        residencies=residencies if residencies and cycles is not None else None,
        power_throttled=None if bits is None else bool(bits & _POWER_BITS),
        thermal_throttled=None if bits is None else bool(bits & _THERMAL_BITS),
    )
    return _with_xgmi(metrics, table, content)


def _with_xgmi(metrics: GpuMetrics, table: bytes, content: int) -> GpuMetrics:
    """Metrics with the fields of the links. A GPU without links has no width; its data of links is left out."""
    width = _unsigned(table, at := _XGMI_WIDTH_AT.get(content), 2)
    if at is None or not width:
        return metrics
    gigabits = _unsigned(table, at + 2, 2)
    read, write = (
        [_unsigned(table, _XGMI_READ_AT[content] + 8 * (link + first), 8) for link in range(XGMI_LINKS)]
        for first in (0, XGMI_LINKS)
    )
    start = _XGMI_STATUS_AT.get(content)
    states = [_unsigned(table, start + 2 * link, 2) for link in range(XGMI_LINKS)] if start is not None else []
    return replace(
        metrics,
        xgmi_read_bytes=_total_bytes(read),
        xgmi_write_bytes=_total_bytes(write),
        xgmi_links_up=sum(state == 1 for state in states) if any(state is not None for state in states) else None,
        xgmi_link_bytes_per_second=width * gigabits * _BITS_PER_SECOND / 8.0 if gigabits else None,
    )


def _total_bytes(kilobytes: list[int | None]) -> float | None:
    """Sum over the links that exist; None without any."""
    known = [value for value in kilobytes if value is not None]
    return sum(known) * _KILO if known else None


def _unsigned(table: bytes, offset: int | None, size: int) -> int | None:
    """Little-endian number at an offset; None past the end and for a field of ones."""
    if offset is None or offset + size > len(table):
        return None
    value = int.from_bytes(table[offset : offset + size], "little")
    return None if value == (1 << 8 * size) - 1 else value
