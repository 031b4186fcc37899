"""One open GPU: its services, GPU wait, and hardware health; and queries of metrics that no World holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Required

import numpy as np
from typing_extensions import TypedDict

from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.incident import Severity, State
from foreshock_dashboard.model.query import Matcher, Matrix, MetricSource, Query, Reduce
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Bools, Floats
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.render.clause import filled_text
from foreshock_dashboard.render.incident_summary import incident_sentence, summary_clauses
from foreshock_dashboard.render.units import percent
from foreshock_dashboard.render.verdict.gpu_sentence import (
    HardwareErrors,
    hardware_faults,
    hardware_sentence,
)
from foreshock_dashboard.render.words.gpus import HARDWARE_TEXTS
from foreshock_dashboard.web.pages.fleet.data import (
    ERROR_WINDOW_SECONDS,
    METRICS,
    MIN_THROTTLED_RATIO,
    error_counts,
    lost_flags,
)
from foreshock_dashboard.web.panels.gpu_sharing import far_cpus
from foreshock_dashboard.web.state.conditions import open_incidents
from foreshock_dashboard.web.state.incident_json import ClauseJson, clauses
from foreshock_dashboard.web.state.numbers import Row, last, newest, number
from foreshock_dashboard.web.state.placement import (
    MIN_WAIT_RATIO,
    NO_SHARING,
    Allocated,
    GpuSharing,
    Mps,
    MpsService,
    allocated,
    tenant_time,
)
from foreshock_exporter.model.xid_catalog import XidInfo, xid_info

RATE_WINDOW_SECONDS = 119.0
"""Window of rates."""
LAST_VALUE_WINDOW_SECONDS = 299.0
"""Window of last values."""
XID_HISTORY_SECONDS = 86_399.0
"""Age up to which errors are listed."""
XID_STEP_SECONDS = LAST_VALUE_WINDOW_SECONDS + 1.0
"""Grid on which errors of services are counted."""
MIN_BUSY_RATIO, MAX_IDLE_SM_RATIO = 0.8, 0.25
"""Share of time from which a GPU counts as busy, and share of SMs up to which they count as idle."""
MAX_GPUS = 1000
"""GPUs whose health is cached."""


class Xid(NamedTuple):
    """Errors of one number. last: Unix seconds, NaN where unknown.

    services: those whose processes had such an error within `XID_HISTORY_SECONDS`, by the kernel log; the most frequent
        first. None of errors before the first data of the GPU, which may be older.
    """

    number: int
    events: float
    last: float
    services: tuple[str, ...] = ()

    @property
    def info(self) -> XidInfo:
        """The entry of the catalog."""
        return xid_info(self.number)


class Activity(NamedTuple):
    """Shares of the last `RATE_WINDOW_SECONDS`, NaN where unknown: SMs with work, time in tensor operations, and DRAM
    bandwidth in use.
    """

    sm: float = math.nan
    tensor: float = math.nan
    dram: float = math.nan


class HardwareHealth(NamedTuple):
    """Health readings of a GPU; NaN where unknown. corrected, uncorrected: memory errors since the driver was loaded.

    remap_pending, remap_failed: 1 where a row remapping needs a reset, or failed. links, links_up: NVLinks. throttled:
    share 0…1 of time by reason, the largest first. activity: what the silicon does.
    """

    xids: Sequence[Xid] = ()
    corrected: float = math.nan
    uncorrected: float = math.nan
    remap_pending: float = math.nan
    remap_failed: float = math.nan
    links: float = math.nan
    links_up: float = math.nan
    throttled: Sequence[tuple[str, float]] = ()
    activity: Activity = Activity()


class GpuService(Row):
    """A service on the GPU. busy, wait: shares of time that it uses the GPU and waits for it. memory: bytes.

    mps: its MPS clients and their limits; None for a service without one.
    """

    service: str
    busy: float | None
    wait: float | None
    memory: float | None
    mps: MpsService | None


class GpuWait(Row):
    """A pair of services on the GPU. wait: share of time that the victim waits on the aggressor."""

    victim: str
    aggressor: str
    wait: float | None


class GpuIncident(Row):
    """An open incident on the GPU."""

    id: str
    summary: str
    summary_clauses: list[ClauseJson]
    severity: Severity
    state: State
    affected: list[str]


class XidRow(Row):
    """XID errors of one number."""

    xid: int
    description: str
    events: float | None
    last: float | None
    services: list[str]


class GpuDetail(TypedDict, total=False):
    """The side panel of a GPU; for an unknown label `name` and `gpu` alone.

    values: the newest value of each metric of the grid. faulty: whether the hardware has a fault, None where unknown.
    throttled_by: reason and share of time. activity: shares by the fields of `Activity`, and idle_sms the sentence on a
    busy GPU whose SMs are idle, else "". allocated: containers of whose service no process is seen. sharing, mps: see
    `GpuSharing`. far_cpus: services whose CPUs are on other NUMA nodes, a sentence each with the remedy.
    """

    name: Required[str]
    gpu: Required[str | None]
    uuid: str
    vendor: str | None
    model: str | None
    host: str
    pool: str | None
    values: dict[str, float | None]
    services: list[GpuService]
    allocated: list[Allocated]
    pairs: list[GpuWait]
    incidents: list[GpuIncident]
    health: str
    faulty: bool | None
    xids: list[XidRow]
    memory_errors: dict[str, float | None]
    nvlinks: dict[str, float | None]
    throttled_by: list[tuple[str, float | None]]
    activity: dict[str, float | None]
    idle_sms: str
    sharing: str | None
    mps: Mps | None
    far_cpus: list[str]


def gpu_row(world: World, label: str) -> int | None:
    """The row of the GPU with this label or UUID; None without one."""
    return next((i for i, gpu in enumerate(world.gpus) if label in (gpu.label, gpu.uuid)), None)


def gpu_detail(
    snapshot: Snapshot, label: str, health: HardwareHealth, sharing: Mapping[str, GpuSharing] = NO_SHARING
) -> GpuDetail:
    """The side panel of a GPU; `gpu` None for an unknown label. sharing: by UUID."""
    world = snapshot.world
    row = gpu_row(world, label) if world else None
    if world is None or row is None:
        return {"name": label, "gpu": None}
    gpu = world.gpus[row]
    health_text, faulty = hardware_health(world, row, health)
    shared = sharing.get(gpu.uuid, GpuSharing())
    return {
        "name": label,
        "gpu": gpu.label,
        "uuid": gpu.uuid,
        "vendor": gpu.vendor or None,
        "model": gpu.model or None,
        "host": gpu.host,
        "pool": (world.pool[row] if world.pool else "") or None,
        "values": {name: number(float(metric.of(world)[row])) for name, metric in METRICS.items() if name != "nvlink"},
        "services": _services(world, gpu, shared.mps),
        "allocated": allocated(world).get(gpu, []),
        "pairs": _waits(world, gpu),
        "incidents": [
            GpuIncident(
                item.id,
                incident_sentence(item),
                clauses(summary_clauses(item)),
                item.severity,
                item.state,
                list(map(str, item.affected)),
            )
            for item in open_incidents(snapshot)
            if gpu in item.stated_suspect.gpus
        ],
        "health": health_text,
        "faulty": faulty,
        "xids": [
            XidRow(xid.number, xid.info.name, number(xid.events), number(xid.last), list(xid.services))
            for xid in health.xids
        ],
        "memory_errors": {"corrected": number(health.corrected), "uncorrected": number(health.uncorrected)},
        "nvlinks": {"total": number(health.links), "up": number(health.links_up)},
        "throttled_by": [(reason, number(share)) for reason, share in health.throttled],
        "activity": {name: number(share) for name, share in health.activity._asdict().items()},
        "idle_sms": idle_sms(gpu.label, float(newest(world.utilization)[row]), health.activity.sm),
        "sharing": shared.mode,
        "mps": shared.mps,
        "far_cpus": far_cpus({gpu.uuid: shared}, [tenant for tenant in world.tenants if tenant.gpu == gpu]),
    }


def idle_sms(label: str, busy: float, sm: float) -> str:
    """A sentence on a GPU that is busy while its SMs are idle, else ""; shares 0…1, NaN where unknown."""
    if not (busy >= MIN_BUSY_RATIO and sm <= MAX_IDLE_SM_RATIO):
        return ""
    return filled_text(HARDWARE_TEXTS["idle_sms"], gpu=label, busy=percent(busy), active=percent(sm))


def hardware_health(world: World, row: int, health: HardwareHealth) -> tuple[str, bool | None]:
    """A sentence on the hardware, and whether it has a fault; None where unknown.

    Only the GPU's own errors and throttling count: a service that is slow on a healthy GPU has another cause.
    """
    errors = float(error_counts(world)[row])
    faults = hardware_faults(
        HardwareErrors(
            lost=bool(lost_flags(world)[row] > 0),
            xids=[(xid.number, xid.info.name) for xid in health.xids if xid.info.severity != "application"],
            uncorrectable=health.uncorrected,
            remap_failed=health.remap_failed > 0,
            remap_pending=health.remap_pending > 0,
            links=health.links,
            links_down=health.links - health.links_up,
            other=errors,
            minutes=ERROR_WINDOW_SECONDS / 60,
        )
    )
    hardware = world.hardware
    newest_health = (
        [float(newest(v)[row]) for v in (hardware.throttled, hardware.errors, hardware.lost)] if hardware else []
    )
    throttled = newest_health[0] if newest_health and newest_health[0] >= MIN_THROTTLED_RATIO else math.nan
    values = (*newest_health, errors, health.corrected, health.uncorrected)
    is_known = any(map(math.isfinite, values)) or bool(health.xids)
    is_faulty = bool(faults) or math.isfinite(throttled)
    return hardware_sentence(faults, throttled, is_known=is_known), is_faulty if is_faulty or is_known else None


def _services(world: World, gpu: Gpu, mps: Mps | None) -> list[GpuService]:
    clients = {row.service: row for row in mps.services} if mps else {}
    shares = zip(*tenant_time(world), last(world.memory), strict=True)
    rows = [
        GpuService(str(tenant.service), *values, clients.get(str(tenant.service)))
        for tenant, values in zip(world.tenants, shares, strict=True)
        if tenant.gpu == gpu
    ]
    return sorted(rows, key=lambda row: (-(row.busy or 0.0), row.service))


def _waits(world: World, gpu: Gpu) -> list[GpuWait]:
    """The waits on a GPU, the longest first."""
    rows = zip(world.gpu_wait_pairs, newest(world.gpu_wait_by).tolist(), strict=True)
    waits = [(pair, ratio) for pair, ratio in rows if pair.gpu == gpu and not ratio < MIN_WAIT_RATIO]
    waits.sort(key=lambda wait: -np.nan_to_num(wait[1]))
    return [GpuWait(str(pair.affected), str(pair.noisy_neighbor), number(ratio)) for pair, ratio in waits]


def _increase(values: Floats, seen: Bools) -> float:
    """Increase over a grid of a counter that appears with its first event. seen: whether its GPU reports."""
    counts = np.where(np.isnan(values) & seen, 0.0, values)
    counts = counts[np.isfinite(counts)]
    steps = np.diff(counts)
    return float(np.where(steps < 0, counts[1:], steps).sum())  # a restart begins at 0


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

    def share(metric: str) -> float:
        return float(np.minimum(1.0, read(metric, "uuid", "rate", RATE_WINDOW_SECONDS).get(gpu.uuid, math.nan)))

    def one(metric: str) -> float:
        return max(read(metric, "uuid", "last", LAST_VALUE_WINDOW_SECONDS).values(), default=math.nan)

    def services() -> Mapping[str, tuple[str, ...]]:
        def history(metric: str, *by: str) -> Matrix:
            query = Query(metric, (this,), by, "last", LAST_VALUE_WINDOW_SECONDS)
            return source.fetch(query, time - XID_HISTORY_SECONDS, time, XID_STEP_SECONDS)

        answer = history("gpu_service_xid_errors_total", "xid", "service_namespace", "service_name")
        counts: dict[str, dict[str, float]] = {}
        if not len(answer):
            return {}
        seen: Bools = np.any(np.isfinite(history("gpu_info", "uuid").values), axis=0)
        for labels, values in zip(map(dict, answer.labels), answer.values, strict=True):
            service = Service(labels.get("service_namespace", ""), labels.get("service_name", ""))
            if (count := _increase(values, seen)) > 0 and service.name:
                counts.setdefault(labels.get("xid", ""), {})[str(service)] = count
        return {code: tuple(sorted(by, key=lambda name: (-by[name], name))) for code, by in counts.items()}

    counts = read("gpu_xid_errors_total", "xid", "last", LAST_VALUE_WINDOW_SECONDS)
    hit = services() if counts else {}
    times = read("gpu_xid_last_timestamp_seconds", "xid", "last", LAST_VALUE_WINDOW_SECONDS)
    memory = read("gpu_ecc_errors_total", "error_type", "last", LAST_VALUE_WINDOW_SECONDS)
    throttled = read("gpu_throttled_seconds_total", "reason", "rate", RATE_WINDOW_SECONDS)
    xids = [
        Xid(int(code), count, times.get(code, math.nan), hit.get(code, ()))
        for code, count in counts.items()
        if code.isdecimal() and count > 0 and not time - times.get(code, time) > XID_HISTORY_SECONDS
    ]
    return HardwareHealth(
        xids=tuple(sorted(xids, key=lambda xid: (-np.nan_to_num(xid.last), xid.number))),
        corrected=memory.get("corrected", math.nan),
        uncorrected=memory.get("uncorrected", math.nan),
        remap_pending=one("gpu_row_remap_pending"),
        remap_failed=one("gpu_row_remap_failed"),
        links=one("gpu_nvlink_links"),
        links_up=one("gpu_nvlink_links_up"),
        throttled=tuple(sorted(((why, part) for why, part in throttled.items() if part > 0), key=lambda row: -row[1])),
        activity=Activity(
            sm=share("gpu_sm_active_seconds_total"),
            tensor=share("gpu_tensor_active_seconds_total"),
            dram=share("gpu_dram_active_seconds_total"),
        ),
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
