"""Parser of amdgpu's binary `gpu_metrics`. Pure.

Layouts are those of drivers/gpu/drm/amd/include/kgd_pp_interface.h (Linux 5.9 to 6.18): a header of 4 bytes with size,
format revision, and content revision, then naturally aligned little-endian fields. A field of ones is not supported.
Only versions are read of which that header file documents the fields.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

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
_SIZES = {6: 1664}
"""Size of a version that an earlier kernel had with another layout (reverted)."""
_THROTTLERS = ("prochot", "ppt", "socket_thm", "vr_thm", "hbm_thm")
_POWER_BITS, _THERMAL_BITS = 0x0000_0000_FFFF_FFFF, 0x0000_FFFF_0000_0000
"""Throttlers of power (0 to 15) and current (16 to 31), and of temperatures (32 to 47)."""


@dataclass(frozen=True, slots=True)
class GpuMetrics:
    """Fields of one version; None if the version or the GPU lacks them.

    cycles: number of the firmware's accumulation cycles. residencies: cycles in which a throttler was active.
    power_throttled, thermal_throttled: whether such a throttler is active now.
    """

    energy_joules: float | None = None
    cycles: int | None = None
    residencies: Mapping[str, int] | None = None
    power_throttled: bool | None = None
    thermal_throttled: bool | None = None


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
    return GpuMetrics(
        energy_joules=None if energy is None else energy * JOULES_PER_UNIT,
        cycles=cycles if residencies else None,
        residencies=residencies if residencies and cycles is not None else None,
        power_throttled=None if bits is None else bool(bits & _POWER_BITS),
        thermal_throttled=None if bits is None else bool(bits & _THERMAL_BITS),
    )


def _unsigned(table: bytes, offset: int | None, size: int) -> int | None:
    """Little-endian number at an offset; None past the end and for a field of ones."""
    if offset is None or offset + size > len(table):
        return None
    value = int.from_bytes(table[offset : offset + size], "little")
    return None if value == (1 << 8 * size) - 1 else value
