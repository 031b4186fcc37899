"""The counters of a device, in one call: energy, throttled time, what went over PCIe and NVLink.

GPM (nvmlGpmSampleGet, Hopper and later) knows more of a GPU: SM, tensor and DRAM activity, context switches. Its
place is beside this module: a sample per GPU kept from one call to the next, and metrics of the two probed one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import cast, get_args

from foreshock_exporter.model.device import Counters, LinkBytes, Reason, Throttle
from foreshock_exporter.nvml.asking import Asked
from foreshock_exporter.nvml.fields import ALL_LINKS, Measured, Source, Wanted

_MILLI = 1e3
_NANO = 1e9
_KIB = 1.0 / 1024.0

MAX_LINKS = 36
"""NVML_NVLINK_MAX_LINKS."""
_LINK_COUNT = {"links": (Source(91),)}
_FIXED: Wanted = {
    "energy_joules": (Source(83, _MILLI), Source(191, _MILLI)),
    "throttled_seconds/power": (Source(74, _NANO),),
    "throttled_seconds/thermal": (Source(75, _NANO), Source(269, _NANO)),
    "throttled_seconds/sync_boost": (Source(76, _NANO),),
    "throttled_seconds/board_limit": (Source(77, _NANO),),
    "throttled_seconds/low_utilization": (Source(78, _NANO),),
    "throttled_seconds/reliability": (Source(79, _NANO),),
    "throttled_seconds/hw_thermal": (Source(270, _NANO),),
    "throttled_seconds/power_brake": (Source(271, _NANO),),
    "pcie_transmit_bytes": (Source(197),),
    "pcie_receive_bytes": (Source(198),),
}
_NVLINK = {"transmit": (138, 202), "receive": (139, 204)}
"""Data without protocol overhead: in KiB up to Hopper, in bytes with NVLink 5."""
_THROTTLES = {f"throttled_seconds/{reason}": reason for reason in cast("tuple[Throttle, ...]", get_args(Throttle))}


def counters(asked: Asked, *, per_link: bool) -> Counters:
    """The counters now; those that the device lacks are None. Raises DeviceError where it lacks all."""
    links = link_count(asked)
    said = {**asked.fields("counters", _wanted(links, per_link=per_link))}
    if not isinstance(said.get("energy_joules"), Measured):
        said |= _energy(asked)
    measured = {name: value for name, value in said.items() if isinstance(value, Measured)}
    return Counters(
        energy_joules=_value(measured, "energy_joules"),
        throttled_seconds={reason: measured[name].value for name, reason in _THROTTLES.items() if name in measured},
        pcie_transmit_bytes=_value(measured, "pcie_transmit_bytes"),
        pcie_receive_bytes=_value(measured, "pcie_receive_bytes"),
        nvlink_transmit_bytes=_value(measured, "nvlink_transmit_bytes"),
        nvlink_receive_bytes=_value(measured, "nvlink_receive_bytes"),
        nvlink_links=dict(_links(measured, links)) if per_link else {},
        wraps={_field(name): value.wraps for name, value in measured.items() if value.wraps is not None},
        absent={**asked.absent, **(absent(said) if len(measured) < len(said) else {})},
    )


def absent(said: Mapping[str, Measured | Reason]) -> dict[str, Reason]:
    """Why a field is empty, of fields that may have several quantities ("field/key")."""
    full = {_field(name) for name, value in said.items() if isinstance(value, Measured)}
    return {
        field: value
        for name, value in said.items()
        if not isinstance(value, Measured) and (field := _field(name)) not in full
    }


@lru_cache(maxsize=64)
def _wanted(links: int, *, per_link: bool) -> Wanted:
    wanted = {**_FIXED}
    for way, (kib, bytes_) in _NVLINK.items():
        wanted[f"nvlink_{way}_bytes"] = (Source(kib, _KIB, (ALL_LINKS,)), *over_links(bytes_, links))
        for link in range(links if per_link else 0):
            wanted[f"nvlink_links/{link}/{way}"] = (Source(kib, _KIB, (link,)), Source(bytes_, 1.0, (link,)))
    return wanted


def _energy(asked: Asked) -> dict[str, Measured]:
    """As a call of its own, from drivers that do not have it as a field."""
    millijoules = asked.may("nvmlDeviceGetTotalEnergyConsumption", of=("energy_joules",))
    return {} if millijoules is None else {"energy_joules": Measured(millijoules / _MILLI, 2.0**64 / _MILLI)}


def _links(measured: Mapping[str, Measured], links: int) -> Iterator[tuple[int, LinkBytes]]:
    """The links of which both ways are known."""
    for link in range(links):
        ways: Iterable[Measured | None] = (measured.get(f"nvlink_links/{link}/{way}") for way in _NVLINK)
        transmit, receive = ways
        if transmit is not None and receive is not None:
            yield link, LinkBytes(transmit.value, receive.value)


@lru_cache(maxsize=512)
def _field(quantity: str) -> str:
    return quantity.partition("/")[0]


def _value(measured: Mapping[str, Measured], quantity: str) -> float | None:
    said = measured.get(quantity)
    return None if said is None else said.value


def link_count(asked: Asked) -> int:
    """Links the device has, up or not; 0 where it has no NVLink. Asked once per device. Raises as `Asked.may`."""
    device = asked.library.device(asked.gpu)
    if device.links is None:
        said = asked.fields("links", _LINK_COUNT).get("links")
        links = int(said.value) if isinstance(said, Measured) else _probed(asked)
        device.links = min(links, MAX_LINKS)
    return device.links


def links_up(asked: Asked, links: int) -> int | None:
    """How many of them are up; None where none tells."""
    states = [_state(asked, link) for link in range(links)]
    known = [state for state in states if state is not None]
    return sum(known) if known else None


def by_link(field: int, links: int, per: float = 1.0) -> tuple[Source, ...]:
    """A field that has to be asked for link by link, summed."""
    return (Source(field, per, tuple(range(links))),) if links else ()


def over_links(field: int, links: int, per: float = 1.0) -> tuple[Source, ...]:
    """A field that may know the sum over the links, and if not, is summed."""
    return (Source(field, per, (ALL_LINKS,)), *by_link(field, links, per))


def _probed(asked: Asked) -> int:
    """Drivers before R440 do not give the number: the first link that is not there ends the count."""
    for link in range(MAX_LINKS):
        if _state(asked, link) is None:
            return link
    return MAX_LINKS


def _state(asked: Asked, link: int) -> bool | None:
    state = asked.may("nvmlDeviceGetNvLinkState", link, fine=asked.library.codes.invalid_argument)
    return None if state is None else bool(state)
