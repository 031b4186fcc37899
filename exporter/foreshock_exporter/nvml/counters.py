"""Counters of a device in one call: energy, throttled time, PCIe and NVLink traffic."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import cast, get_args

from foreshock_exporter.model.device import Counters, LinkBytes, Reason, Throttle
from foreshock_exporter.nvml.device_query import DeviceQuery
from foreshock_exporter.nvml.field_values import ALL_LINKS_SCOPE, FieldSource, FieldValue, Quantities
from foreshock_exporter.nvml.mig import to_text

_MILLI = 1e3
_NANO = 1e9
_KIB = 1.0 / 1024.0

MAX_LINKS = 36
"""NVML_NVLINK_MAX_LINKS."""
_LINK_COUNT: Quantities = {"links": (FieldSource(91),)}
_FIXED: Quantities = {
    "energy_joules": (FieldSource(83, _MILLI), FieldSource(191, _MILLI)),
    "throttled_seconds/power": (FieldSource(74, _NANO),),
    "throttled_seconds/thermal": (FieldSource(75, _NANO),),
    "throttled_seconds/sync_boost": (FieldSource(76, _NANO),),
    "throttled_seconds/board_limit": (FieldSource(77, _NANO),),
    "throttled_seconds/low_utilization": (FieldSource(78, _NANO),),
    "throttled_seconds/reliability": (FieldSource(79, _NANO),),
    "pcie_transmit_bytes": (FieldSource(197),),
    "pcie_receive_bytes": (FieldSource(198),),
}
_THROTTLE_FIELDS = (((580, 82), (269, 270, 271)), ((575,), (251, 252, 253)))
"""Fields of software thermal slowdown, hardware thermal slowdown, and power brake, by the first driver that has them.
Under other drivers these ids mean power smoothing (nvidia-ml-py 12.570.172, 12.575.51, 13.580.65, 13.580.82). That
drivers between 580.65 and 580.82 are like the former is an assumption.
"""
_NVLINK = {"transmit": (138, 202), "receive": (139, 204)}
"""Field ids of data without protocol overhead: in KiB up to Hopper, in bytes with NVLink 5."""
_NEWER_THROTTLES = ("throttled_seconds/hw_thermal", "throttled_seconds/power_brake")
_THROTTLES = {f"throttled_seconds/{reason}": reason for reason in cast("tuple[Throttle, ...]", get_args(Throttle))}


def read_counters(query: DeviceQuery, *, per_link: bool, only: Collection[str] = ()) -> Counters:
    """Current counters; unsupported ones are None. With `only`, those fields alone are read.

    Raises:
        DeviceError: the driver's version, on which the fields depend, is unknown.
    """
    links = link_count(query)
    subject = " ".join(("counters", *sorted(only)))
    values = {**query.field_values(subject, partial(_quantities, query, links, per_link=per_link, only=only))}
    if not only and not isinstance(values.get("energy_joules"), FieldValue):
        values |= _energy(query)
    present = {name: value for name, value in values.items() if isinstance(value, FieldValue)}
    amounts = {name: value.value for name, value in present.items()}
    return Counters(
        energy_joules=amounts.get("energy_joules"),
        throttled_seconds={reason: amounts[name] for name, reason in _THROTTLES.items() if name in amounts},
        pcie_transmit_bytes=amounts.get("pcie_transmit_bytes"),
        pcie_receive_bytes=amounts.get("pcie_receive_bytes"),
        nvlink_transmit_bytes=amounts.get("nvlink_transmit_bytes"),
        nvlink_receive_bytes=amounts.get("nvlink_receive_bytes"),
        nvlink_links=dict(_per_link_bytes(amounts, links)) if per_link else {},
        wraps={_field_name(name): value.wraps for name, value in present.items() if value.wraps is not None},
        absent={**query.absent, **absent_fields(values), **({} if only else _absent_throttles(values))},
    )


def absent_fields(values: Mapping[str, FieldValue | Reason]) -> dict[str, Reason]:
    """Reason of each empty field. A field may have several quantities, named "field/key"."""
    present = {_field_name(name) for name, value in values.items() if isinstance(value, FieldValue)}
    return {
        field: value
        for name, value in values.items()
        if not isinstance(value, FieldValue) and (field := _field_name(name)) not in present
    }


def _quantities(query: DeviceQuery, links: int, *, per_link: bool, only: Collection[str]) -> Quantities:
    quantities = {**_FIXED, **_throttles(to_text(query.library.call("nvmlSystemGetDriverVersion")))}
    for direction, (kib, bytes_) in _NVLINK.items() if links else ():  # some drivers return 0 for a GPU without links
        quantities[f"nvlink_{direction}_bytes"] = (
            FieldSource(kib, _KIB, (ALL_LINKS_SCOPE,)),
            *total_or_per_link_sources(bytes_, links),
        )
        for link in range(links if per_link else 0):
            quantities[f"nvlink_links/{link}/{direction}"] = (
                FieldSource(kib, _KIB, (link,)),
                FieldSource(bytes_, 1.0, (link,)),
            )
    return {name: sources for name, sources in quantities.items() if not only or _field_name(name) in only}


def _throttles(driver_version: str) -> Quantities:
    """Throttle reasons whose fields depend on the driver; none before R575."""
    version = tuple(int(part) for part in driver_version.split(".") if part.isdigit())
    fields = next((fields for since, fields in _THROTTLE_FIELDS if version >= since), None)
    if fields is None:
        return {}
    thermal, hw_thermal, power_brake = (FieldSource(field, _NANO) for field in fields)
    return {
        "throttled_seconds/thermal": (*_FIXED["throttled_seconds/thermal"], thermal),
        "throttled_seconds/hw_thermal": (hw_thermal,),
        "throttled_seconds/power_brake": (power_brake,),
    }


def _absent_throttles(values: Mapping[str, FieldValue | Reason]) -> dict[str, Reason]:
    """Reason of each throttle reason that depends on the driver, if others are known."""
    if not any(isinstance(values.get(name), FieldValue) for name in _THROTTLES):
        return {}
    found = {name: values.get(name, "not_supported") for name in _NEWER_THROTTLES}
    return {name: reason for name, reason in found.items() if not isinstance(reason, FieldValue)}


def _energy(query: DeviceQuery) -> dict[str, FieldValue]:
    """Energy by a separate call, for drivers without the field."""
    millijoules = query.optional("nvmlDeviceGetTotalEnergyConsumption", fields=("energy_joules",))
    return {} if millijoules is None else {"energy_joules": FieldValue(millijoules / _MILLI, 2.0**64 / _MILLI)}


def _per_link_bytes(amounts: Mapping[str, float], links: int) -> Iterator[tuple[int, LinkBytes]]:
    """Links with both directions known."""
    for link in range(links):
        transmit, receive = (amounts.get(f"nvlink_links/{link}/{direction}") for direction in _NVLINK)
        if transmit is not None and receive is not None:
            yield link, LinkBytes(transmit, receive)


def _field_name(quantity: str) -> str:
    return quantity.partition("/")[0]


def link_count(query: DeviceQuery) -> int:
    """Number of NVLinks, up or not; 0 without NVLink. Read once per device. Raises as `DeviceQuery.optional`."""
    device = query.library.device(query.gpu)
    if device.links is None:
        values = query.field_values("links", lambda: _LINK_COUNT).get("links")
        links = int(values.value) if isinstance(values, FieldValue) else _probe_link_count(query)
        device.links = min(links, MAX_LINKS)
    return device.links


def count_links_up(query: DeviceQuery, links: int) -> int | None:
    """Number of links that are up; None if no link reports its state."""
    states = [_link_state(query, link) for link in range(links)]
    states_read = [state for state in states if state is not None]
    return sum(states_read) if states_read else None


def per_link_source(field: int, links: int, divisor: float = 1.0) -> tuple[FieldSource, ...]:
    """Sum over the links of a field that exists per link only."""
    return (FieldSource(field, divisor, tuple(range(links))),) if links else ()


def total_or_per_link_sources(field: int, links: int, divisor: float = 1.0) -> tuple[FieldSource, ...]:
    """Total of a field over all links, with the sum per link as fallback."""
    return (FieldSource(field, divisor, (ALL_LINKS_SCOPE,)), *per_link_source(field, links, divisor))


def _probe_link_count(query: DeviceQuery) -> int:
    """Number of links for drivers before R440, by probing."""
    for link in range(MAX_LINKS):
        if _link_state(query, link) is None:
            return link
    return MAX_LINKS


def _link_state(query: DeviceQuery, link: int) -> bool | None:
    state = query.optional("nvmlDeviceGetNvLinkState", link, expected_code=query.library.codes.invalid_argument)
    return None if state is None else bool(state)
