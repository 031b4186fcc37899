"""Field values of a scripted GPU (NVML_FI_DEV_… of nvml.h) in NVML's units and types. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, get_args

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
from tests.nvml import layout
from tests.nvml.dialect import Dialect
from tests.nvml.scripted import ScriptedGpu

from foreshock_exporter.model.device import (
    ErrorType,
    LinkBytes,
    LinkError,
    MemoryLocation,
    NewLinkError,
    RecoveryAction,
    Throttle,
)

ALL_LINKS = 0xFFFFFFFF
"""The scope of a sum over all links."""
THROTTLES: Mapping[int, Throttle] = {
    74: "power",
    75: "thermal",
    76: "sync_boost",
    77: "board_limit",
    78: "low_utilization",
    79: "reliability",
}
"""Throttled time, ns, by field."""
LATE_THROTTLES: tuple[Throttle, ...] = ("thermal", "hw_thermal", "power_brake")
RELEASES: Mapping[tuple[int, ...], tuple[int, ...]] = {
    (570, 172): (),
    (575, 51): (251, 252, 253),
    (580, 65): (251, 252, 253),
    (580, 82): (269, 270, 271),
    (580, 126): (269, 270, 271),
    (590, 48): (269, 270, 271),
}
"""Fields of `LATE_THROTTLES` by the driver of a release of nvidia-ml-py: its NVML_FI_DEV_CLOCKS_EVENT_REASON_
SW_THERM_SLOWDOWN, HW_THERM_SLOWDOWN, and HW_POWER_BRAKE_SLOWDOWN.
"""
C2C_ERRORS: Mapping[int, LinkError | NewLinkError] = {231: "crc", 232: "replay", 233: "replay_repeated"}
NO_BIT_ERRORS = 15 << 8 | 254
"""15e-254, which the driver answers for a link without errors."""
POWER_SMOOTHING = 40
"""Value of those of the fields that mean power smoothing in a release."""
ECC: Mapping[int, ErrorType] = {3: "corrected", 4: "uncorrected", 5: "corrected", 6: "uncorrected"}
"""Errors by field: since the driver was loaded, and ever."""
RETIRED_PAGES: Mapping[int, ErrorType] = {29: "corrected", 30: "uncorrected"}
ECC_LOCATIONS: Mapping[int, tuple[MemoryLocation, ErrorType]] = {
    7: ("l1", "corrected"),
    8: ("l1", "uncorrected"),
    9: ("l2", "corrected"),
    10: ("l2", "uncorrected"),
    11: ("dram", "corrected"),
    12: ("dram", "uncorrected"),
    13: ("register_file", "corrected"),
    14: ("register_file", "uncorrected"),
    15: ("texture", "corrected"),
    16: ("texture", "uncorrected"),
    17: ("cbu", "uncorrected"),
}
"""Errors since the driver was loaded, by field."""
LINK_ERRORS: Mapping[str, Mapping[int, LinkError | NewLinkError]] = {
    "kib": {161: "replay", 162: "recovery", 163: "crc"},
    "bytes": {
        295: "replay",
        215: "recovery",
        208: "crc",
        214: "recovery_failed",
        207: "overrun",
        211: "integrity",
        212: "discard",
        219: "effective",
        221: "symbol",
    },
}
"""By dialect and field; from Blackwell on the first three are not supported (nvml.h)."""


class FieldValue(NamedTuple):
    """Field with its scope (link, or 0), and its value in NVML's unit and type."""

    id: int
    scope: int
    value: float | None
    type: int = pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG


def pack_fields(to: layout.Gpu, gpu: ScriptedGpu, dialect: Dialect) -> None:
    """Write the fields that the GPU has. Raises ValueError where there are too many."""
    known = sorted(f for f in _fields(gpu, dialect) if f.value is not None and f.id not in dialect.no_fields)
    if len(known) > layout.MAX_FIELDS:
        raise ValueError(f"{len(known)} field values; the library has room for {layout.MAX_FIELDS}")
    to.fields.count = len(known)
    for packed, (id_, scope, value, type_) in zip(to.fields.at, known, strict=False):
        packed.id, packed.scope, packed.type = id_, scope, type_
        packed.bits = round(value or 0) % 2 ** (32 if type_ == pynvml.NVML_VALUE_TYPE_UNSIGNED_INT else 64)


