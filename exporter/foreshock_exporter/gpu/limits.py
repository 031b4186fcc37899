"""Seconds during which a resource that services on a GPU share was at its limit, and what each lost at most. Pure.

A reading of the counters ends an interval of about a second, Δt. DRAM, PCIe, and NVLink are *saturated* in it if
their mean use was at least 75% of their maximum; PCIe and NVLink in the busier direction. The power limit counts the
time that the driver measured. If at least two services are active, each of them loses at most that time:

- DRAM under time-slicing: only while others run, Δt·(1 − share of the busy time).
- Power: the slowdown of the clock, Δt·(1 − clock / maximum clock), with the lower clock of both readings, or all of Δt
  if a clock is unknown.
- Else: all of Δt, because the driver does not count bytes by service.

Services under MIG do not share DRAM. Bursts shorter than an interval are not seen. No service is active while the
driver loses the samples of its processes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from foreshock_exporter.gpu.contention import MIN_ACTIVE_SHARE, ServiceKey, Totals
from foreshock_exporter.model.device import Activity, Counters, Health, Reading, Sharing

Resource = Literal["dram", "pcie", "nvlink", "power"]
RESOURCES: tuple[Resource, ...] = ("dram", "pcie", "nvlink", "power")

MIN_SATURATED_RATIO = 0.75
"""Mean use from which a resource counts as saturated. Kernels reach about 80% of the DRAM cycles (DCGM user guide,
profiling metrics); links lose a part to packet headers and flow control.
"""
_LANE_BYTES_PER_SECOND = (0.25e9, 0.5e9, *(rate * 1e9 / 8 * 128 / 130 for rate in (8, 16, 32)), 64e9 / 8 * 242 / 256)
"""Bytes per second, direction, and lane of PCIe generations 1 to 6: transfers less the encoding (8b/10b, 128b/130b, and
flow control units of 256 bytes with 242 for packets; PCI Express Base Specification 6.0).
"""


@dataclass(frozen=True, slots=True)
class Use:
    """Use of a GPU up to a time, in seconds of the exporter's clock.

    amounts: cumulative seconds of DRAM activity and of the power limit, and bytes sent and received over links; only
    those that are known. busy: busy seconds of the GPU. service_busy: those of all its services, also of those without
    processes now; None if the driver does not report them. lost_speed: see `slowdown`.
    """

    time: float
    amounts: Mapping[Resource, tuple[float, ...]]
    busy: float = 0.0
    service_busy: Mapping[ServiceKey, float] | None = None
    lost_speed: float = 1.0


def used_amounts(activity: Activity | None, counters: Counters | None) -> dict[Resource, tuple[float, ...]]:
    """The known amounts of `Use`."""
    counters = counters or Counters()
    amounts: dict[Resource, tuple[float | None, ...]] = {
        "dram": (activity.dram_seconds if activity else None,),
        "pcie": (counters.pcie_transmit_bytes, counters.pcie_receive_bytes),
        "nvlink": (counters.nvlink_transmit_bytes, counters.nvlink_receive_bytes),
        "power": (counters.throttled_seconds.get("power"),),
    }
    known = {resource: tuple(part for part in parts if part is not None) for resource, parts in amounts.items()}
    return {resource: parts for resource, parts in known.items() if len(parts) == len(amounts[resource])}


def maxima(health: Health | None) -> dict[Resource, float]:
    """Largest amount per second and direction, of resources for which it is known.

    The PCIe generation is the largest that GPU and slot support, because an idle link reports a lower one.
    """
    found: dict[Resource, float] = {"dram": 1.0, "power": 1.0}
    if health and health.pcie_link_width and (generation := health.pcie_link_generation_max):
        per_lane = _LANE_BYTES_PER_SECOND[min(generation, len(_LANE_BYTES_PER_SECOND)) - 1]
        found["pcie"] = health.pcie_link_width * per_lane
    if health and health.nvlink_bytes_per_second:
        found["nvlink"] = health.nvlink_bytes_per_second
    return found


def saturated_seconds(before: Use, after: Use, maximum: Mapping[Resource, float]) -> dict[Resource, float]:
    """Seconds between two readings during which each resource was at its limit; without unknown ones."""
    seconds = after.time - before.time
    found: dict[Resource, float] = {}
    for resource, amounts in after.amounts.items():
        if resource not in before.amounts or resource not in maximum:
            continue
        used = max(new - old for new, old in zip(amounts, before.amounts[resource], strict=True))
        if resource == "power":
            found[resource] = min(max(0.0, used), seconds)
        else:
            found[resource] = seconds if used >= MIN_SATURATED_RATIO * maximum[resource] * seconds else 0.0
    return found


def slowdown(reading: Reading, health: Health | None) -> float:
    """Share of the speed that the present SM clock lacks, 0 to 1; 1 if the clocks are unknown."""
    clock, fastest = reading.clock_hertz.get("sm"), health.clock_max_hertz.get("sm") if health else None
    return 1.0 if clock is None or not fastest else min(1.0, max(0.0, 1.0 - clock / fastest))


def add_interval(
    totals: Totals,
    before: Use,
    after: Use,
    maximum: Mapping[Resource, float],
    sharing: Sharing,
    services: Collection[ServiceKey],
) -> Totals:
    """Totals after one more interval, at whose end `services` had processes.

    From two services on, each has a counter of each known resource, so that `rate` sees its first loss. A GPU with MIG
    has no DRAM that its services share.
    """
    seconds = after.time - before.time
    spent = saturated_seconds(before, after, maximum)
    if sharing == "mig":
        spent.pop("dram", None)
    if seconds <= 0.0 or not spent:
        return totals
    saturated = dict(totals.saturated)
    for resource, part in spent.items():
        saturated[resource] = saturated.get(resource, 0.0) + part
    totals = replace(totals, saturated=saturated)
    if len(services) < 2:
        return totals
    shares = {service: _busy_share(before, after, service) for service in services}
    active = {service for service, share in shares.items() if share is None or share >= MIN_ACTIVE_SHARE}
    busy = (after.busy - before.busy) / seconds
    waits = dict(totals.resource_wait)
    for service, share in shares.items():
        for resource, part in spent.items():
            bound = part if len(active) > 1 and service in active else 0.0
            if resource == "power":
                bound *= max(before.lost_speed, after.lost_speed)
            elif resource == "dram" and sharing == "time-slicing" and share is not None and busy > 0.0:
                bound *= max(0.0, 1.0 - share / busy)
            waits[service, resource] = waits.get((service, resource), 0.0) + bound
    return replace(totals, resource_wait=waits)


def _busy_share(before: Use, after: Use, service: ServiceKey) -> float | None:
    """Share of the interval that the service used the GPU; None if unknown."""
    if before.service_busy is None or after.service_busy is None:
        return None
    used = after.service_busy.get(service, 0.0) - before.service_busy.get(service, 0.0)
    return max(0.0, used) / (after.time - before.time)


def unknown_reasons(
    use: Use, maximum: Mapping[Resource, float], activity: Activity | None, counters: Counters | None, sharing: Sharing
) -> dict[Resource, str]:
    """Why resources have no seconds at the limit, by resource. Without activity it may still come."""
    absent = {**(counters.absent if counters else {}), **(activity.absent if activity else {})}
    fields: Mapping[Resource, str] = {
        "dram": "dram_seconds",
        "pcie": "pcie_transmit_bytes",
        "nvlink": "nvlink_transmit_bytes",
        "power": "throttled_seconds",
    }
    reasons: dict[Resource, str] = {}
    for resource in RESOURCES:
        if resource == "dram" and sharing == "mig":
            reasons[resource] = "mig"
        elif resource == "dram" and activity is None:
            continue
        elif resource not in use.amounts:
            reasons[resource] = absent.get(fields[resource], "not_supported")
        elif resource not in maximum:
            reasons[resource] = "link_unknown"
    return reasons
