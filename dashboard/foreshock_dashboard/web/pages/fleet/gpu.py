"""The payload of one GPU: its services, its waits, and whether its hardware is at fault. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Required

import numpy as np
from typing_extensions import TypedDict

from foreshock_dashboard.model.incident import Phase
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.render.incident_summary import incident_sentence, summary_clauses
from foreshock_dashboard.render.units import percent
from foreshock_dashboard.web.charts.theme import service_color
from foreshock_dashboard.web.pages.fleet.data import (
    ERROR_WINDOW_SECONDS,
    METRICS,
    MIN_THROTTLED_RATIO,
    error_counts,
    lost_flags,
)
from foreshock_dashboard.web.state.conditions import open_incidents
from foreshock_dashboard.web.state.incident_json import ClauseJson, clauses
from foreshock_dashboard.web.state.numbers import last, newest, number
from foreshock_dashboard.web.state.placement import MIN_WAIT_RATIO

XIDS = {
    13: ("an application's fault: graphics engine exception", False),
    31: ("an application's fault: it read memory that it does not have", False),
    43: ("an application's fault: its channel was reset", False),
    45: ("an application was ended", False),
    48: ("memory: an error of two bits that ECC cannot correct", True),
    63: ("memory: a row was replaced by a spare", True),
    64: ("memory: a row could not be replaced", True),
    74: ("an NVLink failed", True),
    79: ("the GPU fell off the bus", True),
    92: ("memory: many errors of one bit", True),
    94: ("memory: an error that was contained to one application", False),
    95: ("memory: an error that was not contained", True),
    119: ("the GPU's own firmware (GSP) does not answer", True),
    120: ("the GPU's own firmware (GSP) failed", True),
}
"""Meaning of an XID error, and whether the hardware is at fault (NVIDIA's XID catalog)."""


class Xid(NamedTuple):
    """Errors of one number. last: Unix seconds, NaN where unknown."""

    number: int
    times: float
    last: float


class HardwareHealth(NamedTuple):
    """Health readings of a GPU; NaN where unknown. corrected, uncorrected: memory errors since the driver was loaded.

    remap_pending, remap_failed: 1 where a memory row waits for its replacement, or could not be replaced. links,
    links_up: NVLinks. throttled: share 0…1 of time by reason, the largest first.
    """

    xids: Sequence[Xid] = ()
    corrected: float = math.nan
    uncorrected: float = math.nan
    remap_pending: float = math.nan
    remap_failed: float = math.nan
    links: float = math.nan
    links_up: float = math.nan
    throttled: Sequence[tuple[str, float]] = ()


class GpuService(TypedDict):
    """A service on the GPU."""

    service: str
    colour: int
    busy: float | None
    stalled: float | None
    memory: float | None


class GpuWait(TypedDict):
    """A wait on the GPU."""

    victim: str
    aggressor: str
    stalled: float | None


class GpuIncident(TypedDict):
    """An open incident on the GPU."""

    id: str
    sentence: str
    summary: list[ClauseJson]
    phase: Phase


class XidRow(TypedDict):
    """XID errors of one number."""

    xid: int
    times: float | None
    last: float | None
    means: str


class GpuDetail(TypedDict, total=False):
    """The side panel of a GPU; for an unknown label `name` and `gpu` alone."""

    name: Required[str]
    gpu: Required[str | None]
    uuid: str
    model: str | None
    host: str
    pool: str | None
    figures: dict[str, float | None]
    services: list[GpuService]
    pairs: list[GpuWait]
    incidents: list[GpuIncident]
    verdict: str
    sick: bool | None
    xids: list[XidRow]
    memory_errors: dict[str, float | None]
    rows: dict[str, float | None]
    nvlinks: dict[str, float | None]
    throttled_by: list[tuple[str, float | None]]


def gpu_row(world: World, label: str) -> int | None:
    """The row of the GPU with this label or UUID; None without one."""
    return next((i for i, gpu in enumerate(world.gpus) if label in (gpu.label, gpu.uuid)), None)


def gpu_detail(snapshot: Snapshot, label: str, health: HardwareHealth) -> GpuDetail:
    """The side panel of a GPU; `gpu` None for an unknown label."""
    world = snapshot.world
    row = gpu_row(world, label) if world else None
    if world is None or row is None:
        return {"name": label, "gpu": None}
    gpu = world.gpus[row]
    verdict, sick = hardware_verdict(world, row, health)
    return {
        "name": label,
        "gpu": gpu.label,
        "uuid": gpu.uuid,
        "model": gpu.model or None,
        "host": gpu.host,
        "pool": (world.pool[row] if world.pool else "") or None,
        "figures": {name: number(float(metric.of(world)[row])) for name, metric in METRICS.items() if name != "nvlink"},
        "services": _services(world, gpu),
        "pairs": _pairs(world, gpu),
        "incidents": [
            {
                "id": item.id,
                "sentence": incident_sentence(item),
                "summary": clauses(summary_clauses(item)),
                "phase": item.phase,
            }
            for item in open_incidents(snapshot)
            if gpu in item.gpus
        ],
        "verdict": verdict,
        "sick": sick,
        "xids": [
            {
                "xid": xid.number,
                "times": number(xid.times),
                "last": number(xid.last),
                "means": _xid_meaning(xid.number)[0],
            }
            for xid in health.xids
        ],
        "memory_errors": {"corrected": number(health.corrected), "uncorrected": number(health.uncorrected)},
        "rows": {"pending": number(health.remap_pending), "failed": number(health.remap_failed)},
        "nvlinks": {"all": number(health.links), "up": number(health.links_up)},
        "throttled_by": [(reason, number(share)) for reason, share in health.throttled],
    }


def hardware_verdict(world: World, row: int, health: HardwareHealth) -> tuple[str, bool | None]:
    """A sentence on whether the hardware is at fault; and True, False, or None where unknown.

    Only the GPU's own errors count: a service that is slow on a healthy GPU has another cause.
    """
    faults = []
    if lost_flags(world)[row] > 0:
        faults.append("the driver no longer reaches it: it fell off the bus")
    faults += [
        f"XID {xid.number} ({_xid_meaning(xid.number)[0]})" for xid in health.xids if _xid_meaning(xid.number)[1]
    ]
    if health.uncorrected > 0:
        faults.append(f"{health.uncorrected:.0f} memory errors that ECC could not correct")
    if health.remap_failed > 0:
        faults.append("a row of its memory could not be replaced")
    elif health.remap_pending > 0:
        faults.append("a row of its memory waits for a reset to be replaced")
    if health.links_up < health.links:
        faults.append(f"{health.links - health.links_up:.0f} of {health.links:.0f} NVLinks are down")
    throttled = float(newest(world.hardware.throttled)[row]) if world.hardware else math.nan
    if throttled >= MIN_THROTTLED_RATIO:
        faults.append(f"heat or a lack of power holds it back {percent(throttled)} of the time")
    errors_ = float(error_counts(world)[row])
    if not faults and errors_ > 0:
        faults.append(f"{errors_:.0f} errors in {ERROR_WINDOW_SECONDS / 60:.0f} min")
    if faults:
        return f"It is the hardware: {'; '.join(faults)}.", True
    figures = (*newest_health(world, row), errors_, health.corrected, health.uncorrected)
    if not any(math.isfinite(value) for value in figures) and not health.xids:
        return "Whether it is the hardware cannot be told: nothing tells of errors or throttling of this GPU.", None
    return "Nothing points at the hardware: no errors of its own, nothing that holds its clocks down.", False


def newest_health(world: World, row: int) -> tuple[float, ...]:
    """The World's newest figures of a GPU's health, NaN where unknown."""
    hardware = world.hardware
    return (
        ()
        if hardware is None
        else tuple(float(newest(values)[row]) for values in (hardware.throttled, hardware.errors, hardware.lost))
    )


def _xid_meaning(xid: int) -> tuple[str, bool]:
    return XIDS.get(xid, ("see NVIDIA's XID catalog", True))


def _services(world: World, gpu: Gpu) -> list[GpuService]:
    rows = zip(world.tenants, last(world.busy), last(world.stalled), last(world.memory), strict=True)
    listed: list[GpuService] = [
        {
            "service": str(tenant.service),
            "colour": service_color(str(tenant.service)),
            "busy": busy,
            "stalled": stalled,
            "memory": memory,
        }
        for tenant, busy, stalled, memory in rows
        if tenant.gpu == gpu
    ]
    return sorted(listed, key=lambda one: (-float(one["busy"] or 0.0), str(one["service"])))


def _pairs(world: World, gpu: Gpu) -> list[GpuWait]:
    """The waits on a GPU, the longest first."""
    rows = [i for i, stall in enumerate(world.stalls) if stall.gpu == gpu]
    ratios = newest(world.stalled_by)[rows]
    waits = [(rows[i], float(ratios[i])) for i in np.argsort(-np.nan_to_num(ratios)) if not ratios[i] < MIN_WAIT_RATIO]
    return [
        {
            "victim": str(world.stalls[row].victim),
            "aggressor": str(world.stalls[row].aggressor),
            "stalled": number(ratio),
        }
        for row, ratio in waits
    ]
