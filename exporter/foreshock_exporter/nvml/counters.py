"""The counters of a device, in one call: energy, throttled time, what went over PCIe and NVLink.

GPM (nvmlGpmSampleGet, Hopper and later) knows more of a GPU: SM, tensor and DRAM activity, context switches. Its
place is beside this module: a sample per GPU kept from one call to the next, and metrics of the two probed one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import cast, get_args

from foreshock_exporter.model.device import Counters, LinkBytes, Reason, Throttle
from foreshock_exporter.nvml.device_query import DeviceQuery
from foreshock_exporter.nvml.fields import ALL_LINKS_SCOPE, FieldSource, FieldValue, Quantities

_MILLI = 1e3
_NANO = 1e9
_KIB = 1.0 / 1024.0

MAX_LINKS = 36
"""NVML_NVLINK_MAX_LINKS."""
_LINK_COUNT = {"links": (FieldSource(91),)}
_FIXED: Quantities = {
    "energy_joules": (FieldSource(83, _MILLI), FieldSource(191, _MILLI)),
    "throttled_seconds/power": (FieldSource(74, _NANO),),
    "throttled_seconds/thermal": (FieldSource(75, _NANO), FieldSource(269, _NANO)),
    "throttled_seconds/sync_boost": (FieldSource(76, _NANO),),
    "throttled_seconds/board_limit": (FieldSource(77, _NANO),),
    "throttled_seconds/low_utilization": (FieldSource(78, _NANO),),
    "throttled_seconds/reliability": (FieldSource(79, _NANO),),
    "throttled_seconds/hw_thermal": (FieldSource(270, _NANO),),
    "throttled_seconds/power_brake": (FieldSource(271, _NANO),),
    "pcie_transmit_bytes": (FieldSource(197),),
    "pcie_receive_bytes": (FieldSource(198),),
}
_NVLINK = {"transmit": (138, 202), "receive": (139, 204)}
"""Data without protocol overhead: in KiB up to Hopper, in bytes with NVLink 5."""
_THROTTLES = {f"throttled_seconds/{reason}": reason for reason in cast("tuple[Throttle, ...]", get_args(Throttle))}


def read_counters(asked: DeviceQuery, *, per_link: bool) -> Counters:
    """The counters now; those that the device lacks are None. Raises DeviceError where it lacks all."""
    links = link_count(asked)
    said = {**asked.fields("counters", _wanted(links, per_link=per_link))}
    if not isinstance(said.get("energy_joules"), FieldValue):
        said |= _energy(asked)
    measured = {name: value for name, value in said.items() if isinstance(value, FieldValue)}
    return Counters(
        energy_joules=_value(measured, "energy_joules"),
        throttled_seconds={reason: measured[name].value for name, reason in _THROTTLES.items() if name in measured},
        pcie_transmit_bytes=_value(measured, "pcie_transmit_bytes"),
        pcie_receive_bytes=_value(measured, "pcie_receive_bytes"),
        nvlink_transmit_bytes=_value(measured, "nvlink_transmit_bytes"),
        nvlink_receive_bytes=_value(measured, "nvlink_receive_bytes"),
        nvlink_links=dict(_links(measured, links)) if per_link else {},
        wraps={_field(name): value.wraps for name, value in measured.items() if value.wraps is not None},
        absent={**asked.absent, **(absent_fields(said) if len(measured) < len(said) else {})},
    )


def absent_fields(said: Mapping[str, FieldValue | Reason]) -> dict[str, Reason]:
    """Why a field is empty, of fields that may have several quantities ("field/key")."""
    full = {_field(name) for name, value in said.items() if isinstance(value, FieldValue)}
    return {
        field: value
        for name, value in said.items()
        if not isinstance(value, FieldValue) and (field := _field(name)) not in full
    }


@lru_cache(maxsize=64)
def _wanted(links: int, *, per_link: bool) -> Quantities:
    wanted = {**_FIXED}
    for way, (kib, bytes_) in _NVLINK.items():
        wanted[f"nvlink_{way}_bytes"] = (
            FieldSource(kib, _KIB, (ALL_LINKS_SCOPE,)),
            *total_or_per_link_sources(bytes_, links),
        )
        for link in range(links if per_link else 0):
            wanted[f"nvlink_links/{link}/{way}"] = (FieldSource(kib, _KIB, (link,)), FieldSource(bytes_, 1.0, (link,)))
    return wanted


def _energy(asked: DeviceQuery) -> dict[str, FieldValue]:
    """As a call of its own, from drivers that do not have it as a field."""
    millijoules = asked.may("nvmlDeviceGetTotalEnergyConsumption", of=("energy_joules",))
    return {} if millijoules is None else {"energy_joules": FieldValue(millijoules / _MILLI, 2.0**64 / _MILLI)}


def _links(measured: Mapping[str, FieldValue], links: int) -> Iterator[tuple[int, LinkBytes]]:
    """The links of which both ways are known."""
    for link in range(links):
        ways: Iterable[FieldValue | None] = (measured.get(f"nvlink_links/{link}/{way}") for way in _NVLINK)
        transmit, receive = ways
        if transmit is not None and receive is not None:
            yield link, LinkBytes(transmit.value, receive.value)


@lru_cache(maxsize=512)
def _field(quantity: str) -> str:
    return quantity.partition("/")[0]


def _value(measured: Mapping[str, FieldValue], quantity: str) -> float | None:
    said = measured.get(quantity)
    return None if said is None else said.value


def link_count(asked: DeviceQuery) -> int:
    """Links the device has, up or not; 0 where it has no NVLink. Asked once per device. Raises as `Asked.may`."""
    device = asked.library.device(asked.gpu)
    if device.links is None:
        said = asked.fields("links", _LINK_COUNT).get("links")
        links = int(said.value) if isinstance(said, FieldValue) else _probed(asked)
        device.links = min(links, MAX_LINKS)
    return device.links


def count_links_up(asked: DeviceQuery, links: int) -> int | None:
    """How many of them are up; None where none tells."""
    states = [_state(asked, link) for link in range(links)]
    known = [state for state in states if state is not None]
    return sum(known) if known else None


def per_link_source(field: int, links: int, per: float = 1.0) -> tuple[FieldSource, ...]:
    """A field that has to be asked for link by link, summed."""
    return (FieldSource(field, per, tuple(range(links))),) if links else ()


def total_or_per_link_sources(field: int, links: int, per: float = 1.0) -> tuple[FieldSource, ...]:
    """A field that may know the sum over the links, and if not, is summed."""
    return (FieldSource(field, per, (ALL_LINKS_SCOPE,)), *per_link_source(field, links, per))


def _probed(asked: DeviceQuery) -> int:
    """Drivers before R440 do not give the number: the first link that is not there ends the count."""
    for link in range(MAX_LINKS):
        if _state(asked, link) is None:
            return link
    return MAX_LINKS


def _state(asked: DeviceQuery, link: int) -> bool | None:
    state = asked.may("nvmlDeviceGetNvLinkState", link, fine=asked.library.codes.invalid_argument)
    return None if state is None else bool(state)
