"""One open GPU: its services, its waits, and whether its hardware is at fault; and queries of what no World holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Required

import numpy as np
from typing_extensions import TypedDict

from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.incident import Phase
from foreshock_dashboard.model.query import Matcher, MetricSource, Query, Reduce
from foreshock_dashboard.model.snapshot import HubView, Snapshot
from foreshock_dashboard.model.types import Floats
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
from foreshock_dashboard.web.state.numbers import Row, last, newest, number
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


RATE_WINDOW_SECONDS = 119.0
"""Window of rates."""
LAST_VALUE_WINDOW_SECONDS = 299.0
"""Window of last values."""
XID_HISTORY_SECONDS = 86_399.0
"""Age up to which errors are listed."""
MAX_GPUS = 1000
"""GPUs whose health is cached."""


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


class GpuService(Row):
    """A service on the GPU."""

    service: str
    colour: int
    busy: float | None
    stalled: float | None
    memory: float | None


class GpuWait(Row):
    """A wait on the GPU."""

    victim: str
    aggressor: str
    stalled: float | None


class GpuIncident(Row):
    """An open incident on the GPU."""

    id: str
    sentence: str
    summary: list[ClauseJson]
    phase: Phase


class XidRow(Row):
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
        "pairs": _waits(world, gpu),
        "incidents": [
            GpuIncident(item.id, incident_sentence(item), clauses(summary_clauses(item)), item.phase)
            for item in open_incidents(snapshot)
            if gpu in item.gpus
        ],
        "verdict": verdict,
        "sick": sick,
        "xids": [
            XidRow(xid.number, number(xid.times), number(xid.last), _xid_meaning(xid.number)[0]) for xid in health.xids
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
    errors = float(error_counts(world)[row])
    if not faults and errors > 0:
        faults.append(f"{errors:.0f} errors in {ERROR_WINDOW_SECONDS / 60:.0f} min")
    if faults:
        return f"It is the hardware: {'; '.join(faults)}.", True
    hardware = world.hardware
    newest_health = (hardware.throttled, hardware.errors, hardware.lost) if hardware else ()
    figures = (*(float(newest(v)[row]) for v in newest_health), errors, health.corrected, health.uncorrected)
    if not any(map(math.isfinite, figures)) and not health.xids:
        return "Whether it is the hardware cannot be told: nothing tells of errors or throttling of this GPU.", None
    return "Nothing points at the hardware: no errors of its own, nothing that holds its clocks down.", False


def _xid_meaning(xid: int) -> tuple[str, bool]:
    return XIDS.get(xid, ("see NVIDIA's XID catalog", True))


def _services(world: World, gpu: Gpu) -> list[GpuService]:
    figures = zip(last(world.busy), last(world.stalled), last(world.memory), strict=True)
    rows = [
        GpuService(str(tenant.service), service_color(str(tenant.service)), *values)
        for tenant, values in zip(world.tenants, figures, strict=True)
        if tenant.gpu == gpu
    ]
    return sorted(rows, key=lambda row: (-(row.busy or 0.0), row.service))


def _waits(world: World, gpu: Gpu) -> list[GpuWait]:
    """The waits on a GPU, the longest first."""
    rows = zip(world.stalls, newest(world.stalled_by).tolist(), strict=True)
    waits = [(stall, ratio) for stall, ratio in rows if stall.gpu == gpu and not ratio < MIN_WAIT_RATIO]
    waits.sort(key=lambda wait: -np.nan_to_num(wait[1]))
    return [GpuWait(str(stall.victim), str(stall.aggressor), number(ratio)) for stall, ratio in waits]


def read_hardware(source: MetricSource, gpu: Gpu, time: float) -> HardwareHealth:
    """The health of one GPU up to `time`, Unix seconds.

    Raises:
        SourceError: the source cannot answer.
    """
    this = Matcher("uuid", "=", gpu.uuid)

    def read(metric: str, by: str, reduce: Reduce, window: float) -> Mapping[str, float]:
        answer = source.fetch(Query(metric, (this,), (by,), reduce, window), time, time, 1.0)
        rows = zip(map(dict, answer.labels), answer.values[:, -1].tolist(), strict=True) if answer.labels else ()
        return {labels.get(by, ""): value for labels, value in rows if math.isfinite(value)}

    def one(metric: str) -> float:
        return max(read(metric, "uuid", "last", LAST_VALUE_WINDOW_SECONDS).values(), default=math.nan)

    counted = read("gpu_xid_errors_total", "xid", "last", LAST_VALUE_WINDOW_SECONDS)
    when = read("gpu_xid_last_timestamp_seconds", "xid", "last", LAST_VALUE_WINDOW_SECONDS)
    memory = read("gpu_ecc_errors_total", "error_type", "last", LAST_VALUE_WINDOW_SECONDS)
    held = read("gpu_throttled_seconds_total", "reason", "rate", RATE_WINDOW_SECONDS)
    xids = [
        Xid(int(code), times, when.get(code, math.nan))
        for code, times in counted.items()
        if code.isdecimal() and times > 0 and not time - when.get(code, time) > XID_HISTORY_SECONDS
    ]
    return HardwareHealth(
        xids=tuple(sorted(xids, key=lambda xid: (-np.nan_to_num(xid.last), xid.number))),
        corrected=memory.get("corrected", math.nan),
        uncorrected=memory.get("uncorrected", math.nan),
        remap_pending=one("gpu_row_remap_pending"),
        remap_failed=one("gpu_row_remap_failed"),
        links=one("gpu_nvlink_links"),
        links_up=one("gpu_nvlink_links_up"),
        throttled=tuple(sorted(((why, share) for why, share in held.items() if share > 0), key=lambda row: -row[1])),
    )


def read_nvlink(source: MetricSource, world: World) -> Floats:
    """Bytes per second of each GPU over all its NVLinks, both directions; shape (gpus,), NaN where unknown.

    Raises:
        SourceError: the source cannot answer.
    """
    place = {gpu.uuid: i for i, gpu in enumerate(world.gpus)}
    total = np.full(len(world.gpus), np.nan)
    for metric in ("gpu_nvlink_transmit_bytes_total", "gpu_nvlink_receive_bytes_total"):
        answer = source.fetch(Query(metric, (), ("uuid",), "rate", RATE_WINDOW_SECONDS), world.time, world.time, 1.0)
        newest = answer.values[:, -1].tolist() if answer.labels else []
        for labels, value in zip(map(dict, answer.labels), newest, strict=True):
            row = place.get(labels.get("uuid", ""))
            if row is not None and math.isfinite(value):
                total[row] = value if math.isnan(total[row]) else total[row] + value
    return total


class GpuReadings:
    """Health and NVLink throughput of GPUs, each read once per snapshot. Safe to call from several threads."""

    def __init__(self, hub: HubView) -> None:
        self._hub = hub
        self._hardware: SingleFlightCache[HardwareHealth] = SingleFlightCache(MAX_GPUS)
        self._nvlink: SingleFlightCache[Floats] = SingleFlightCache(1)

    def hardware(self, snapshot: Snapshot, label: str) -> HardwareHealth:
        """The health of the GPU with this name or UUID; nothing known where no GPU has it."""
        world = snapshot.world
        row = gpu_row(world, label) if world else None
        if world is None or row is None:
            return HardwareHealth()
        gpu = world.gpus[row]
        return self._hardware.get(gpu, lambda: read_hardware(self._hub.metrics, gpu, world.time), snapshot)

    def nvlink(self, snapshot: Snapshot) -> Floats | None:
        """Bytes per second of each GPU over NVLink; None without a World."""
        world = snapshot.world
        if world is None:
            return None
        return self._nvlink.get("nvlink", lambda: read_nvlink(self._hub.metrics, world), snapshot)