def _fields(gpu: ScriptedGpu, dialect: Dialect) -> Iterator[FieldValue]:
    """All fields of nvml.h (NVML_FI_DEV_…) that the script can say; those that are None are not supported."""
    yield from _plain_fields(gpu, dialect)
    yield from _link_bytes(gpu, dialect)
    yield from _link_errors(gpu, dialect)
    yield from _link_speeds(gpu, dialect)
    yield from _features(gpu)


def _plain_fields(gpu: ScriptedGpu, dialect: Dialect) -> Iterator[FieldValue]:
    uint = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
    wide = pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
    health, counters, reading = gpu.health, gpu.counters, gpu.reading
    for id_, error_type in ECC.items():
        yield FieldValue(id_, 0, health.ecc_errors.get(error_type))
    for id_, place in ECC_LOCATIONS.items():
        yield FieldValue(id_, 0, health.ecc_location_errors.get(place))
    for id_, error_type in RETIRED_PAGES.items():
        yield FieldValue(id_, 0, health.retired_pages.get(error_type), uint)
    yield FieldValue(31, 0, health.page_retirement_pending, uint)
    actions = get_args(RecoveryAction)
    yield FieldValue(230, 0, next((actions.index(action) for action in health.recovery_action), None), uint)
    for id_, reason in THROTTLES.items():
        yield FieldValue(id_, 0, _times(counters.throttled_seconds.get(reason), 1e9))
    yield from _late_throttles(gpu)
    yield FieldValue(82, 0, reading.temperature_celsius.get("memory", 0.0), uint)
    yield FieldValue(83, 0, _times(counters.energy_joules, 1e3))
    yield FieldValue(91, 0, health.nvlink_links, uint)
    yield FieldValue(94, 0, health.pcie_replays, uint)
    if gpu.identity.sharing != "mig":
        for id_, rows in zip((142, 143, 144, 145), remapped(gpu), strict=True):
            yield FieldValue(id_, 0, rows, uint)
    yield FieldValue(185, 0, _times(reading.power_watts, 1e3), uint)
    yield FieldValue(186, 0, _times(reading.power_watts, 1e3), uint)
    yield FieldValue(190, 0, _times(reading.power_limit_watts, 1e3), uint)
    yield FieldValue(197, 0, counters.pcie_transmit_bytes, uint if dialect.pcie_bits == 32 else wide)
    yield FieldValue(198, 0, counters.pcie_receive_bytes, uint if dialect.pcie_bits == 32 else wide)


def _late_throttles(gpu: ScriptedGpu) -> Iterator[FieldValue]:
    """Those of the last release up to the driver's; without one, none."""
    version = tuple(map(int, gpu.identity.driver_version.split(".")))
    release = max((known for known in RELEASES if known <= version), default=None)
    late = dict(zip(RELEASES[release], LATE_THROTTLES, strict=False)) if release else {}
    for id_ in {id_ for ids in RELEASES.values() for id_ in ids} if release else ():
        if id_ in late:
            yield FieldValue(id_, 0, _times(gpu.counters.throttled_seconds.get(late[id_]), 1e9))
        elif id_ != 251:  # that of the driver's release, or not supported
            yield FieldValue(id_, 0, POWER_SMOOTHING, pynvml.NVML_VALUE_TYPE_UNSIGNED_INT)


def _features(gpu: ScriptedGpu) -> Iterator[FieldValue]:
    """Fields of newer GPUs. All errors and bit errors are on the first link."""
    uint = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
    health, reading = gpu.health, gpu.reading
    yield FieldValue(186, 1, _times(reading.module_power_watts, 1e3), uint)
    yield FieldValue(190, 1, _times(reading.module_power_limit_watts, 1e3), uint)
    yield FieldValue(170, 0, health.c2c_links, uint)
    up = int(health.c2c_links_up or 0)
    for link in range(int(health.c2c_links or 0)):
        yield FieldValue(171, link, link < up, uint)
        yield FieldValue(172, link, _times(health.c2c_bytes_per_second, 1e-6 / up) if link < up else 0, uint)
        for id_, kind in C2C_ERRORS.items():
            yield FieldValue(id_, link, health.c2c_errors.get(kind, 0.0) if link == 0 else 0)
    for id_, bits in (
        (220, health.nvlink_bit_error_ratio.get("effective")),
        (222, health.nvlink_bit_error_ratio.get("symbol")),
    ):
        for link in range(health.nvlink_links or 0 if bits is not None else 0):
            yield FieldValue(id_, link, bit_error_ratio(bits or 0.0) if link == 0 else NO_BIT_ERRORS)
    smoothing = tuple(map(int, gpu.identity.driver_version.split("."))) >= (580, 82)
    yield FieldValue(251, 0, health.power_smoothing_enabled if smoothing else None, uint)
    yield FieldValue(258, 0, _times(health.power_smoothing_lifetime_ratio, 100.0) if smoothing else None, uint)
    yield FieldValue(303, 0, health.bank_remaps, uint)
    yield FieldValue(307, 0, health.bank_remap_pending, uint)


def bit_error_ratio(ratio: float) -> int:
    """A ratio of one digit in NVML's form: the negative exponent, and from bit 8 on the mantissa."""
    digit, _, exponent = f"{ratio:.0e}".partition("e-")
    return int(digit) << 8 | int(exponent)


def _times(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def _link_bytes(gpu: ScriptedGpu, dialect: Dialect) -> Iterator[FieldValue]:
    """Of each link, and their sum where the dialect has it. A script that knows the sum alone puts all on link 0."""
    counters, links = gpu.counters, gpu.health.nvlink_links or 0
    transmit, receive = (138, 139) if dialect.nvlink == "kib" else (202, 204)
    unit = 1 / 1024 if dialect.nvlink == "kib" else 1
    if counters.nvlink_transmit_bytes is None or counters.nvlink_receive_bytes is None:
        return
    known = counters.nvlink_links or {0: LinkBytes(counters.nvlink_transmit_bytes, counters.nvlink_receive_bytes)}
    for link in range(links):
        sent, received = known.get(link, (0.0, 0.0))
        yield FieldValue(transmit, link, sent * unit)
        yield FieldValue(receive, link, received * unit)
    if dialect.all_links:
        yield FieldValue(transmit, ALL_LINKS, counters.nvlink_transmit_bytes * unit)
        yield FieldValue(receive, ALL_LINKS, counters.nvlink_receive_bytes * unit)


def _link_errors(gpu: ScriptedGpu, dialect: Dialect) -> Iterator[FieldValue]:
    """All errors are on link 0."""
    errors, links = gpu.health.nvlink_errors, gpu.health.nvlink_links or 0
    for id_, kind in LINK_ERRORS[dialect.nvlink].items():
        count = errors.get(kind)
        for link in range(links if count is not None else 0):
            yield FieldValue(id_, link, count if link == 0 else 0)


def _link_speeds(gpu: ScriptedGpu, dialect: Dialect) -> Iterator[FieldValue]:
    """MB/s of each link that is up, or their common one where the dialect has no field 164."""
    up = gpu.health.nvlink_links_up or 0
    speed = _times(gpu.health.nvlink_bytes_per_second, 1e-6 / up) if up else None
    yield FieldValue(90, 0, speed, pynvml.NVML_VALUE_TYPE_UNSIGNED_INT)
    for link in range(up if 164 not in dialect.no_fields else 0):
        yield FieldValue(164, link, speed, pynvml.NVML_VALUE_TYPE_UNSIGNED_INT)


def remapped(gpu: ScriptedGpu) -> list[float | None]:
    """Rows replaced after corrected and uncorrected errors; whether one waits, whether one failed."""
    health = gpu.health
    if not health.remapped_rows:
        return [None] * 4
    rows = health.remapped_rows
    pending, failed = health.row_remap_pending or False, health.row_remap_failed or False
    return [rows.get("corrected", 0.0), rows.get("uncorrected", 0.0), float(pending), float(failed)]
